"""What was measured, as tables, as JSON, and as a chart: medians, with the least and the most beside them."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.measures import FLOOR, NODE, OURS, Figures, Measure, Metric
from bench.processes import HERE, ROOT


@dataclass
class Results:
    """The runs of a benchmark: by measure and server, the figures of each."""

    measures: list[Measure]
    servers: list[str]
    runs: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)

    def add(self, measure: Measure, kind: str, figures: Figures) -> None:
        self.runs.setdefault((measure.name, kind), []).append(figures)

    def values(self, measure: str, kind: str, key: str) -> list[float]:
        """A figure of each run, in ascending order; [] where there was none."""
        return sorted(figures[key] for figures in self.runs.get((measure, kind), []))

    def median(self, measure: str, kind: str, key: str) -> float | None:
        values = self.values(measure, kind, key)
        return median(values) if values else None


# -- tables -----------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits that matter: '0.123', '12.3', '12,345'."""
    if abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'


def table(rows: Sequence[Sequence[str]]) -> str:
    """A simple table of reStructuredText; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = ' '.join('=' * width for width in widths)
    head, *body = (' '.join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return '\n'.join([line, head, line, *body, line])


def comparison(results: Results) -> str:
    """A row for each figure and a column for each server; a factor says how many times better ours is."""
    rows = [['measure', *results.servers]]
    for measure in results.measures:
        for metric in measure.metrics:
            rows.append([metric.title, *(_cell(results, measure, metric, kind) for kind in results.servers)])
    return table(rows)


def _cell(results: Results, measure: Measure, metric: Metric, kind: str) -> str:
    values = results.values(measure.name, kind, metric.key)
    if not values:
        return '-'
    text = number(median(values))
    if len(values) > 1:
        text += f' ({number(values[0])}-{number(values[-1])})'
    ours = results.median(measure.name, OURS, metric.key)
    if ours and kind != OURS:
        times = ours / median(values) if metric.more_is_better else median(values) / ours
        text += f' {number(times)}x'
    return text


def growth(results: Results) -> str:
    """A row for each server and size, with what it took."""
    rows = [['work', 'server', *(metric.title for metric in results.measures[0].metrics)]]
    for measure in results.measures:
        for kind in results.servers:
            values = [results.median(measure.name, kind, metric.key) for metric in measure.metrics]
            rows.append([measure.name, kind, *('-' if value is None else number(value) for value in values)])
    return table(rows)


@dataclass(frozen=True)
class Goal:
    """What ours is to reach: `figure` of a measure, by itself or divided by that of a peer; at least or at most."""

    text: str
    measure: str
    key: str
    most: float | None = None
    least: float | None = None
    peer: str | None = None
    peer_key: str | None = None

    def reached(self, results: Results) -> float | None:
        """The figure, or the quotient; None where it was not measured."""
        ours = results.median(self.measure, OURS, self.key)
        if self.peer is None:
            return ours
        peer = results.median(self.measure, self.peer, self.peer_key or self.key)
        return ours / peer if ours is not None and peer else None

    def met(self, value: float) -> bool:
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


GOALS = (
    Goal('one client, one reminder: at most 5 ms', 'lateness', 'ms', most=5),
    Goal('1,000 x 50: at most 1.2 x the floor', '1000x50', 'ms', most=1.2, peer=FLOOR),
    Goal('5,000 x 10: at most 1.2 x the floor', '5000x10', 'ms', most=1.2, peer=FLOOR),
    Goal('1,000 x 1,000: at most 1.2 x the floor', '1000x1000', 'ms', most=1.2, peer=FLOOR),
    Goal('schedules a second over one connection: at least 10,000', 'schedules', 'over one', least=10_000),
    Goal(
        'over 100 connections: no fewer (x those over one)',
        'schedules',
        'over a hundred',
        least=1,
        peer=OURS,
        peer_key='over one',
    ),
    Goal('connects a second, just started: at least 2 x Node', 'connections', 'a second, first', least=2, peer=NODE),
    Goal('connects a second, the second time: at least 2 x Node', 'connections', 'a second', least=2, peer=NODE),
    Goal('an idle client: at most 12 KiB', 'connections', 'KiB', most=12),
    Goal('2,000 clients resume within 2 x connecting', 'herd', 'times', most=2),
)


def goals(results: Results) -> str:
    """What ours is to reach, and what it did; '' where nothing of that was measured."""
    rows = [['goal', 'reached', 'met']]
    for goal in GOALS:
        value = goal.reached(results)
        if value is not None:
            rows.append([goal.text, number(value), 'yes' if goal.met(value) else 'no'])
    return table(rows) if len(rows) > 1 else ''


# -- where and when ---------------------------------------------------------------------------------------------


def circumstances(clock: str) -> dict[str, str]:
    """The machine, the versions, the date and the command."""
    return {
        'machine': f'{os.cpu_count()} cores, {_cpu()}, {platform.system()} {platform.release()}',
        'versions': ', '.join(_versions()),
        'commit': _output(['git', 'describe', '--always', '--dirty'], 'unknown'),
        'date': datetime.now(UTC).isoformat(' ', 'minutes').replace('+00:00', ' UTC'),
        # A database's url may hold a password.
        'command': re.sub('//[^/@]*@', '//', ' '.join(['scripts/benchmark.py', *sys.argv[1:]])),
        'clock': clock,
    }


def _cpu() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(': ')[2]
    return platform.machine()


def _versions() -> Iterable[str]:
    yield f'Python {platform.python_version()}'
    for package in ('gevent', 'python-socketio', 'python-engineio', 'gevent-websocket'):
        yield f'{package} {importlib.metadata.version(package)}'
    yield f'Node {_output(["node", "--version"], "missing")}'
    yield f'socket.io {json.loads((HERE / "package.json").read_text())["dependencies"]["socket.io"]}'


def _output(command: list[str], otherwise: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return otherwise
    return done.stdout.strip()


def write_json(path: Path, about: dict[str, str], results: Results) -> None:
    """Keeps each run with all its figures."""
    runs = [
        {'measure': measure, 'server': kind, 'figures': figures}
        for (measure, kind), all_figures in results.runs.items()
        for figures in all_figures
    ]
    path.write_text(json.dumps({'about': about, 'runs': runs}, indent=1) + '\n')


# -- the chart --------------------------------------------------------------------------------------------------


def plot(path: Path, about: dict[str, str], results: Results) -> None:
    """Draws a panel for each figure that peers have too, with a bar for each server."""
    import matplotlib

    matplotlib.use('agg')
    from matplotlib import pyplot

    panels = [
        (measure, metric) for measure in results.measures for metric in measure.metrics if FLOOR in measure.servers
    ]
    rows = -(-len(panels) // 2)
    figure = pyplot.figure(figsize=(11, 1.4 * rows + 0.8), layout='constrained')
    for place, (measure, metric) in enumerate(panels, 1):
        _panel(figure.add_subplot(rows, 2, place), results, measure, metric)
    figure.suptitle('Event reminder server and its peers', fontsize=12)
    figure.supxlabel(f'{about["machine"]}; {about["date"]}; {about["command"]}', fontsize=7, color='0.4')
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _panel(axis: Any, results: Results, measure: Measure, metric: Metric) -> None:
    bars = [(kind, values) for kind in results.servers if (values := results.values(measure.name, kind, metric.key))]
    middles = [median(values) for _, values in bars]
    spreads = [
        [middle - values[0] for middle, (_, values) in zip(middles, bars, strict=True)],
        [values[-1] - middle for middle, (_, values) in zip(middles, bars, strict=True)],
    ]
    colours = ['tab:orange' if kind.startswith(OURS) else '0.75' for kind, _ in bars]
    drawn = axis.barh([kind for kind, _ in bars], middles, xerr=spreads, color=colours, error_kw={'ecolor': '0.4'})
    axis.bar_label(drawn, [f' {number(middle)}' for middle in middles], fontsize=8, padding=4)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.spines[['top', 'right']].set_visible(False)
    axis.tick_params(labelsize=8)
    better = 'more is better' if metric.more_is_better else 'less is better'
    axis.set_title(f'{metric.title} ({better})', loc='left', fontsize=9)

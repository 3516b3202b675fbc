"""What people and programs see of the command line's results."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import pytz

Reminder = Mapping[str, Any]
Columns = Mapping[str, Callable[[Reminder], str]]
"""Of each column of a table its title, and what it shows of an entry."""

_UNITS = (('s', 1, 60), ('min', 60, 60), ('h', 3_600, 48), ('d', 86_400, 731), ('y', 31_557_600, 10_000))
"""Of each unit its seconds, and the number that is too large to be told in it."""


class Output:
    """Results on standard output, everything else on standard error; in colour where a person looks at it."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Any, text: str) -> None:
        """Prints what the server sent: `value` as JSON, or its `text` for people."""
        print(json.dumps(value) if self.as_json else text, flush=True)

    def listing(self, entries: Iterable[Reminder], columns: Columns) -> None:
        """Prints entries: one JSON value a line as they come, or a table where a person looks at it."""
        if self.as_json or not sys.stdout.isatty():
            for entry in entries:
                print(json.dumps(entry), flush=True)
        else:
            _print_table([[show(entry) for show in columns.values()] for entry in entries], list(columns))

    def reminder(self, reminder: Reminder) -> None:
        self.result(reminder, line(reminder))

    def notice(self, text: str) -> None:
        print(_style('2', text, sys.stderr), file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        print(_style('33', f'warning: {text}', sys.stderr), file=sys.stderr, flush=True)


def line(event: Reminder) -> str:
    """An event for people."""
    name = _style('1', event.get('name'), sys.stdout)
    return f'{local(event.get("time"))}  {name}  ({printable(event.get("_id"))})'


def printable(value: Any) -> str:
    """`value` as text without what would move a terminal's cursor: names come from strangers."""
    return ''.join(one if one.isprintable() else one.encode('unicode_escape').decode() for one in str(value))


def local(moment: Any) -> str:
    """An ISO time of the server in this machine's zone, for people."""
    try:
        return f'{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M %Z}'
    except (TypeError, ValueError, OverflowError):
        return printable(moment)


def local_zone(environ: Mapping[str, str], localtime: str = '/etc/localtime') -> str:
    """The IANA name of this machine's time zone, by TZ or else by the link `localtime`; 'UTC' where it has none."""
    source = environ.get('TZ') or os.path.realpath(localtime)
    name = source.removeprefix(':').rpartition('zoneinfo/')[2]
    return name if name in pytz.all_timezones_set else 'UTC'


def relative(moment: Any, now: datetime) -> str:
    """How far an ISO time of the server is from `now`, for people: 'in 5 min', '2 h ago'; '' for what is no time."""
    try:
        seconds = (datetime.fromisoformat(moment) - now) / timedelta(seconds=1)
    except (TypeError, ValueError, OverflowError):
        return ''
    counts = ((round(abs(seconds) / size), unit, limit) for unit, size, limit in _UNITS)
    count, unit = next((count, unit) for count, unit, limit in counts if count < limit)
    return f'in {count} {unit}' if seconds >= 0 else f'{count} {unit} ago'


def when(moment: Any) -> str:
    """An ISO time of the server in this machine's zone, and how far it is from now."""
    distance = relative(moment, datetime.now(UTC))
    return f'{local(moment)} ({distance})' if distance else local(moment)


@contextmanager
def progress(
    text: str, total: Callable[[], int | None], output: TextIO | None = None
) -> Iterator[Callable[[int], object]]:
    """Shows on standard error, where a person looks at it, how far something is: what it gives is told each step.

    `total`, where it is known, is what the steps come to. Nothing is shown where `output` is a terminal, too.
    """
    if not sys.stderr.isatty() or (output is not None and output.isatty()):
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total())
        yield lambda step: bar.advance(task, step)


def _print_table(rows: list[list[str]], titles: list[str]) -> None:
    """Prints those columns that have something to show. Names are folded where there is no room, all else is kept."""
    from rich.console import Console  # imported here as that takes longer than a command, and most need none
    from rich.table import Table
    from rich.text import Text

    shown = [number for number, _ in enumerate(titles) if any(row[number] for row in rows)]
    table = Table(box=None, pad_edge=False, header_style='dim' if _is_coloured(sys.stdout) else '')
    for number in shown:
        table.add_column(titles[number], overflow='fold', no_wrap=titles[number] != 'name')
    for row in rows:
        table.add_row(*(Text(row[number]) for number in shown))  # a `Text`, as rich reads markup in other texts
    if rows:
        Console().print(table)


def _style(code: str, value: Any, stream: TextIO) -> str:
    return f'\033[{code}m{printable(value)}\033[0m' if _is_coloured(stream) else printable(value)


def _is_coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'

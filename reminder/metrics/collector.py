"""What Prometheus is told of a server, by name. docs/alerts.rst says what to make of it."""

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from reminder import __version__
from reminder.metrics.commands import CommandFigures
from reminder.metrics.store import StoreFigures
from reminder.services.backlog import Backlog
from reminder.services.delivery import Delivery
from reminder.services.histogram import Histogram
from reminder.services.log import Log
from reminder.services.punctuality import Punctuality

MS = 1_000


@dataclass(frozen=True)
class Sources:
    """Where the figures are. What is a function here is called at each scrape and must not block.

    `now` gives ms, UTC; `since_tick` the seconds since the scheduler was at work; `clients` are by transport, `ended`
    by reason, `limits` by which; `running` is how many commands are under way, `waiting` how many wait for that.
    `pause` gives others a turn.
    """

    database: str
    commands: CommandFigures
    store: StoreFigures
    punctuality: Punctuality
    log: Log
    delivery: Delivery
    backlog: Backlog
    now: Callable[[], int]
    since_tick: Callable[[], float]
    clients: Callable[[], Mapping[str, int]]
    most_clients: int
    bytes_queued: Callable[[], int]
    most_bytes_queued: Callable[[int], int]
    """By the number of clients."""
    running: Callable[[], int]
    most_running: int
    waiting: Callable[[], int]
    ended: Mapping[str, int]
    limits: Callable[[], Mapping[str, int]]
    pause: Callable[[], None]


class Server(Collector):
    """Reads all of it at each scrape."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """One family of metrics after the other."""
        for part in (self._log, self._clients, self._commands, self._database, self._build):
            for family in part():
                yield family
                self._sources.pause()  # to write them all takes some ms

    def _log(self) -> Iterable[Metric]:
        of, now = self._sources, self._sources.now()
        yield _histogram('reminder_batch_lateness_seconds', 'From a minute to its last write.', of.punctuality, MS)
        yield _counter('reminder_reminders_sent', 'Reminders, each counted for each client.', of.delivery.sent)
        yield _histogram('reminder_replay_reminders', 'What clients that resumed had missed.', of.delivery.replays)
        incomplete = of.delivery.incomplete_replays
        yield _counter('reminder_replays_incomplete', 'Replays that could not bring all that was missed.', incomplete)
        if of.log.record is not None:
            ages = {'closed': now - of.log.record.closed, 'delivered': now - of.log.end.time + 1}
            yield _gauges(
                'reminder_horizon_age_seconds',
                'How far the last minute that was closed, or delivered, lies back.',
                'horizon',
                {horizon: max(0, age) / MS for horizon, age in ages.items()},
            )
        yield _gauge('reminder_last_tick_age_seconds', 'Since the scheduler was at work.', of.since_tick())
        if of.backlog.pending is not None:
            text = 'Events to come, counted each minute, up to 100,000.'
            yield _gauge('reminder_pending_events', text, of.backlog.pending)

    def _clients(self) -> Iterable[Metric]:
        of = self._sources
        clients = of.clients()
        yield _gauges('reminder_clients', 'Clients that are connected.', 'transport', clients)
        yield _gauge('reminder_clients_limit', 'Clients that may be connected.', of.most_clients)
        yield _gauge(
            'reminder_clients_behind',
            'Clients that have not been written all that was delivered.',
            of.delivery.counts['clientsBehind'],
        )
        yield _gauge('reminder_bytes_queued', 'Bytes that clients have not taken.', of.bytes_queued())
        yield _gauge(
            'reminder_bytes_queued_limit',
            'Bytes that may wait for the clients that are connected.',
            of.most_bytes_queued(sum(clients.values())),
        )
        yield _counters('reminder_clients_dropped', 'Clients that are gone.', 'reason', of.ended)
        yield _counters('reminder_limit_hits', 'How often a limit was reached.', 'limit', of.limits())

    def _commands(self) -> Iterable[Metric]:
        of = self._sources
        commands = CounterMetricFamily(
            'reminder_commands', 'Commands that ended.', labels=('door', 'command', 'outcome')
        )
        for labels, count in of.commands.outcomes.items():
            commands.add_metric(labels, count)
        yield commands
        durations, text = of.commands.durations, 'From a command to its answer.'
        yield _histograms('reminder_command_duration_seconds', text, 'command', durations)
        yield _gauge('reminder_commands_running', 'Commands that are under way.', of.running())
        yield _gauge('reminder_commands_running_limit', 'Commands that may be under way.', of.most_running)
        yield _gauge('reminder_commands_waiting', 'Clients with a command that has yet to begin.', of.waiting())

    def _database(self) -> Iterable[Metric]:
        figures = self._sources.store
        name, text = 'reminder_database_operation_duration_seconds', 'What the database took.'
        yield _histograms(name, text, 'operation', figures.durations)
        yield _counters('reminder_database_errors', 'What the database did not do.', 'operation', figures.errors)
        yield _gauge('reminder_database_up', 'Whether the database did what it was asked last.', figures.answers)

    def _build(self) -> Iterable[Metric]:
        build = {'version': __version__, 'python': platform.python_version(), 'database': self._sources.database}
        yield InfoMetricFamily('reminder_build', 'What is running.', value=build)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _with_values(GaugeMetricFamily(name, text, labels=(label,)), values)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _with_values(CounterMetricFamily(name, text, labels=(label,)), values)


def _with_values(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    """The family, with a value for each value of its label."""
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _histogram(name: str, text: str, histogram: Histogram, scale: int = 1) -> Metric:
    """`scale` is by what the histogram's values are divided."""
    return HistogramMetricFamily(name, text, _buckets(histogram, scale), histogram.total / scale)


def _histograms(name: str, text: str, label: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for key, histogram in histograms.items():
        family.add_metric((key,), _buckets(histogram), histogram.total)
    return family


def _buckets(histogram: Histogram, scale: int = 1) -> list[tuple[str, float]]:
    """The upper bounds, and how many values were at most as large as each."""
    bounds = [*(str(bound / scale) for bound in histogram.bounds), '+Inf']
    return list(zip(bounds, accumulate(histogram.buckets), strict=True))

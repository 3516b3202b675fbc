"""What is measured: each function here takes a bench and the name of a server, makes one run, and returns figures."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.processes import HERE, Load, Ours, Server

OURS, MONGODB, FLOOR, NODE, PLAIN = 'ours', 'ours on MongoDB', 'floor', 'Node', 'plain Python'
SERVERS = {
    OURS: 'this server, on SQLite',
    MONGODB: 'this server, on the database that --mongodb names',
    FLOOR: 'the least that has to be done: a bare epoll loop in Python, one send() of ready bytes to a client',
    NODE: 'socket.io 4.8 on Node.js, events in memory',
    PLAIN: 'python-socketio on gevent-websocket as its documents show, events in memory',
}

IN_FLIGHT = 100
"""Clients that connect at once, where not all do; some servers have a backlog of 128."""
WARM_UP = 200
"""Clients that come and go before memory is measured."""
WINDOW = 1_000
"""Schedules that are not answered yet, over all connections."""
PATIENCE = 60.0
"""Seconds that a batch may take."""
BEFORE = 0.5
"""Seconds before a batch is due from which on its CPU time is counted: it is made ready then."""
CONNECTING = 800
"""Clients a second that are reckoned with where a minute is to come when all are connected."""
HERD_REMINDERS = 50
HERD_ROUNDS = 3

Figures = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """Where and with what it is run: `fake` is whether the clock of our server may be chosen."""

    program: Path
    server_core: int
    load_core: int
    fake: bool
    mongodb: str | None

    @contextmanager
    def session(self, kind: str, lead: float = 30) -> Iterator[tuple[Server, Load]]:
        """A running server of a kind, and a load for it; both end with the block."""
        with TemporaryDirectory(prefix='benchmark-') as name:
            server = self._server(kind, Path(name))
            with server.running(lead), Load(self.program, self.load_core, server.port) as load:
                yield server, load

    def _server(self, kind: str, folder: Path) -> Server:
        if kind == OURS:
            return Ours(self.server_core, folder, fake=self.fake)
        if kind == MONGODB:  # whose own clock would correct one that is chosen
            return Ours(self.server_core, folder, fake=False, database_url=self.mongodb)
        command: dict[str, Sequence[str | Path]] = {
            FLOOR: [sys.executable, HERE / 'floor.py'],
            NODE: ['node', '--expose-gc', HERE / 'node.mjs'],
            PLAIN: [sys.executable, HERE / 'plain.py'],
        }
        return Server(command[kind], self.server_core, folder)


@dataclass(frozen=True)
class Metric:
    """A figure that is reported: its key among what a run returns."""

    key: str
    title: str
    more_is_better: bool = False


@dataclass(frozen=True)
class Measure:
    """Something to be run `rounds` times on each of `servers`, in turn. `name` is what --only takes."""

    name: str
    run: Callable[[Bench, str], Figures]
    metrics: tuple[Metric, ...]
    rounds: int
    servers: tuple[str, ...] = tuple(SERVERS)


def fan_out(clients: int, reminders: int, bench: Bench, kind: str) -> Figures:
    """From the instant when events are due to the last client's last reminder (ms); what the server needs for that."""
    margin = 1 + reminders / 500
    with bench.session(kind, lead=3 + clients / CONNECTING + margin) as (server, load):
        rest = server.memory()
        load.connect(clients, IN_FLIGHT)
        server.settle()
        connected = server.memory()
        due, wall = server.due(margin)
        load.schedule(reminders, 1, WINDOW, wall)
        load.expect(reminders, due, PATIENCE)
        time.sleep(max(0, due / 1e9 - BEFORE - time.time()))
        before = server.cpu()
        batch = load.batch()
        return {
            'ms': batch['last_ms'],
            'first ms': batch['first_ms'],
            'median ms': batch['median_ms'],
            'CPU ms': (server.cpu() - before) * 1000,
            'MiB at rest': rest / 1024,
            'MiB connected': connected / 1024,
            'MiB after': server.memory() / 1024,
            'bytes': batch['bytes'],
            'load idle ms': batch['idle_ms'],
            'clock step ms': batch['clock_step_ms'],
        }


def schedules(count: int, bench: Bench, kind: str) -> Figures:
    """Events scheduled a second, by one client that does not wait for answers, and by a hundred of them."""
    with bench.session(kind) as (server, load):
        far = datetime(2099, 6, 15, 12).strftime(server.wall_format)
        load.connect(1, 1)
        load.schedule(count, 1, WINDOW, far)
        one = load.schedule(count, 1, WINDOW, far)
        load.connect(99, IN_FLIGHT)
        hundred = load.schedule(count, 100, WINDOW // 100, far)
        return {
            'over one': count / one['seconds'],
            'over a hundred': count / hundred['seconds'],
            'p99 ms over one': one['p99_ms'],
            'p99 ms over a hundred': hundred['p99_ms'],
        }


def connections(clients: int, bench: Bench, kind: str) -> Figures:
    """Clients connected a second, by a server that has just started and by one that has done it before; and what memory
    one takes that is idle."""
    with bench.session(kind) as (server, load):

        def memory() -> float:
            server.settle()
            server.collect_garbage()
            server.settle()
            return server.memory()

        load.connect(WARM_UP, IN_FLIGHT)
        load.disconnect()
        before = memory()
        first = load.connect(clients, IN_FLIGHT)
        after = memory()
        load.disconnect()
        server.settle()
        return {
            'a second, first': clients / first,
            'a second': clients / load.connect(clients, IN_FLIGHT),
            'KiB': (after - before) / clients,
        }


def herd(clients: int, bench: Bench, kind: str) -> Figures:
    """How much longer than connecting alone it takes until clients that connect all at once have what they missed."""
    alone: list[float] = []
    resuming: list[float] = []
    with bench.session(kind, lead=6) as (server, load):
        load.connect(1, 1)
        server.settle()
        recovery = load.recovery()
        due, wall = server.due(2)
        load.schedule(HERD_REMINDERS, 1, WINDOW, wall)
        time.sleep(max(0, due / 1e9 + 1 - time.time()))
        for _ in range(HERD_ROUNDS):
            load.disconnect()
            server.settle()
            alone.append(load.connect(clients, clients))
            load.disconnect()
            server.settle()
            resuming.append(load.connect(clients, clients, HERD_REMINDERS, recovery))
    return {
        'times': median(resuming) / median(alone),
        'alone ms': median(alone) * 1000,
        'resuming ms': median(resuming) * 1000,
    }


def standard(*, quick: bool) -> list[Measure]:
    """The measures of a plain benchmark."""
    rounds = 3

    def batch(name: str, clients: int, reminders: int, rounds: int) -> Measure:
        title = (
            '1 client x 1 reminder' if clients == reminders == 1 else f'{clients:,} clients x {reminders:,} reminders'
        )
        return Measure(name, partial(fan_out, clients, reminders), (Metric('ms', f'{title}, ms'),), rounds)

    idle = 2_000 if quick else 5_000
    return [
        batch('lateness', 1, 1, rounds if quick else 5),
        batch('1000x50', 1_000, 50, rounds),
        batch('5000x10', 5_000, 10, 1 if quick else rounds),
        batch('1000x1000', 1_000, 1_000, 1 if quick else rounds),
        Measure(
            'schedules',
            partial(schedules, 5_000 if quick else 20_000),
            (
                Metric('over one', 'schedules a second, 1 connection', more_is_better=True),
                Metric('over a hundred', 'schedules a second, 100 connections', more_is_better=True),
            ),
            rounds,
        ),
        Measure(
            'connections',
            partial(connections, idle),
            (
                Metric('a second, first', f'connects a second, {idle:,} clients, just started', more_is_better=True),
                Metric('a second', f'connects a second, {idle:,} clients, the second time', more_is_better=True),
                Metric('KiB', 'KiB of memory an idle client'),
            ),
            rounds,
        ),
        Measure(
            'herd',
            partial(herd, 2_000),
            (Metric('times', f'2,000 clients resume {HERD_REMINDERS} reminders, x connecting'),),
            1 if quick else rounds,
            (OURS, MONGODB),
        ),
    ]


def growth(most_clients: int) -> list[Measure]:
    """Batches of growing size: more clients, and more reminders."""
    sizes = [(min(clients, most_clients), 10) for clients in (1_000, 5_000, 10_000, 20_000)]
    sizes += [(1_000, reminders) for reminders in (10, 100, 1_000)]
    metrics = tuple(Metric(key, key) for key in ('ms', 'CPU ms', 'MiB at rest', 'MiB connected', 'MiB after'))
    return [
        Measure(f'{clients:,} clients x {reminders:,} reminders', partial(fan_out, clients, reminders), metrics, 3)
        for clients, reminders in dict.fromkeys(sizes)
    ]

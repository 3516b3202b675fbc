"""The faults: each makes something go wrong, says so, and puts it right again.

Each takes `room`, the seconds that it may last at most; a server that is killed comes back after that at the latest.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from fault_suite.databases import Mongo, Sqlite
from fault_suite.roads import Road
from fault_suite.servers import Clock, Server, start

Fault = Callable[[float], None]

LONGEST_DOWN = 8.0
LONGEST_PAUSE = 14.0
LONGEST_AWAY = 12.0
"""Seconds. An outage that is over leaves time for recovering before `ledger.LATEST`."""
LONG_AWAY = 5.0
"""Seconds without a database after which the servers' own attempts have failed."""
LEAST_STEP = 8.0
FURTHEST_BACK = 50.0
"""Seconds behind the latest moment that the clock has shown: beyond a minute servers are allowed to skip events."""
FURTHEST_FORWARD = 100.0
REMINDER_SIZE = 105
"""About how many bytes a reminder has."""
CUT_EACH_MINUTE = 4
"""Connections that break within the batch of each minute, whatever else happens then."""


class Moment(NamedTuple):
    """A fault for a minute's beginning, and between which seconds after that it begins."""

    fault: Fault
    earliest: float
    latest: float


class Faults:
    """All faults, over the servers, the clients' roads, the database and the clock of a run."""

    def __init__(
        self,
        servers: Sequence[Server],
        roads: Sequence[Road],
        database: Sqlite | Mongo,
        clock: Clock,
        rng: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self._servers = servers
        self._roads = roads
        self._database = database
        self._clock = clock
        self._random = rng
        self._say = say
        self.any_time: list[Fault] = [self.kill, self.kill_all, self.restart, self.pause]
        self.any_time += [self.cut, self.move, self.disconnect, self.stall]
        """Those for the time between minutes."""
        self.at_minutes = [
            Moment(self.kill, -0.005, 0.02),
            Moment(self.disconnect, -1, -0.3),
            Moment(self.pause, -0.4, 0.01),
            Moment(self.kill_all, -0.3, 0.3),
            Moment(self.stall, -0.5, 0),
            Moment(self.restart, -0.3, 0.1),
            Moment(self.move, -0.1, 0.1),
        ]
        """Those for the moment at which a minute begins, the most telling first."""
        if database.can_go_away:
            self.any_time.append(self.take_database)
            self.at_minutes.insert(2, Moment(self.take_database, -3, -0.1))
        if clock.settable:
            self.at_minutes.insert(5, Moment(self.set_clock_back, 0, 2))
            self.at_minutes.append(Moment(self.set_clock_forward, -3, -0.5))

    def kill(self, room: float) -> None:
        """`kill -9` of a server, which is started again."""
        server, seconds = self._random.choice(self._servers), self._lasting(0, LONGEST_DOWN, room)
        self._say(f'kill -9 of server {server.name}, started again after {seconds:.1f} s')
        server.kill()
        time.sleep(seconds)
        start([server])

    def kill_all(self, room: float) -> None:
        """`kill -9` of all servers at once."""
        seconds = self._lasting(0, LONGEST_DOWN, room)
        self._say(f'kill -9 of all servers, started again after {seconds:.1f} s')
        for server in self._servers:
            server.kill()
        time.sleep(seconds)
        start(self._servers)

    def restart(self, room: float) -> None:
        """SIGTERM, as an upgrade does it, and a start."""
        server = self._random.choice(self._servers)
        self._say(f'SIGTERM to server {server.name}, started again')
        server.terminate()
        start([server])

    def pause(self, room: float) -> None:
        """SIGSTOP and SIGCONT."""
        server, seconds = self._random.choice(self._servers), self._lasting(1, LONGEST_PAUSE, room)
        self._say(f'SIGSTOP of server {server.name} for {seconds:.1f} s')
        server.pause(True)
        time.sleep(seconds)
        server.pause(False)

    def take_database(self, room: float) -> None:
        """The database goes away."""
        seconds = self._lasting(min(LONG_AWAY, room), LONGEST_AWAY, room)
        self._say(f'database {self._database.how_away} for {seconds:.1f} s')
        with self._database.away():
            time.sleep(seconds)
        for server in self._servers:
            server.wait_until_ready()

    def cut(self, room: float) -> None:
        """Half of the connections break."""
        for road in self._half('cut'):
            road.cut()

    def cut_within_batch(self, reminders: int) -> None:
        """A few connections break, each at some byte of the coming batch of about so many reminders."""
        for road in self._random.sample(self._roads, CUT_EACH_MINUTE):
            road.cut(after=self._random.randint(1, reminders * REMINDER_SIZE + 1))

    def move(self, room: float) -> None:
        """Half of the clients are led to another server."""
        for road in self._half('moved to another server'):
            road.move()

    def disconnect(self, room: float) -> None:
        """Half of the clients have no network for a while."""
        seconds = self._lasting(1, LONGEST_AWAY, room)
        with ExitStack() as stack:
            for road in self._half(f'cut, and impossible for {seconds:.1f} s'):
                stack.enter_context(road.blocked())
            time.sleep(seconds)

    def stall(self, room: float) -> None:
        """On half of the connections nothing moves for a while; then it goes on, where nobody has lost patience."""
        seconds = self._lasting(1, LONGEST_AWAY, room)
        with ExitStack() as stack:
            for road in self._half(f'stalled for {seconds:.1f} s'):
                stack.enter_context(road.stalled())
            time.sleep(seconds)

    def set_clock_back(self, room: float) -> None:
        """The wall clock of all servers is set back, so that a minute may begin again."""
        back = FURTHEST_BACK - self._clock.behind()
        if back >= LEAST_STEP:
            self._set_clock(-self._random.uniform(LEAST_STEP, back))

    def set_clock_forward(self, room: float) -> None:
        """The wall clock of all servers is set forward, over a minute or two."""
        self._set_clock(self._random.uniform(LEAST_STEP, FURTHEST_FORWARD))

    def _set_clock(self, seconds: float) -> None:
        self._say(f'clock set {"forward" if seconds > 0 else "back"} by {abs(seconds):.1f} s')
        self._clock.step(seconds)

    def _half(self, what: str) -> list[Road]:
        roads = self._random.sample(self._roads, len(self._roads) // 2)
        self._say(f'{len(roads)} connections {what}')
        return roads

    def _lasting(self, least: float, most: float, room: float) -> float:
        return self._random.uniform(least, max(least, min(most, room)))

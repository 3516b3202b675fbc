"""One run: servers, clients, a fault at each minute and others between them, and the wait for what is owed."""

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fault_suite.clients import Asker, RawClient
from fault_suite.databases import Mongo, Sqlite
from fault_suite.faults import Fault, Faults
from fault_suite.ledger import ACKED, Ledger
from fault_suite.official import JavaScriptClient, PythonClient, find_javascript
from fault_suite.roads import Road
from fault_suite.screen import Screen
from fault_suite.servers import MINUTE, Clock, Server, ServerError, start

SERVERS = ('A', 'B')
CONNECTED_WITHIN = 30
"""Seconds for all clients to connect."""
SETTLED_WITHIN = 60
"""Seconds after the last minute for all that is owed to come."""
SILENCE = 15
"""Seconds in which nothing comes to clients that are all connected, after which nothing will."""
REPEATS_WITHIN = 2
"""Seconds after that for what should not come."""
CALM = 6.0
"""Seconds before a minute in which no other fault begins than the minute's own."""
PAUSES = (0.5, 4.0)
"""Seconds between two faults."""
COMPRESSED = 16.0
"""How long (s) a minute lasts at most, once its own fault is over, where the clock is set forward to the next one."""


@dataclass(frozen=True)
class Plan:
    """What to do. `events` is how many to ask for a minute; `javascript` is a folder node_modules."""

    minutes: int
    events: int
    seed: int
    compressed: bool
    program: Path
    javascript: Path


class Run:
    """The servers and clients of one run: `with Run(...) as run: run.drive()`. After that `ledger` knows all."""

    def __init__(self, plan: Plan, folder: Path, database: Sqlite | Mongo) -> None:
        """Starts nothing yet. `folder` takes the servers' logs."""
        self._plan = plan
        self._database = database
        self._random = random.Random(plan.seed)
        self._stack = ExitStack()
        self._clients = ExitStack()
        self.clock = Clock(folder, governs=not database.has_clock)
        self.ledger = Ledger(self.clock.real)
        self.screen = Screen(self._status)
        self.problems: list[str] = []
        """What went wrong with the servers themselves."""
        settings = {'DATABASE_URL': database.url}
        self.servers = [Server(name, plan.program, folder, self.clock, settings) for name in SERVERS]
        self._roads: list[Road] = []
        self._homes = itertools.cycle(range(len(SERVERS)))

    def __enter__(self) -> 'Run':
        """Starts database, servers and clients. Raises DatabaseError, ServerError."""
        with self._stack as stack:
            stack.callback(self.screen.close)
            stack.callback(self._database.clean_up)
            self.screen.say('starting the database and the servers')
            self.clock.ahead(self._database.start())
            for server in self.servers:
                stack.callback(server.clean_up)
            start(self.servers)
            stack.callback(self._clients.close)
            self._introduce_clients()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- the clients ------------------------------------------------------------------------------------------------

    def _introduce_clients(self) -> None:
        """Connects the clients. All know an offset before the first event is asked for: they are owed all."""
        self.screen.say('connecting the clients')
        for transports, kind in ((None, 'Python'), (None, 'Python'), (['polling'], 'Python, long-polling')):
            receiver = self.ledger.receiver(kind, resumes=True, ordered=False)
            self._clients.callback(PythonClient(self._road(), receiver, transports).stop)
        for resumes in (True, True, True, True, False, False):
            kind = f'WebSocket, {"recovering" if resumes else "knows no offset"}'
            receiver = self.ledger.receiver(kind, resumes=resumes, ordered=True)
            # Those that know no offset are owed little as it is: only the servers break their connections.
            self._clients.callback(RawClient(self._road(faulty=resumes), receiver, resumes).stop)
        javascript = find_javascript(self._plan.javascript)
        if javascript is None:
            self.screen.note('Left out: the JavaScript client (needs node, and npm ci in tests/js).')
        else:
            module, version = javascript
            for transports in (['websocket'], ['polling', 'websocket']):
                receiver = self.ledger.receiver(f'JavaScript {version}', resumes=True, ordered=True)
                self._clients.callback(JavaScriptClient(self._road(), receiver, module, transports).stop)
        deadline = time.monotonic() + CONNECTED_WITHIN
        while not self.ledger.all_know_an_offset:
            if time.monotonic() > deadline:
                raise ServerError(f'after {CONNECTED_WITHIN} s {self.ledger.connected} clients are connected, no more')
            time.sleep(0.1)

    def _introduce_askers(self, last: int) -> None:
        rate = self._plan.events / (MINUTE / 1000) / len(SERVERS)
        for name in SERVERS:
            seed = self._random.randrange(2**32)
            asker = Asker(self._road(), name, self.ledger, self.clock, rate, last, seed)
            self._clients.callback(asker.stop)

    def _road(self, faulty: bool = True) -> str:
        """The url of a new road, the next one to the other server. The faults spare one that is not `faulty`."""
        road = Road([server.port for server in self.servers], next(self._homes))
        self._clients.callback(road.close)
        if faulty:
            self._roads.append(road)
        return road.url

    # -- the run ----------------------------------------------------------------------------------------------------

    def drive(self) -> None:
        """Runs all minutes and waits for what is owed. Raises ServerError where a server cannot be started again."""
        if self._plan.compressed:
            self.clock.hasten(COMPRESSED)
        last = self.clock.next_minute() + (self._plan.minutes - 1) * MINUTE
        self._introduce_askers(last)
        faults = Faults(
            self.servers,
            self._roads,
            self._database,
            self.clock,
            self._random,
            self.screen.say,
        )
        any_time, moments = self._shuffled(faults.any_time), itertools.cycle(faults.at_minutes)
        while (minute := self.clock.next_minute()) <= last:
            while (room := (minute - self.clock.now()) / 1000 - CALM) > 1:
                self._do(next(any_time), room)
                time.sleep(self._random.uniform(*PAUSES))
            if self.clock.now() < minute:
                begins = time.monotonic() + (minute - self.clock.now()) / 1000
                faults.cut_within_batch(self.ledger.due_at(minute))
                moment = next(moments)
                _sleep_until(begins + self._random.uniform(moment.earliest, moment.latest))
                self._do(moment.fault, MINUTE / 1000)
                _sleep_until(begins + self._random.uniform(*PAUSES))
            if self._plan.compressed and self.clock.now() >= minute:
                self.clock.hasten(COMPRESSED)
        self._settle()

    def _do(self, fault: Fault, room: float) -> None:
        try:
            for server in self.servers:
                server.check()
            fault(room)
        except ServerError as error:
            self.problems.append(str(error))
            self.screen.note(f'{error}; starting the servers again')
            for server in self.servers:
                server.clean_up()
            start(self.servers)

    def _shuffled(self, faults: list[Fault]) -> Iterator[Fault]:
        """All faults in one order, then in another one, and so on."""
        while True:
            yield from self._random.sample(faults, len(faults))

    def _settle(self) -> None:
        """Waits for what is owed, and a moment for what is not; ends the servers in good order."""
        self.screen.say('waiting for what is owed')
        deadline = time.monotonic() + SETTLED_WITHIN
        received, silent = 0, time.monotonic() + SILENCE
        while any(row.lost for row in self.ledger.verdict()) and time.monotonic() < min(deadline, silent):
            if received != self.ledger.received or self.ledger.connected < self.ledger.clients:
                received, silent = self.ledger.received, time.monotonic() + SILENCE
            time.sleep(0.5)
        time.sleep(REPEATS_WITHIN)
        self._clients.close()
        for server in self.servers:
            try:
                server.wait_until_ready()
                server.terminate()
            except ServerError as error:
                self.problems.append(str(error))

    def _status(self) -> str:
        clock = time.strftime('%H:%M:%S', time.gmtime(self.clock.now() / 1000))
        ledger = self.ledger
        clients = f'{ledger.connected}/{ledger.clients} clients connected'
        return f'{clock} UTC | {ledger.count(ACKED):,} acked, {ledger.received:,} reminders, {clients}'


def _sleep_until(moment: float) -> None:
    """Sleeps until a moment of the monotonic clock."""
    time.sleep(max(0, moment - time.monotonic()))

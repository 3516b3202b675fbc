"""One soak: a server, honest clients, a hostile process, and a minute that begins every few seconds."""

import json
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fault_suite.clients import Asker, RawClient
from fault_suite.databases import Mongo, Sqlite
from fault_suite.ledger import ACKED, Ledger, Receiver
from fault_suite.official import PythonClient
from fault_suite.program import SERVER
from fault_suite.screen import Screen
from fault_suite.servers import HOST, MINUTE, Clock, Server, ServerError, start

from reminder.models.event import iso
from soak_suite.hostile import FOREIGN
from soak_suite.watch import Sample, Watch, wrong_with_answers, wrong_with_log, wrong_with_process

CONNECTED_WITHIN = 20
"""Seconds for the honest clients to connect."""
PACE = 8.0
LEAST_PACE = 1.0
"""Between how many seconds the next minute begins, where the clock can be set: a quarter of the soak within these."""
DELIVERED = 0.5
"""Seconds that a minute's reminders get before the clock is set again."""
SETTLED_WITHIN = 2.0
"""Seconds after the last minute that is asked for, for what is owed to come; twice the pace where that is more."""
REPEATS_WITHIN = 0.5
"""Seconds after that for what should not come."""
CALM_WITHIN = 15.0
"""Seconds for the server to let go of what the hostile clients held."""
RATE = 10
"""Events that are asked for a second. Few, as the server keeps the pages of the last ones in memory."""
STEP = 0.1


@dataclass(frozen=True)
class Plan:
    """What to do: for how long (s), from how many hostile connections."""

    seconds: float
    connections: int
    seed: int


class Siege:
    """The hostile process."""

    def __init__(self, port: int, plan: Plan) -> None:
        self.done: dict[str, int] = {}
        """What it has done so far, see `Attacker.done`."""
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'soak_suite.attackers', *map(str, (port, plan.connections, plan.seed))],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def stop(self) -> int:
        """Ends it; returns its exit code, which is not 0 where it has failed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.done = json.loads(line)


class Soak:
    """The server and all clients: `with Soak(...) as soak: soak.drive()`. Then `problems` and `ledger` know all."""

    def __init__(self, plan: Plan, folder: Path, database: Sqlite | Mongo) -> None:
        """Starts nothing yet. `folder` takes the server's log."""
        self._plan = plan
        self._database = database
        self._stack = ExitStack()
        self._clients = ExitStack()
        self.clock = Clock(folder, governs=not database.has_clock)
        self._quick = self.clock.settable and not database.has_clock
        """Whether minutes begin sooner than they would."""
        self._pace = max(LEAST_PACE, min(PACE, plan.seconds / 4)) if self._quick else MINUTE / 1000
        self._minute = 0
        self.ledger = Ledger(self.clock.real, foreign=(FOREIGN,))
        self._receivers: list[Receiver] = []
        self.screen = Screen(self._status)
        self.server = Server('soak', SERVER, folder, self.clock, {'DATABASE_URL': database.url})
        self.siege: Siege | None = None
        self.watch: Watch | None = None
        self.after: Sample | None = None
        self.problems: list[str] = []
        """What is wrong, beside what the ledger says."""

    def __enter__(self) -> 'Soak':
        """Starts the database, the server and the honest clients. Raises DatabaseError, ServerError."""
        with self._stack as stack:
            stack.callback(self.screen.close)
            stack.callback(self._database.clean_up)
            self.screen.say('starting the server, connecting the honest clients')
            self.clock.ahead(self._database.start())
            stack.callback(self.server.clean_up)
            start([self.server])
            stack.callback(self._clients.close)
            self._introduce_listeners()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _introduce_listeners(self) -> None:
        for _ in range(3):
            self._clients.callback(RawClient(self._url, self._receiver('WebSocket', ordered=True), resumes=True).stop)
        for kind, transports in (('Python', None), ('Python, long-polling', ['polling'])):
            self._clients.callback(PythonClient(self._url, self._receiver(kind, ordered=False), transports).stop)
        deadline = time.monotonic() + CONNECTED_WITHIN
        while not self.ledger.all_know_an_offset:
            if time.monotonic() > deadline:
                raise ServerError(f'after {CONNECTED_WITHIN} s {self.ledger.connected} clients are connected, no more')
            time.sleep(STEP)

    def _receiver(self, kind: str, *, ordered: bool) -> Receiver:
        receiver = self.ledger.receiver(kind, resumes=True, ordered=ordered)
        self._receivers.append(receiver)
        return receiver

    @property
    def _url(self) -> str:
        return f'http://{HOST}:{self.server.port}'

    def drive(self) -> None:
        """Runs for as long as the plan says, and until all that is owed has come. Raises ServerError if it ends."""
        asker = Asker(self._url, 'honest', self.ledger, self.clock, RATE, sys.maxsize, self._plan.seed)
        self._clients.callback(asker.stop)
        self._begin_minute()
        self.watch = Watch(self.server.pid)
        self._stack.callback(self.watch.stop)
        self.siege = Siege(self.server.port, self._plan)
        self._stack.callback(self.siege.stop)
        end = time.monotonic() + self._plan.seconds
        while time.monotonic() < end:
            self._pass_time()
        last = asker.finish()
        while self._minute <= last:
            self._pass_time()
        self.screen.say('waiting for what is owed')
        deadline = time.monotonic() + max(SETTLED_WITHIN, 2 * self._pace)
        while any(row.lost for row in self.ledger.verdict()) and time.monotonic() < deadline:
            self._pass_time()
        time.sleep(REPEATS_WITHIN)
        self._end(self.siege, self.watch)

    def _pass_time(self) -> None:
        """Waits a moment, and goes on to the next minute where one has begun and was delivered."""
        time.sleep(STEP)
        self.server.check()
        if self.clock.now() >= self._minute + DELIVERED * 1000:
            self.screen.say(f'{iso(self._minute)} has begun')
            self._begin_minute()

    def _begin_minute(self) -> None:
        """Has the next minute begin soon, where the clock can be set. Nothing is due in between."""
        if self._quick:
            self.clock.hasten(self._pace)
        self._minute = self.clock.next_minute()

    def _end(self, siege: Siege, watch: Watch) -> None:
        """Ends the hostile process and, once it is calm, the server; notes what is wrong."""
        self.screen.say('waiting for calm')
        watch.stop()
        if (code := siege.stop()) != 0:
            self.problems.append(f'the hostile process ended by itself with {code}')
        self.after = watch.settle(CALM_WITHIN)
        lost = sum(receiver.connections - 1 for receiver in self._receivers)
        if lost:
            self.problems.append(f'honest clients lost their connections {lost} times')
        self._clients.close()
        self.server.terminate()
        with self.server.log.open(errors='replace') as lines:
            self.problems += wrong_with_log(lines)
        self.problems += wrong_with_process(watch.samples, watch.before, self.after)
        self.problems += wrong_with_answers(self.ledger.answer_times())

    def _status(self) -> str:
        done = self.siege.done if self.siege else {}
        memory = self.watch.samples[-1].memory / 1024 if self.watch and self.watch.samples else 0
        return (
            f'{self.ledger.count(ACKED):,} acked, {self.ledger.received:,} reminders, '
            f'{done.get("writes", 0):,} hostile writes, {memory:.0f} MiB'
        )

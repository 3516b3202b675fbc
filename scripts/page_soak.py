#!/usr/bin/env python3
"""Restarts a server at random moments under the page's own client, which must get each reminder once, in order."""

import argparse
import random
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from fault_suite.databases import Mongo, Sqlite
from fault_suite.ledger import ACKED, Ledger, Receiver
from fault_suite.official import NodeProcess
from fault_suite.program import ROOT, SERVER, asks, make_parser, open_database, supervise
from fault_suite.screen import Screen, table
from fault_suite.servers import MINUTE, Clock, Server, ServerError, wall

DESCRIPTION = """\
Starts a server, and three of the page's own clients (reminder/web/static/socket.js) in Node.js, which ask for events
and are reminded of them, in minutes that begin every 8 s where faketime is installed. Meanwhile the server is killed by
kill -9, ended by SIGTERM or suspended at random moments, and started again.
"""
EPILOG = """\
All is well if each client got each acked event once, and all of them in the log's order, over all its connections.

Exit codes: 0 all is well; 1 it is not; 2 a wrong argument, or a database that cannot be used; 130 ended by Ctrl-C.
Where it is 1 the server's log and an SQLite file are kept. It needs npm ci in tests/page.
"""

MODULES = ROOT / 'tests' / 'page' / 'node_modules'
CLIENTS = 3
PAUSE = 0.1
"""Seconds between two events that one client asks for."""
CALM = (0.5, 15.0)
"""Seconds between two restarts."""
DOWN = (0.0, 6.0)
"""Seconds that the server is away."""
COMPRESSED = 8.0
"""How long (s) a minute lasts where the clock is set forward."""
SETTLED_WITHIN = 30
"""Seconds for what is owed to come in the end."""


class PageClient(NodeProcess):
    """One client of the page."""

    def __init__(self, name: str, url: str, ledger: Ledger) -> None:
        self._name = name
        self._ledger = ledger
        self._asked = 0
        # One receiver over all connections, to which nothing may come again: the client itself drops what was repeated.
        self._receiver: Receiver = ledger.receiver("the page's client", resumes=True, ordered=True)
        self._receiver.opening(None)
        self.connections = 0
        super().__init__(Path(__file__).with_suffix('.mjs'), MODULES, url)

    def ask(self, due: int) -> None:
        """Asks for an event at `due` (ms)."""
        self._asked += 1
        name = f'{self._name} {self._asked}'
        self._ledger.asked(name)
        self.tell({'eventName': name, 'time': wall(due), 'timeZone': 'UTC'})

    def handle(self, name: str, arguments: list[Any], at: float) -> None:
        match name, arguments:
            case 'state', ['connected', recovered]:
                self.connections += 1
                self._receiver.opened(recovered)
            case 'state', _:
                self._receiver.closed()
            case 'cursor', _:
                self._receiver.knows_offset = True
            case 'eventReminder', _:
                self._receiver.reminder(arguments, at)
            case 'replayed', _:
                self._receiver.replayed(arguments)
            case 'answer', [event, answer]:
                self._ledger.answered(event, answer)


class PageSoak:
    """A run: `with PageSoak(...) as soak: soak.drive()`. After that `ledger` knows all."""

    def __init__(self, minutes: float, seed: int, folder: Path, database: Sqlite | Mongo) -> None:
        self._seconds = minutes * 60
        self._random = random.Random(seed)
        self._database = database
        self._stack = ExitStack()
        self._clock = Clock(folder, governs=not database.has_clock)
        self._server = Server('A', SERVER, folder, self._clock, {'DATABASE_URL': database.url})
        self._clients: list[PageClient] = []
        self.ledger = Ledger(self._clock.real)
        self.screen = Screen(self._status)
        self.restarts = 0

    def __enter__(self) -> 'PageSoak':
        """Starts database, server and clients. Raises DatabaseError, ServerError."""
        with self._stack as stack:
            stack.callback(self.screen.close)
            stack.callback(self._database.clean_up)
            self._clock.ahead(self._database.start())
            stack.callback(self._server.clean_up)
            self._server.start()
            self._server.wait_until_ready()
            for number in range(CLIENTS):
                self._clients.append(
                    PageClient(f'client {number}', f'http://127.0.0.1:{self._server.port}', self.ledger)
                )
                stack.callback(self._clients[-1].stop)
            self._wait(lambda: self.ledger.all_know_an_offset, 'the clients do not connect')
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def drive(self) -> None:
        """Restarts the server, and asks for events, until the time is over; waits for what is owed."""
        until = time.monotonic() + self._seconds
        asking = threading.Thread(target=self._ask_until, args=(until,))
        asking.start()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self._random.uniform(*CALM)))
            self._restart()
        asking.join()
        self.screen.say('waiting for what is owed')
        self._wait(lambda: self._clock.now() > self._last, 'the last minute does not come', 2 * MINUTE / 1000)
        deadline = time.monotonic() + SETTLED_WITHIN
        while any(row.lost for row in self.ledger.verdict()) and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(2)  # for what should not come
        self._server.terminate()

    def _restart(self) -> None:
        self.restarts += 1
        how = self._random.choice([self._server.kill, self._server.terminate, self._suspend])
        self.screen.say(f'restart {self.restarts}: {how.__name__.strip("_")}')
        how()
        time.sleep(self._random.uniform(*DOWN))
        if how == self._suspend:
            self._server.pause(False)
        else:
            self._server.start()
        self._server.wait_until_ready()

    def _suspend(self) -> None:
        self._server.pause(True)

    def _ask_until(self, until: float) -> None:
        while time.monotonic() < until:
            if self._clock.settable and self._clock.now() % MINUTE > 1000:  # once the minute was delivered
                self._clock.hasten(COMPRESSED)
            self._last = self._clock.next_minute() + MINUTE * self._random.randrange(2)
            self._random.choice(self._clients).ask(self._last)
            time.sleep(PAUSE)
        self._last = self._clock.next_minute() + MINUTE

    def _wait(self, met: Any, why: str, within: float = 30) -> None:
        deadline = time.monotonic() + within
        while not met():
            if time.monotonic() > deadline:
                raise ServerError(why)
            if self._clock.settable:
                self._clock.hasten(COMPRESSED)
            time.sleep(0.1)

    def _status(self) -> str:
        ledger, connections = self.ledger, sum(client.connections for client in self._clients)
        return f'{ledger.count(ACKED):,} acked, {ledger.received:,} reminders, {connections:,} connections'


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a soak; returns its exit code. Raises SystemExit as argparse does, and where SIGTERM or SIGHUP came."""
    parser = make_parser('page_soak', DESCRIPTION, EPILOG, seed='the choice of restarts')
    parser.add_argument(
        '--minutes', type=float, default=1.0, metavar='N', help='how long, fractions are allowed (default: 1)'
    )
    options = parser.parse_args(arguments)
    if not (options.minutes > 0 and shutil.which('node') and (MODULES / 'ws').exists()):
        parser.error('it takes minutes above 0, Node.js, and npm ci in tests/page')
    return supervise('page_soak', partial(_run, options))


def _run(options: argparse.Namespace, folder: Path) -> tuple[int, bool]:
    """Returns the exit code, and whether somebody will want to read the log."""
    with PageSoak(options.minutes, options.seed, folder, open_database(options.database, folder)) as soak:
        soak.screen.note(f'minutes: {options.minutes:g}, --seed {options.seed}')
        soak.drive()
        rows, problems = soak.ledger.verdict(), [*soak.ledger.problems, *soak.ledger.examples()]
        print(f'{soak.restarts} restarts; {soak._status()}', asks(soak.ledger), table(rows), *problems, sep='\n')
    good = all(row.good and row.delivered for row in rows) and not problems
    print('All is well.' if good else 'NOT ALL IS WELL.')
    return (0 if good else 1), not good


if __name__ == '__main__':
    sys.exit(main())

"""What goes wrong between clients and servers, made to happen on purpose: cut connections, clocks that are set, loads.

And what is told afterwards: which reminders a client got, against those that it should have got.
"""

import itertools
import json
import resource
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websocket import WebSocketException

from tests.clients import Client, schedule_event
from tests.mongodb import Ferret
from tests.server import Server, wall
from tests.wire import SocketIO

Reminder = dict[str, str]

CHUNK = 65_536
BURST = 20
"""Commands that a `Load` asks for at once."""
WINDOW = 500
"""Commands of a `Pipeline` that are under way at a time."""


# -- what clients were told -------------------------------------------------------------------------------------


def in_order(events: Iterable[Reminder]) -> list[Reminder]:
    """Events as the log orders them, which is how every client has to be reminded of them."""
    return sorted(events, key=lambda event: (event['time'], event['_id']))


def reminders(client: Client) -> list[Reminder]:
    """What the client was reminded of so far, in order. Each reminder had one argument, or this fails."""
    received = client.messages('eventReminder')
    assert all(len(arguments) == 1 for arguments in received), received
    return [reminder for (reminder,) in received]


def repeated(received: Sequence[Reminder]) -> int:
    """How many of the reminders had come before."""
    return len(received) - len({reminder['_id'] for reminder in received})


def wait_until_back(client: Client, times: int = 1) -> dict[str, Any]:
    """Waits until the client has come back by itself so many times; returns what happened when it did."""

    def connects() -> list[dict[str, Any]]:
        return [event for event in client.events if event['event'] == 'connect']

    client.wait(lambda event: event['event'] == 'connect' and len(connects()) > times)
    return connects()[times]


# -- connections ------------------------------------------------------------------------------------------------


class Proxy:
    """A TCP proxy on a port of its own, between clients and the server that is `backend` at the moment."""

    def __init__(self, backend: Server) -> None:
        self.backend = backend
        self._listener = socket.create_server(('127.0.0.1', 0), backlog=512)
        self._links: set[_Link] = set()
        self._budget: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._listener.getsockname()[1]}'

    def hold(self, after: int = 0) -> None:
        """Each connection passes `after` more bytes of the server's, and holds back the others until `release`."""
        self._budget = after
        for link in self._links:
            link.budget = after

    def release(self) -> None:
        """Passes what was held back, and all that follows."""
        self._budget = None
        for link in list(self._links):
            link.budget = None
            link.moved.set()

    def held(self) -> int:
        """How many connections hold bytes back."""
        return sum(link.budget == 0 for link in self._links)

    def cut(self) -> None:
        """Ends all connections; what was held back is gone."""
        for link in list(self._links):
            link.close()

    def switch(self, backend: Server) -> None:
        """Ends all connections; the clients will find another server in this place."""
        self.backend, self._budget = backend, None
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket()
            # As little as possible is on the way when bytes are held back.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
            try:
                server.connect(('127.0.0.1', self.backend.port))
            except OSError:
                client.close()
                continue
            link = _Link(client, server, self._budget, self._links)
            for pump in (link.up, link.down):
                threading.Thread(target=pump, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> 'Proxy':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Link:
    """A client's connection through the proxy. `budget` is how many bytes it may pass down; None is no limit."""

    def __init__(self, client: socket.socket, server: socket.socket, budget: int | None, links: 'set[_Link]') -> None:
        self._client = client
        self._server = server
        self._links = links
        self._closed = False
        self.budget = budget
        self.moved = threading.Event()
        links.add(self)

    def up(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(CHUNK):
                self._server.sendall(data)
        self.close()

    def down(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(CHUNK):
                while data and not self._closed:
                    data = data[self._pass(data) :]
        self.close()

    def _pass(self, data: bytes) -> int:
        if self.budget == 0:
            self.moved.wait()
            return 0
        part = data[: self.budget]
        if self.budget is not None:
            self.budget -= len(part)
        self._client.sendall(part)
        return len(part)

    def close(self) -> None:
        self._closed = True
        self._links.discard(self)
        self.moved.set()
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


# -- clocks -----------------------------------------------------------------------------------------------------


class ClockedServer(Server):
    """A server whose wall clock can be set while it runs. It needs `clock` to begin with."""

    def set_clock(self, instant: int) -> None:
        """Sets the clock to `instant` (ms, UTC), forward or back, at once."""
        self.skip_to(instant)
        file, new = self.folder / 'clock', self.folder / 'clock.new'
        new.write_text(f'{self._offset / 1000:+.3f}s\n')
        new.replace(file)  # in one step, as the process reads it at any time

    def memory(self) -> int:
        """Bytes of memory that the process holds."""
        assert self._process is not None
        pages = Path(f'/proc/{self._process.pid}/statm').read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        self.set_clock(self.now())
        del environment['FAKETIME']
        return environment | {'FAKETIME_TIMESTAMP_FILE': str(self.folder / 'clock'), 'FAKETIME_NO_CACHE': '1'}


# -- databases --------------------------------------------------------------------------------------------------


@contextmanager
def mongodb_for(servers: Sequence[Server], folder: Path) -> Iterator[Ferret]:
    """A MongoDB of their own for servers that have not started yet, with the clock of the first."""
    ferret = Ferret(folder).start(servers[0].ahead)
    try:
        for server in servers:
            server.settings['DATABASE_URL'] = ferret.url
        yield ferret
    finally:
        ferret.stop()


# -- loads ------------------------------------------------------------------------------------------------------


class Pipeline(SocketIO):
    """A client that does not wait for an answer before it asks again."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._numbers = itertools.count()
        self.pending: set[int] = set()
        self.answers: list[dict[str, Any]] = []
        """What commands were answered, in the order in which the answers came."""
        self.answered: dict[int, dict[str, Any]] = {}
        """The same, by the numbers of the commands."""

    def schedule(self, name: str, due: int) -> None:
        """Asks for an event at `due` (ms, UTC)."""
        self.ask(schedule_event(name, wall(due)))

    def ask(self, message: Any) -> int:
        """Sends a command; returns its number."""
        number = next(self._numbers)
        self.pending.add(number)
        self.send(f'42{number}{json.dumps(["command", message])}')
        return number

    def read_answers(self, until: int = 0) -> None:
        """Reads answers until no more than `until` are owed."""
        while len(self.pending) > until:
            self.read_one()

    def read_one(self) -> None:
        """Reads a message, which need not be an answer."""
        message = self.read_message()
        if message.startswith('43'):
            number, bracket, rest = message[2:].partition('[')
            (answer,) = json.loads(bracket + rest)
            self.answers.append(answer)
            self.answered[int(number)] = answer
            self.pending.remove(int(number))

    @property
    def acked(self) -> list[Reminder]:
        """The events that were scheduled, as they were acked."""
        return [answer['response'] for answer in self.answers if answer['status'] == 'success']

    @property
    def refusals(self) -> list[str]:
        """Why the other commands failed."""
        return [answer['error'] for answer in self.answers if answer['status'] == 'failure']


def schedule_many(url: str, names: Iterable[str], due: int) -> list[Reminder]:
    """Schedules an event of each name at `due` (ms, UTC), which must succeed; returns them in the log's order."""
    with Pipeline(url) as pipeline:
        for name in names:
            pipeline.schedule(name, due)
            pipeline.read_answers(until=WINDOW)
        pipeline.read_answers()
        assert not pipeline.refusals, pipeline.refusals[:5]
        return in_order(pipeline.acked)


class Load:
    """Schedules `rate` events a second for the minute `due` (ms, UTC) until the server breaks or `stop` is called."""

    def __init__(self, server: Server, due: int, rate: int) -> None:
        self._pipeline = Pipeline(server.url)
        self._due = due
        self._pause = BURST / rate
        self._begin = time.monotonic()
        self._ending = self._done = False
        self._seconds = 0.0
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._ask, self._read)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Asks for no more."""
        self._ending = True

    def end(self) -> tuple[list[Reminder], float]:
        """Waits for the answers that are owed. The events that were acked, and for how many seconds any were."""
        self.stop()
        for thread in self._threads:
            thread.join()
        self._pipeline.close()
        return self._pipeline.acked, self._seconds

    @property
    def refusals(self) -> list[str]:
        """Why commands failed so far."""
        return self._pipeline.refusals

    def _ask(self) -> None:
        with suppress(OSError, WebSocketException):
            for number in itertools.count(1):
                for one in range(1, BURST):
                    self._pipeline.schedule(f'{number}.{one}', self._due)
                self._done = self._ending
                self._pipeline.schedule(f'{number}.{BURST}', self._due)
                if self._done:
                    break
                time.sleep(max(0, self._begin + number * self._pause - time.monotonic()))

    def _read(self) -> None:
        with suppress(OSError, WebSocketException):
            while self._pipeline.pending or not self._done:
                self._pipeline.read_one()
                self._seconds = time.monotonic() - self._begin

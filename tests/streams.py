"""Clients of event streams behind the face of all clients: the npm package `eventsource`, and one by hand.

The latter keeps to WHATWG HTML, section 9.2. What they record is what other clients do: 'connect', 'disconnect',
'message' with the event's name and data, and its `lastEventId`; and 'refused' with the `status` of an answer that is no
stream, after which they have given up.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.clients import Client, Driver

PATH = '/api/reminders/stream'
RETRY = 0.2
"""Seconds after which the client by hand comes back, whatever the server says."""


def stream_url(url: str, **query: str) -> str:
    """The address of a server's stream with these query parameters."""
    return f'{url}{PATH}?{urlencode(query)}' if query else url + PATH


class JavaScriptStream(Client):
    """An `EventSource` of the npm package, in the driver's process."""

    def __init__(self, driver: Driver, url: str, token: str | None = None, **query: str) -> None:
        super().__init__()
        self._driver = driver
        self._id = driver.adopt(self)
        headers = {'Authorization': f'Bearer {token}'} if token else {}
        driver.tell('listen', self._id, url=stream_url(url, **query), headers=headers)

    def close(self) -> None:
        self._driver.tell('disconnect', self._id)


class Stream:
    """One connection: an HTTP answer, and the lines of the stream."""

    def __init__(self, url: str, headers: dict[str, str], timeout: float | None = 20, room: int | None = None) -> None:
        """`room` is the size of its receive buffer; None is the system's."""
        address = urlsplit(url)
        assert address.hostname
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if room is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.connect((address.hostname, address.port or 80))
        lines = [f'GET {address.path}?{address.query} HTTP/1.1', f'Host: {address.netloc}']
        lines += [f'{name}: {value}' for name, value in headers.items()]
        self.socket.sendall('\r\n'.join([*lines, '', '']).encode())
        self._unread = b''
        head = self._read_until(b'\r\n\r\n').decode().split('\r\n')
        self.status = int(head[0].split()[1])
        self.headers = dict(line.lower().split(': ', 1) for line in head[1:])
        self.id = ''
        """The last event id."""

    def read_line(self) -> str:
        """The next line of the stream. Raises EOFError at its end, OSError."""
        return self._read_until(b'\n').decode()

    def read_event(self) -> tuple[str, str]:
        """The next event that is dispatched: its type and data. Raises EOFError at the end, OSError."""
        kind, data, id = '', [], self.id
        while True:
            line = self.read_line()
            name, _, value = line.partition(':')
            value = value.removeprefix(' ')
            if name == 'event':
                kind = value
            elif name == 'data':
                data.append(value)
            elif name == 'id':
                id = value
            elif not line:
                self.id = id
                if data:
                    return kind or 'message', '\n'.join(data)
                kind = ''

    def close(self) -> None:
        self.socket.close()

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._unread:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            self._unread += data
        found, _, self._unread = self._unread.partition(end)
        return found


class PythonStream(Client):
    """An event source by hand, which comes back whenever its stream ends, with the last id, until it is refused."""

    def __init__(self, url: str, token: str | None = None, **query: str) -> None:
        super().__init__()
        self._url = stream_url(url, **query)
        self._headers = {'Accept': 'text/event-stream'} | ({'Authorization': f'Bearer {token}'} if token else {})
        self._stream: Stream | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        id = ''
        while not self._closed.is_set():
            try:
                headers = self._headers | ({'Last-Event-ID': id} if id else {})
                stream = self._stream = Stream(self._url, headers, timeout=None)
                if stream.status != 200:
                    self.record('refused', status=stream.status)
                    return
                self.record('connect')
                stream.id = id
                while True:
                    name, data = stream.read_event()
                    id = stream.id
                    self.record('message', name=name, args=[json.loads(data)], lastEventId=id)
            except (OSError, EOFError):
                self.record('disconnect')
            self._closed.wait(RETRY)

    def close(self) -> None:
        self._closed.set()
        if self._stream is not None:
            with suppress(OSError):
                self._stream.socket.shutdown(socket.SHUT_RDWR)
            self._stream.close()


def listen(driver: Driver, kind: str, url: str, **options: Any) -> Client:
    """A client of that kind, 'js' or 'python', that is connected."""
    client: Client = JavaScriptStream(driver, url, **options) if kind == 'js' else PythonStream(url, **options)
    client.wait_for('connect')
    return client


@contextmanager
def closing_all(*clients: Client) -> Iterator[None]:
    """Closes these clients in the end."""
    with ExitStack() as stack:
        for client in clients:
            stack.callback(client.close)
        yield

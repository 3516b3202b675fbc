"""Raw sockets without manners: what attackers write, and what they see of the answer.

The server believes that it stands behind a proxy, so that attackers have another address than honest clients, whose
share of connections they do not touch: by default they all come from `STRANGER`.
"""

import json
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import gevent

from tests.wire import CLOSE, FIN, TEXT, frame

STRANGER = 'X-Forwarded-For: 203.0.113.66'
PATIENCE = 5.0
"""Seconds within which the server has to answer an attacker, if it does."""
SPAN = 0.8
"""Seconds that most attacks last."""

_ABRUPT = struct.pack('ii', 1, 0)


class Gone(Exception):
    """The server has closed the connection."""


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes


class Link:
    """A TCP connection to the server. What is sent to one that has closed goes nowhere: an attacker does not care."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(('127.0.0.1', port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b''

    def send(self, *pieces: bytes) -> None:
        """Sends each piece as a segment of its own."""
        with suppress(ConnectionError):
            for piece in pieces:
                self.socket.sendall(piece)

    def send_packet(self, packet: str) -> None:
        """Sends an Engine.IO packet as a WebSocket message."""
        self.send(text(packet))

    def read(self, length: int) -> bytes:
        """Exactly so many bytes. Raises Gone."""
        while len(self._unread) < length:
            self._receive()
        data, self._unread = self._unread[:length], self._unread[length:]
        return data

    def read_head(self) -> bytes:
        """An HTTP answer up to the empty line. Raises Gone."""
        while b'\r\n\r\n' not in self._unread:
            self._receive()
        head, _, self._unread = self._unread.partition(b'\r\n\r\n')
        return head

    def read_reply(self) -> Reply:
        """An HTTP answer. Raises Gone."""
        head = self.read_head()
        lines = head.decode('latin-1').lower().split('\r\n')
        headers = dict(line.split(': ', 1) for line in lines[1:])
        return Reply(int(lines[0].split()[1]), self.read(int(headers.get('content-length', 0))))

    def read_frame(self) -> tuple[int, bytes]:
        """A WebSocket frame: opcode and payload. Raises Gone."""
        first, length = self.read(2)
        if length > 125:
            length = int.from_bytes(self.read(2 if length == 126 else 8))
        return first & 0x0F, self.read(length)

    def read_packet(self, start: str) -> str:
        """The next message that starts like this, which may take longer than a ping waits for its answer, where there
        were more commands than the rate allows. Raises Gone."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == TEXT and payload.startswith(start.encode()):
                return payload.decode()
            if (opcode, payload) == (TEXT, b'2'):
                self.send_packet('3')

    def close_code(self) -> int | None:
        """Reads to the end: the code of the server's CLOSE; None where the connection ended without one."""
        code = None
        with suppress(Gone):
            while True:
                opcode, payload = self.read_frame()
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2])
        return code

    def read_to_the_end(self) -> bytes:
        """All that comes until the server closes."""
        with suppress(Gone):
            while True:
                self._receive()
        return self._unread

    def _receive(self) -> None:
        try:
            data = self.socket.recv(262_144)
        except ConnectionError as error:
            raise Gone from error
        if not data:
            raise Gone
        self._unread += data

    def end(self) -> None:
        """Says that no more comes, and goes on reading."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        """Throws away what has come so far, on a socket that does not block."""
        with suppress(BlockingIOError):
            while self.socket.recv(262_144):
                continue

    def close(self) -> None:
        """Ends the connection without a word: a TCP RST."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
        self.socket.close()


class Target:
    """The server as attackers see it. Closes all that they have opened at the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._links: list[Link] = []
        self._begin = time.monotonic()

    def lasting(self, seconds: float = SPAN) -> Iterator[int]:
        """Counts from 0 for so long."""
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            yield number
            number += 1

    def until(self, seconds: float) -> float:
        """The moment (monotonic) so long after the attack began."""
        return self._begin + seconds

    def link(self) -> Link:
        """A TCP connection."""
        self._links.append(link := Link(self._port))
        return link

    def websocket(self, **query: str) -> Link:
        """A WebSocket: of a new session, or to take over that of `sid`."""
        link = self.link()
        link.send(handshake(**query))
        head = link.read_head()
        assert head.startswith(b'HTTP/1.1 101 '), head
        if 'sid' not in query:
            link.read_packet('0')
        return link

    def client(self, connect: str = '40') -> Link:
        """A WebSocket that has connected to the main namespace."""
        link = self.websocket()
        link.send_packet(connect)
        link.read_packet('40')
        return link

    def clients(self, count: int) -> list[Link]:
        return [self.client() for _ in range(count)]

    def session(self) -> str:
        """The id of a new session over long-polling."""
        status, body = self.ask('GET', address())
        assert status == 200, body
        sid: str = json.loads(body[1:])['sid']
        return sid

    def get(self, sid: str) -> Reply:
        """A poll."""
        return self.ask('GET', address(sid=sid))

    def post(self, sid: str, body: bytes) -> Reply:
        """Packets of a session."""
        return self.ask('POST', address(sid=sid), body)

    def ask(self, method: str, path: str, body: bytes = b'', *headers: str) -> Reply:
        """A whole request on a connection of its own. Raises Gone."""
        link = self.link()
        try:
            link.send(request(method, path, body, *headers))
            return link.read_reply()
        finally:
            link.close()

    def close(self) -> None:
        for link in self._links:
            link.close()


def address(**query: str) -> str:
    """The path of a request to Engine.IO."""
    return '/socket.io/?' + '&'.join(
        f'{name}={value}' for name, value in ({'EIO': '4', 'transport': 'polling'} | query).items()
    )


def request(method: str, path: str, body: bytes = b'', *headers: str) -> bytes:
    """An HTTP request. With a body there is its length, unless the headers say something else."""
    lines = [f'{method} {path} HTTP/1.1', 'Host: victim', *headers]
    if not any(line.startswith('X-Forwarded-For:') for line in headers):
        lines.append(STRANGER)
    if body and not any(line.lower().startswith(('content-length', 'transfer-encoding')) for line in headers):
        lines.append(f'Content-Length: {len(body)}')
    return '\r\n'.join([*lines, '', '']).encode('latin-1') + body


def handshake(*headers: str, **query: str) -> bytes:
    """The request that opens a WebSocket."""
    return request(
        'GET',
        address(transport='websocket', **query),
        b'',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: aG9zdGlsZSBob3N0aWxlIQ==',
        *headers,
    )


def text(packet: str) -> bytes:
    """An Engine.IO packet in a WebSocket frame."""
    return frame(FIN | TEXT, packet.encode())


def command(message: Any, id: int | str = '') -> str:
    """The packet that emits `command` with one argument."""
    return f'42{id}' + json.dumps(['command', message])


def pour(links: Sequence[Link], data: bytes, seconds: float = SPAN, read: bool = False) -> int:
    """Sends `data` over and over on each link that takes it. Answers are read, and thrown away, only with `read`.

    Returns how many bytes were taken.
    """
    rest = {link: memoryview(data) for link in links}
    end, total = time.monotonic() + seconds, 0
    for link in links:
        link.socket.settimeout(0)
    while rest and time.monotonic() < end:
        taken = 0
        for link, piece in list(rest.items()):
            try:
                if read:
                    link.drop()
                sent = link.socket.send(piece)
            except BlockingIOError:
                continue
            except ConnectionError:
                del rest[link]
                continue
            taken += sent
            rest[link] = piece[sent:] if sent < len(piece) else memoryview(data)
        total += taken
        gevent.sleep(0 if taken else 0.001)
    for link in links:
        link.socket.settimeout(PATIENCE)
    return total

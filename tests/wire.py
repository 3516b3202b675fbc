"""Engine.IO 4 and Socket.IO 5 by hand, for what official clients never send: single requests, packets and frames."""

import json
import socket
from typing import Any, Self

import requests
import websocket

TIMEOUT = 5
"""Seconds within which each answer has come."""
FIN = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_MASK = b'\x0f\xf0\x3c\xa5'


def frame(first: int, payload: bytes = b'', masked: bool = True) -> bytes:
    """A WebSocket frame (RFC 6455 section 5.2) as a client sends it, or as none should."""
    length = len(payload)
    bit = 0x80 if masked else 0
    if length < 126:
        head = bytes((first, bit | length))
    elif length < 65_536:
        head = bytes((first, bit | 126)) + length.to_bytes(2, 'big')
    else:
        head = bytes((first, bit | 127)) + length.to_bytes(8, 'big')
    if not masked:
        return head + payload
    key = (_MASK * (length // 4 + 1))[:length]
    return head + _MASK + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(length)


def engine_url(url: str, **query: str) -> str:
    """The address of a server's Engine.IO endpoint with these query parameters."""
    return requests.Request('GET', f'{url}/socket.io/', params=query).prepare().url or ''


class Polling:
    """A long-polling session; each request has a connection of its own, so that several can wait at once."""

    def __init__(self, url: str):
        self.url = url
        answer = requests.get(engine_url(url, EIO='4', transport='polling'), timeout=TIMEOUT)
        assert answer.status_code == 200 and answer.text[0] == '0', answer.text
        self.handshake: dict[str, Any] = json.loads(answer.text[1:])
        self._session_url = engine_url(url, EIO='4', transport='polling', sid=self.handshake['sid'])

    def get(self) -> requests.Response:
        return requests.get(self._session_url, timeout=TIMEOUT)

    def post(self, *packets: str) -> requests.Response:
        return self.post_bytes('\x1e'.join(packets).encode())

    def post_bytes(self, body: bytes) -> requests.Response:
        return requests.post(self._session_url, data=body, timeout=TIMEOUT)

    def probe(self) -> 'WebSocket':
        """A WebSocket on the way to take this session over."""
        return WebSocket(self.url, sid=self.handshake['sid'])


class WebSocket:
    """A WebSocket to the Engine.IO endpoint, which reads and writes whole messages or raw bytes."""

    def __init__(self, url: str, **query: str):
        address = engine_url(url, EIO='4', transport='websocket', **query).replace('http', 'ws', 1)
        self._socket = websocket.create_connection(address, timeout=TIMEOUT)

    def wait_longer(self, seconds: float) -> None:
        """Gives answers that time from now on, where the database is the test's own slow one."""
        self._socket.settimeout(seconds)

    def send(self, packet: str) -> None:
        self._socket.send(packet)

    def send_frame(self, first: int, payload: bytes = b'', masked: bool = True) -> None:
        """One frame just so; `first` is its first byte: FIN, the reserved bits and the opcode."""
        self.send_bytes(frame(first, payload, masked))

    @property
    def raw(self) -> socket.socket:
        """The TCP connection beneath."""
        assert self._socket.sock is not None
        return self._socket.sock

    def send_bytes(self, raw: bytes) -> None:
        """Bytes past the WebSocket layer."""
        self.raw.sendall(raw)

    def read(self) -> str:
        """The next text message."""
        opcode, payload = self.read_frame()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame of any kind: opcode and payload."""
        received = self._socket.recv_frame()  # type: ignore[no-untyped-call]
        return received.opcode, received.data

    def close_code(self) -> int | None:
        """Reads to the end; the code of the server's CLOSE, None if the connection ended without one."""
        try:
            while True:
                opcode, payload = self.read_frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], 'big') if payload else None
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return None

    def close(self) -> None:
        self._socket.close(timeout=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SocketIO(WebSocket):
    """A WebSocket that has connected to the main namespace."""

    def __init__(self, url: str, connect: str = '40'):
        super().__init__(url)
        self.opened: dict[str, Any] = json.loads(self.read()[1:])
        self.send(connect)
        while (answer := self.read()) == '2':
            continue
        assert answer.startswith('40{'), answer
        self.connected: dict[str, Any] = json.loads(answer[2:])

    def read_message(self) -> str:
        """The next text message that is neither a ping nor the server's own `cursor`."""
        while (message := self.read()) == '2' or message.startswith('42["cursor"'):
            continue
        return message

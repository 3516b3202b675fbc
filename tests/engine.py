"""The Engine.IO server in this process, with messages that a test handles."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import engineio
import gevent

from reminder.websocket.engine import Engine
from reminder.websocket.handshake import Server
from reminder.websocket.session import Session
from tests.wire import Polling, WebSocket

INTERVAL, TIMEOUT = 30.0, 0.3


def wait_for(condition: Callable[[], Any], within: float = 5) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, 'it did not come to it'
        gevent.sleep(0.005)


class Host:
    """A server whose message '0' is Socket.IO's CONNECT, and whose other messages are answered with themselves."""

    def __init__(self, **options: Any) -> None:
        defaults: dict[str, Any] = {
            'ping_interval': INTERVAL,
            'ping_timeout': TIMEOUT,
            'max_connections': 100,
            'trusted_proxies': 0,
            'rate_limit': 0,
            'origins': (),
        }
        self.engine = Engine(logger=logging.getLogger('quiet'), **(defaults | options))
        self.ended: list[str] = []
        self.handle: Callable[[Session, str], None] = lambda session, message: session.write(b'4' + message.encode())
        self.engine.on('connect', lambda sid, environ: None)
        self.engine.on('message', self._message)
        self.engine.on('disconnect', lambda sid, reason: self.ended.append(reason))
        self.http = Server(
            self.engine,
            ('127.0.0.1', 0),
            engineio.WSGIApp(self.engine, engineio_path='socket.io'),
            log=None,
            error_log=logging.getLogger('http'),
        )
        self.http.logger = logging.getLogger('http')
        self.http.start()
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # the connections' as well: little is on its way
            self.http.socket.setsockopt(socket.SOL_SOCKET, buffer, 65_536)

    @property
    def address(self) -> tuple[str, int]:
        return '127.0.0.1', self.http.server_port

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.http.server_port}'

    def _message(self, sid: str, message: str) -> None:
        session = self.engine.sockets[sid]
        self.handle(session, message)
        if message == '0':
            session.established = True

    @property
    def session(self) -> Session:
        (session,) = self.engine.sockets.values()
        return session

    def websocket(self) -> WebSocket:
        """A client that has connected."""
        client = WebSocket(self.url)
        client.read()
        client.send('40')
        assert client.read() == '40'
        return client

    def polling(self) -> Polling:
        """A client that has connected."""
        client = Polling(self.url)
        client.post('40')
        assert client.get().text == '40'
        return client

    def stop(self) -> None:
        self.engine.stop()
        self.http.stop(timeout=0)


@contextmanager
def hosts() -> Iterator[Callable[..., Host]]:
    """Starts servers with those options, which end with the context."""
    running: list[Host] = []

    def start(**options: Any) -> Host:
        running.append(Host(**options))
        return running[-1]

    try:
        yield start
    finally:
        for host in running:
            host.stop()

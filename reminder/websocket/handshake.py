"""How a connection begins: what it wants, and who serves it.

Most handshakes are plain: the whole request is there when the connection is first looked at. These are answered in the
hub, without a greenlet, an environ or a handler. Whatever is not plain goes to pywsgi and gevent-websocket with not a
byte of it consumed, who serve it or say what is wrong with it; a WebSocket of theirs is taken over after the handshake.
"""

import base64
import errno
import hashlib
import logging
import os
import re
import socket
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from gevent.socket import socket as GeventSocket

from reminder.websocket.addresses import Shares
from reminder.websocket.deadlines import Deadline
from reminder.websocket.engine import VERSION, Engine
from reminder.websocket.handler import HOST, KEY, SILENCE, UPGRADE, Handler, RawSocket
from reminder.websocket.turns import Turnstile

logger = logging.getLogger(__name__)

PATH = '/socket.io/'
MAX_HEAD = 8_192
"""Bytes of a request that are looked at in the hub."""
VISITORS = 2
"""HTTP connections for each session: a polling client has one that waits, and one to send by."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""What accepting fails with where the machine, or this process, has no room for one more connection."""
RETRY = 1.0
"""Seconds after which it is tried again."""
REQUESTS = 8
"""HTTP requests that are answered between two looks at the network; half a millisecond each."""

_GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
_REQUEST = re.compile(rb'GET /socket\.io/\?([!-~]*) HTTP/1\.1\r\n', re.ASCII)
_PASSED_ON = (('HTTP_HOST', b'host'), ('HTTP_ORIGIN', b'origin'), ('HTTP_X_FORWARDED_FOR', b'x-forwarded-for'))
_HEADER = re.compile(rb'([!#$%&\'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)')


def _accept(key: bytes) -> bytes:
    """The answer to `Sec-WebSocket-Key` (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


class Server(WSGIServer):  # type: ignore[misc]
    """pywsgi's server, with plain handshakes answered in the hub."""

    def __init__(self, engine: Engine, *arguments: Any, **options: Any) -> None:
        # A pool, as only one is waited for, and ended, when the server stops.
        super().__init__(*arguments, handler_class=Handler, spawn=Pool(), **options)
        self.engine = engine
        self.visitors = Shares(VISITORS * engine.shares.total)
        """Who has how many connections that are no WebSocket, or not yet."""
        self.turnstile = Turnstile(REQUESTS)
        self.pre_start_hook = self._keep_http
        self.silent: set[Greeting] = set()
        """New connections that have not said anything yet, for at most SILENCE; they are visitors, too."""
        self._exhausted = False

    def init_socket(self) -> None:
        """Makes the listener; connections inherit its options."""
        super().init_socket()
        # A poll's headers and body are two writes, which Nagle would hold 40 ms apart.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_read(self) -> Any:
        """Accepts a connection, as a plain socket: most never need gevent's own."""
        try:
            descriptor, address = self.socket._accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self._wait_for_room(error)
            return None
        if self._exhausted:
            self._exhausted = False
            logger.info('connections are accepted again', {'event': 'accepting_again'})
        listener = self.socket
        return RawSocket(listener.family, listener.type, listener.proto, descriptor), address

    def _wait_for_room(self, error: OSError) -> None:
        """Leaves those who come in the backlog for a while; gevent's own would print a traceback for each try."""
        if not self._exhausted:
            self._exhausted = True
            logger.error(
                'new connections wait: %(error)s',
                {'event': 'accepting_waits', 'error': os.strerror(error.errno or 0)},
            )
        self.stop_accepting()
        gevent.spawn_later(RETRY, self._accept_again)

    def _accept_again(self) -> None:
        if self.started:
            self.start_accepting()

    def do_handle(self, sock: Any, address: Any) -> None:
        """Takes a new connection. gevent's own would spawn a greenlet that waits for the request."""
        if self.visitors.has_room(self._peer(address)):
            self.visitors.take(self._peer(address))
            Greeting(self, sock, address)
        else:
            self.engine.counts.limits['visitors'] += 1
            sock.close()

    def close(self) -> None:
        """Stops listening, and lets go of connections that have not said anything yet."""
        super().close()
        for greeting in list(self.silent):
            greeting.end()

    def leave(self, address: Any) -> None:
        """A connection has ended, or become a WebSocket."""
        self.visitors.give_back(self._peer(address))

    def serve(self, sock: Any, address: Any) -> None:
        """Leaves a connection to pywsgi."""
        super().do_handle(sock, address)

    def do_close(self, sock: Any, *address: Any) -> None:
        """Called when pywsgi has done with a connection."""
        super().do_close(sock, *address)
        self.leave(*address)

    def _peer(self, address: Any) -> str:
        """Whose share a connection is counted under; behind a proxy it is the proxy that limits them."""
        return str(address[0]) if isinstance(address, tuple) and not self.engine.trusted_proxies else ''

    def _keep_http(self, handler: Any) -> bool:
        """gevent-websocket's hook: whether a request is answered by HTTP, as it is no upgrade or will be refused.

        What is wrong with a handshake is said here, too: the library says it by tracebacks, or not at all.
        """
        environ = handler.environ
        return not (
            environ['PATH_INFO'].startswith(PATH)
            and environ.get('HTTP_UPGRADE', '').lower() == 'websocket'
            and UPGRADE.search(environ.get('HTTP_CONNECTION', '').encode('latin-1'))
            and environ['SERVER_PROTOCOL'] == 'HTTP/1.1'
            and environ.get('HTTP_SEC_WEBSOCKET_VERSION') == VERSION
            and KEY.fullmatch(environ.get('HTTP_SEC_WEBSOCKET_KEY', '').encode('latin-1'))
            and self.engine.refusal(environ) is None
        )


class Greeting:
    """A new connection, until it is known what it wants."""

    def __init__(self, server: Server, sock: Any, address: Any) -> None:
        self._server = server
        sock.setblocking(False)
        self._sock = sock
        self._address = address
        self._watcher: Any = None
        self._patience: Deadline | None = None
        self._look()
        if self._sock is not None:
            self._watcher = server.loop.io(self._sock.fileno(), 1)
            self._watcher.start(self._look)
            server.silent.add(self)
            self._patience = server.engine.deadlines.after(SILENCE, self.end)

    def end(self) -> None:
        """Closes the connection, if it is still unknown what it wants."""
        sock = self._release()
        if sock is not None:
            sock.close()
            self._server.leave(self._address)

    def _release(self) -> Any:
        """The socket, for somebody else to use; None where that has happened."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._patience is not None:
            self._patience.cancel()
        sock, self._sock = self._sock, None
        self._server.silent.discard(self)
        return sock

    def _look(self) -> None:
        try:
            head = self._sock.recv(MAX_HEAD, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            head = b''
        if not head:
            self.end()
            return
        environ, key, length = _parse(head)
        if environ is not None:
            environ['REMOTE_ADDR'] = str(self._address[0]) if isinstance(self._address, tuple) else ''
        sock = self._release()
        if environ is None or self._server.engine.refusal(environ) is not None:
            self._server.serve(GeventSocket(fileno=sock.detach()), self._address)
            return
        self._server.leave(self._address)
        try:
            sock.recv(length)
        except OSError:
            sock.close()
            return
        environ['wsgi.websocket'] = (sock, b'', _RESPONSE % _accept(key))
        self._server.engine.serve_websocket(environ)


_RESPONSE = (
    b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n'
)


def _parse(head: bytes) -> tuple[dict[str, Any] | None, bytes, int]:
    """The environ, the key and the length of a plain handshake for Socket.IO; no environ where it is anything else."""
    request, end = _REQUEST.match(head), head.find(b'\r\n\r\n')
    if request is None or end < 0:
        return None, b'', 0
    headers: dict[bytes, bytes] = {}
    for line in head[request.end() : end].split(b'\r\n'):
        header = _HEADER.fullmatch(line)
        if header is None or (name := header[1].lower()) in headers:
            return None, b'', 0
        headers[name] = header[2].strip(b' \t')
    key = headers.get(b'sec-websocket-key', b'')
    if (
        headers.get(b'upgrade', b'').lower() != b'websocket'
        or not UPGRADE.search(headers.get(b'connection', b''))
        or headers.get(b'sec-websocket-version') != VERSION.encode()
        or not HOST.fullmatch(headers.get(b'host', b' '))
        or not KEY.fullmatch(key)
    ):
        return None, b'', 0
    environ = {
        'REQUEST_METHOD': 'GET',
        'PATH_INFO': PATH,
        'QUERY_STRING': request[1].decode(),
        'HTTP_UPGRADE': 'websocket',
    }
    for variable, name in _PASSED_ON:
        if name in headers:
            environ[variable] = headers[name].decode('latin-1')
    return environ, key, end + 4

"""How a WebSocket begins, and how its socket gets out of pywsgi.

Most handshakes are plain: the whole request is there when the connection is first looked at. These are answered in the
hub, without a greenlet, an environ or a handler. Whatever is not plain goes to pywsgi and gevent-websocket with not a
byte of it consumed, who serve it or say what is wrong with it; a WebSocket of theirs is taken over after the handshake.
"""

import base64
import hashlib
import logging
import re
import socket
from collections.abc import Callable
from typing import Any

from gevent import monkey
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from gevent.socket import socket as GeventSocket
from geventwebsocket.handler import WebSocketHandler

from reminder.websocket.engine import Engine

logger = logging.getLogger(__name__)

PATH = '/socket.io/'
MAX_HEAD = 8_192
"""Bytes of a request that are looked at in the hub."""
SILENCE = 10.0
"""Seconds that a new connection may say nothing."""

_GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
_REQUEST = re.compile(rb'GET /socket\.io/\?([!-~]*) HTTP/1\.1\r\n', re.ASCII)
_KEY = re.compile(rb'[A-Za-z0-9+/]{22}==')
_HEADER = re.compile(rb'([!#$%&\'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)\r\n')

_RawSocket = monkey.get_original('socket', 'socket')


def _raw(sock: Any) -> Any:
    """gevent's socket as a plain one that does not block; gevent's own is left without a descriptor."""
    raw = _RawSocket(fileno=sock.detach())
    raw.setblocking(False)
    return raw


def _accept(key: bytes) -> bytes:
    """The answer to `Sec-WebSocket-Key` (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


class Handler(WebSocketHandler):  # type: ignore[misc]
    """pywsgi's and gevent-websocket's handler, which hands a WebSocket's socket over instead of serving it."""

    socket: Any
    websocket: Any

    def run_websocket(self) -> None:
        """Calls the application with the raw socket and what was read ahead, as `environ['wsgi.websocket']`."""
        sock = self.socket
        self.socket = None
        sock.settimeout(0)  # so that peek() cannot wait
        buffered = self.rfile.peek()
        raw = _raw(sock)
        # gevent-websocket would send a CLOSE when its own object is collected.
        self.websocket.closed = True
        self.websocket = None
        self.environ['wsgi.websocket'] = (raw, buffered)
        try:
            self.application(self.environ, _no_response)
        except BaseException:
            raw.close()
            raise

    def handle(self) -> None:
        """Serves a connection until it ends. That its client is gone is nobody's error; others belong into the log."""
        try:
            super().handle()
        except OSError:
            pass
        except Exception:
            logger.exception('a connection could not be served')

    def read_request(self, raw_requestline: str) -> Any:
        """Parses the request's head. A ValueError means that it is no HTTP, and is not worth a traceback."""
        try:
            return super().read_request(raw_requestline)
        except (OSError, IndexError) as error:
            raise ValueError('unreadable request') from error

    def log_request(self) -> None:
        """Polls are not worth a line each."""

    def log_error(self, msg: str, *args: Any) -> None:
        """What a client did wrong, with bytes that it chose, is for debugging alone."""
        logger.debug(msg, *args)

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """Answers 500 for an error of ours, and logs it; the library would print it past the log."""
        if not isinstance(v, OSError | ValueError):  # a body that breaks off, or is no body
            logger.error('a request could not be answered', exc_info=(t, v, tb))
        self._send_error_response_if_possible(500)


def _no_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
    """The response was sent with the handshake."""
    return lambda data: None


class Server(WSGIServer):  # type: ignore[misc]
    """pywsgi's server, with plain handshakes answered in the hub."""

    def __init__(self, engine: Engine, *arguments: Any, **options: Any) -> None:
        # A pool, as only one is waited for, and ended, when the server stops.
        super().__init__(*arguments, handler_class=Handler, spawn=Pool(), **options)
        self.engine = engine
        self.pre_start_hook = self._keep_http
        self.silent: set[Greeting] = set()
        """New connections that have not said anything yet, for at most SILENCE."""

    def init_socket(self) -> None:
        """Makes the listener; connections inherit its options."""
        super().init_socket()
        # A poll's headers and body are two writes, which Nagle would hold 40 ms apart.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_handle(self, sock: Any, address: Any) -> None:
        """Takes a new connection. gevent's own would spawn a greenlet that waits for the request."""
        Greeting(self, sock, address)

    def close(self) -> None:
        """Stops listening, and lets go of connections that have not said anything yet."""
        super().close()
        for greeting in list(self.silent):
            greeting.end()

    def serve(self, sock: Any, address: Any) -> None:
        """Leaves a connection to pywsgi."""
        super().do_handle(sock, address)

    def _keep_http(self, handler: Any) -> bool:
        """gevent-websocket's hook: whether a request is answered by HTTP, as it is no upgrade or will be refused.

        What is wrong with a handshake is said here, too: the library says it by tracebacks, or not at all.
        """
        environ = handler.environ
        return not (
            environ['PATH_INFO'].startswith(PATH)
            and environ.get('HTTP_UPGRADE', '').lower() == 'websocket'
            and 'upgrade' in environ.get('HTTP_CONNECTION', '').lower()
            and environ['SERVER_PROTOCOL'] == 'HTTP/1.1'
            and environ.get('HTTP_SEC_WEBSOCKET_VERSION') == '13'
            and _KEY.fullmatch(environ.get('HTTP_SEC_WEBSOCKET_KEY', '').encode('latin-1'))
            and self.engine.refusal(environ) is None
        )


class Greeting:
    """A new connection, until it is known what it wants."""

    def __init__(self, server: Server, sock: Any, address: Any) -> None:
        self._server = server
        self._sock = _raw(sock)
        self._address = address
        self._watcher: Any = None
        self._look()
        if self._sock is not None:
            self._watcher = server.loop.io(self._sock.fileno(), 1)
            self._watcher.start(self._look)
            server.silent.add(self)
            server.engine.deadlines.after(SILENCE, self.end)

    def end(self) -> None:
        """Closes the connection, if it is still unknown what it wants."""
        sock = self._release()
        if sock is not None:
            sock.close()

    def _release(self) -> Any:
        """The socket, for somebody else to use; None where that has happened."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
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
        try:
            sock.recv(length)
            sock.send(_RESPONSE % _accept(key))
        except OSError:
            sock.close()
            return
        environ['wsgi.websocket'] = (sock, b'')
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
    position = request.end()
    while position < end + 2:
        header = _HEADER.match(head, position)
        if header is None or header[1].lower() in headers:
            return None, b'', 0
        headers[header[1].lower()] = header[2].strip(b' \t')
        position = header.end()
    key = headers.get(b'sec-websocket-key', b'')
    if (
        headers.get(b'upgrade', b'').lower() != b'websocket'
        or b'upgrade' not in headers.get(b'connection', b'').lower()
        or headers.get(b'sec-websocket-version') != b'13'
        or not _KEY.fullmatch(key)
    ):
        return None, b'', 0
    environ = {
        'REQUEST_METHOD': 'GET',
        'PATH_INFO': PATH,
        'QUERY_STRING': request[1].decode(),
        'HTTP_UPGRADE': 'websocket',
    }
    for variable, name in (('HTTP_HOST', b'host'), ('HTTP_ORIGIN', b'origin')):
        if name in headers:
            environ[variable] = headers[name].decode('latin-1')
    return environ, key, end + 4

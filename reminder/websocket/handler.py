"""HTTP requests, on pywsgi's and gevent-websocket's handler: each in time, and a WebSocket's socket let go.

What is overridden and why. The libraries wait for ever for what a client has begun to send and to take; they take
headers of any size; they print what goes wrong past the log. `_discard` and `socket` are what pywsgi itself uses.
"""

import email.utils
import http.client
import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
from gevent import monkey
from geventwebsocket.handler import WebSocketHandler

from reminder.logs import REQUEST, request_id
from reminder.websocket.deadlines import Deadline
from reminder.websocket.payloads import MAX_POST, PIECE

logger = logging.getLogger(__name__)

SILENCE = 10.0
"""Seconds that a new connection may say nothing, and that the head of a request may take."""
IDLE = 60.0
"""Seconds between two requests of a connection. More than between a polling client's pongs, each of which is a POST."""
TRANSFER = 30.0
"""Seconds that the body of a request is waited for in all, and for a part of an answer to be taken."""
MAX_HEADERS = 16_384
"""Bytes of a request's headers."""

DIGITS = re.compile(r'\d+', re.ASCII)
"""What `Content-Length` has to be (RFC 9110 section 8.6)."""
HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~%!$&'()*+,;=-]*)(?::[0-9]*)?")
"""What `Host` has to be (RFC 9110 section 7.2, RFC 3986 section 3.2.2)."""
UPGRADE = re.compile(rb'(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)', re.IGNORECASE)
"""What has to be found in `Connection`, a list, where there is an `Upgrade` (RFC 6455 section 4.2.1)."""
KEY = re.compile(rb'[A-Za-z0-9+/]{22}==')
"""What `Sec-WebSocket-Key` has to be (RFC 6455 section 4.1)."""

NO_LENGTH = 'the length of the body has to be given, as Content-Length'
"""What who sends chunks is told."""

GOES_ON = 'reminder.goes_on'
"""What of a request's environ is called with its connection's socket once it is answered; None or missing: nothing."""

RawSocket = monkey.get_original('socket', 'socket')
"""A socket that does not know of gevent."""


def raw(sock: Any) -> Any:
    """gevent's socket as a plain one that does not block; gevent's own is left without a descriptor."""
    raw = RawSocket(fileno=sock.detach())
    raw.setblocking(False)
    return raw


class Handler(WebSocketHandler):  # type: ignore[misc]
    """pywsgi's and gevent-websocket's handler, which hands a WebSocket's socket over instead of serving it.

    Nothing that a client does may take for ever: what it sends and takes has to be done with in time, however little
    of it comes at a time.
    """

    environ: Any
    socket: Any
    websocket: Any
    rfile: Any
    wsgi_input: Any
    provided_content_length: str | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._patience = SILENCE
        self._head: Deadline | None = None
        """Until when the head of a request has to be there, once it has begun."""

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Ends the connection if what is done takes longer than that."""
        limit = self.server.engine.deadlines.after(seconds, self._cut_off)
        try:
            yield
        finally:
            limit.cancel()

    def _end_head(self) -> None:
        if self._head is not None:
            self._head.cancel()

    def _cut_off(self) -> None:
        sock = getattr(self, 'socket', None)  # pywsgi takes the attribute away at the end
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # who reads gets the end, who writes an error

    def handle_one_request(self) -> Any:
        """Serves one request of the connection."""
        result = super().handle_one_request()
        self.environ = None  # which leads back here, by the body: a circle waits for the garbage collector
        self._patience = IDLE
        return result

    def handle_one_response(self) -> None:
        """Answers a request, when it is its turn."""
        self.server.turnstile.go_through()
        super().handle_one_response()

    def read_requestline(self) -> Any:
        """Waits for the next request, whose head has its time from its first byte on."""
        with self.within(self._patience):
            self.rfile.peek(1)
        self._head = self.server.engine.deadlines.after(SILENCE, self._cut_off)
        return super().read_requestline()

    def get_environ(self) -> Any:
        """The request's environ, whose body takes its time from this handler."""
        environ = super().get_environ()
        body = Body(self.wsgi_input, self)
        if environ['wsgi.input'] is self.wsgi_input:
            environ['wsgi.input'] = body
        self.wsgi_input = body
        return environ

    def write(self, data: bytes) -> None:
        """Writes a part of the answer."""
        with self.within(TRANSFER):
            super().write(data)

    def start_response(self, *arguments: Any) -> Any:
        """Begins the answer. One that says itself that the connection closes, and not how long it is, ends with that;
        pywsgi would send it in chunks."""
        write = super().start_response(*arguments)
        if self.provided_content_length is None and ('Connection', 'close') in arguments[1]:
            self.provided_content_length = ''
        return write

    def run_application(self) -> None:
        """Answers a request, and hands the connection over where it is to go on."""
        super().run_application()
        go_on = self.environ.get(GOES_ON)
        if go_on is not None:
            self.wsgi_input._discard()  # as nothing can be read later
            sock, self.socket = self.socket, None
            plain = raw(sock)
            try:
                go_on(plain)
            except BaseException:
                plain.close()
                raise

    def run_websocket(self) -> None:
        """Calls the application with `environ['wsgi.websocket']`: the raw socket, what was read ahead, and what is left
        to be said of the handshake's answer, which is nothing."""
        sock = self.socket
        sock.settimeout(0)  # so that peek() cannot wait
        buffered = self.rfile.peek()
        self.socket = None  # not before: a client that is gone by now is left to pywsgi
        plain = raw(sock)
        # gevent-websocket would send a CLOSE when its own object is collected.
        self.websocket.closed = True
        self.websocket = None
        self.environ['wsgi.websocket'] = (plain, buffered, b'')
        try:
            self.application(self.environ, _no_response)
        except BaseException:
            plain.close()
            raise

    def handle(self) -> None:
        """Serves a connection until it ends. That its client is gone is nobody's error; others belong into the log."""
        try:
            super().handle()
        except OSError:
            pass
        except Exception:
            logger.exception('a connection could not be served', {'event': 'connection_failed'})
        finally:
            self._end_head()

    def read_request(self, raw_requestline: str) -> Any:
        """Parses the request's head. A ValueError means that it is no HTTP, and is not worth a traceback."""
        rfile, self.rfile = self.rfile, Headers(self.rfile)
        try:
            read = super().read_request(raw_requestline)
            self._check_framing()
            self._check_host()
            return read
        except (OSError, IndexError, http.client.HTTPException) as error:
            raise ValueError('unreadable request') from error
        finally:
            self.rfile = rfile
            self._end_head()

    def _check_framing(self) -> None:
        """Refuses what a proxy before us may take to end elsewhere than pywsgi does (RFC 9112 sections 5.1, 6.1, 6.3).

        Nobody has to send us chunks: clients know how long what they send is.
        """
        if self.headers.get_all('transfer-encoding') == ['chunked']:  # pywsgi has thrown a Content-Length away
            raise NoLength(NO_LENGTH)
        if self.headers.get('transfer-encoding') is not None or len(self.headers.get_all('content-length', ())) > 1:
            raise ValueError('the length of the body is not clear')
        if not DIGITS.fullmatch(self.headers.get('content-length', '0').strip(' \t')):  # int() takes +5 and 1_0, too
            raise ValueError('the length of the body is no number')
        if self.headers.defects or any('\n' in value for value in self.headers.values()):
            raise ValueError('a line that is no header, or belongs to the one before')

    def _check_host(self) -> None:
        """Refuses a request that does not say, in one way, which host it is for (RFC 9112 section 3.2)."""
        hosts = self.headers.get_all('host', ())
        if len(hosts) > 1 or (not hosts and self.request_version == 'HTTP/1.1'):
            raise ValueError('the host has to be given, once')
        if hosts and not HOST.fullmatch(hosts[0].strip(' \t').encode('latin-1', 'replace')):
            raise ValueError('the host is none')

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes]:
        """The whole answer to a head that was refused, after which the connection ends. Called by the library."""
        if isinstance(ex, NoLength):
            return self._refuse_chunks()
        return super()._handle_client_error(ex)  # type: ignore[no-any-return]

    def _refuse_chunks(self) -> tuple[str, bytes]:
        """The answer to who sends chunks: no mistake in HTTP, so one like those of `reminder.web`."""
        id = request_id(self.headers.get('x-request-id', ''))
        token = REQUEST.set(id)
        method, path = self.command, self.path.partition('?')[0]
        logger.debug(
            '%(method)s %(path)s: %(error)s',
            {'event': 'refused', 'method': method, 'path': path, 'status': 411, 'error': NO_LENGTH},
        )
        REQUEST.reset(token)
        body = json.dumps({'status': 'failure', 'error': NO_LENGTH}) + '\n'
        lines = (
            'HTTP/1.1 411 Length Required',
            'Content-Type: application/json',
            f'Content-Length: {len(body)}',
            'Connection: close',
            f'Date: {email.utils.formatdate(usegmt=True)}',
            f'X-Request-Id: {id}',
            'Cache-Control: no-store',
            'X-Content-Type-Options: nosniff',
        )
        return '411', '\r\n'.join((*lines, '', body)).encode()

    def log_request(self) -> None:
        """Polls are not worth a line each."""

    def log_error(self, msg: str, *args: Any) -> None:
        """What a client did wrong is for debugging alone. Called by the library, with its address and the mistake."""
        if logger.isEnabledFor(logging.DEBUG):
            *address, mistake = args or (msg,)
            kind = re.split('[:;]', mistake, maxsplit=1)[0]  # behind it is what was sent, which may hold a token
            logger.debug('%(error)s', {'event': 'bad_request', 'error': msg % (*address, kind) if args else kind})

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """Answers 500 for an error of ours, and logs it; the library would print it past the log."""
        # Not for a body that breaks off, or is none, or a server that stops.
        if not isinstance(v, OSError | ValueError | gevent.GreenletExit):
            logger.error('a request could not be answered', {'event': 'request_failed'}, exc_info=(t, v, tb))
        self._send_error_response_if_possible(500)


class NoLength(ValueError):
    """A request's body comes in chunks, which say how long they are one by one."""


class Headers:
    """The lines of a request's headers, of which the library would take 6 MB."""

    def __init__(self, rfile: Any) -> None:
        self._rfile = rfile
        self._left = MAX_HEADERS

    def readline(self, limit: int) -> bytes:
        """One line. Raises ValueError for a bare CR in it (RFC 9112 section 2.2), and after too many bytes."""
        line: bytes = self._rfile.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise ValueError('headers too large')
        if b'\r' in line.removesuffix(b'\n').removesuffix(b'\r'):  # the library would begin another header there
            raise ValueError('a line break within a line')
        return line


class Body:
    """A request's body, which has to come in time."""

    def __init__(self, body: Any, handler: Handler) -> None:
        self._body = body
        self._handler = handler
        self._left = TRANSFER
        """Seconds that it may be waited for. Not those that who reads it takes for what was read."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer where the body ends, breaks off or does not come in time."""
        begun = time.monotonic()
        try:
            with self._handler.within(max(0, self._left)):
                return self._body.read(size)  # type: ignore[no-any-return]
        finally:
            self._left -= time.monotonic() - begun

    def _discard(self) -> None:
        """Called by the library after the answer: a client has to get rid of its body before it reads that. What is
        larger than any body that is taken ends the connection."""
        if (self._handler.content_length or 0) > MAX_POST:
            self._handler.close_connection = True
        else:
            while self.read(PIECE):
                gevent.sleep(0)


def _no_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
    """The response was sent with the handshake."""
    return lambda data: None

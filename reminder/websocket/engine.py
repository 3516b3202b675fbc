"""The Engine.IO 4 server, to the letter of its protocol document, on python-engineio's server class.

What is overridden and why. `handle_request`: the library answers bad requests, polls of ended sessions and oversized
payloads otherwise than the document, and its own `Socket` is named in its code. What Socket.IO's server class needs
keeps its form: `sockets`, `send_packet`, `disconnect`, `transport`, `generate_id`, `on`, and the three handlers.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qs

import engineio
import gevent
from engineio import packet as eio_packet

from reminder.logs import CONNECTION
from reminder.services.gate import CLIENT
from reminder.services.origins import Origins
from reminder.websocket.addresses import Shares, client_address, site
from reminder.websocket.counts import Counts
from reminder.websocket.deadlines import Deadlines
from reminder.websocket.payloads import MAX_POST
from reminder.websocket.session import Refused, Session
from reminder.websocket.upgrade import Probe
from reminder.websocket.workers import Workers

logger = logging.getLogger(__name__)

Reply = tuple[str, bytes]
Result = TypeVar('Result')

VERSION = '13'
"""The version of WebSocket (RFC 6455 section 4.1)."""
MOVE = 1.0
"""Seconds that a stopping server gives clients to complete an upgrade; it takes them a round trip or two."""
OK = '200 OK'
NO_CONTENT = '204 No Content'
_ERRORS = {
    'transport': ('400 Bad Request', 0, 'Transport unknown'),
    'session': ('400 Bad Request', 1, 'Session ID unknown'),
    'method': ('400 Bad Request', 2, 'Bad handshake method'),
    'handshake': ('400 Bad Request', 3, 'Bad WebSocket handshake'),
    'request': ('400 Bad Request', 3, 'Bad request'),
    'origin': ('403 Forbidden', 4, 'Forbidden'),
    'version': ('400 Bad Request', 5, 'Unsupported protocol version'),
    'size': ('413 Payload Too Large', 3, 'Payload too large'),
    'full': ('503 Service Unavailable', 3, 'Too many connections'),
    'stopping': ('503 Service Unavailable', 3, 'Server is stopping'),
}


def _error(kind: str) -> Reply:
    status, code, message = _ERRORS[kind]
    return status, json.dumps({'code': code, 'message': message}).encode()


FULL = _error('full')
_encode = json.JSONEncoder(separators=(',', ':')).encode  # `dumps` makes an encoder for each call


class Engine(engineio.Server):  # type: ignore[misc]
    """The Engine.IO server: handshakes, requests, and the sessions by their ids."""

    def __init__(
        self,
        *,
        max_connections: int,
        trusted_proxies: int,
        rate_limit: int,
        origins: Sequence[str],
        **options: Any,
    ) -> None:
        """`trusted_proxies` before us set `X-Forwarded-For`. `rate_limit`: messages of one session that are handled in
        a second; 0 for any number. `origins`: other origins than the server's own whose pages may connect; '*' among
        them means any.
        """
        super().__init__(async_mode='gevent', monitor_clients=False, **options)
        self.sockets: dict[str, Session]  # as many as `shares` has room for
        self.trusted_proxies = trusted_proxies
        self.rate_limit = rate_limit
        self.shares = Shares(max_connections)
        """Who has how many of the sessions."""
        self.origins = Origins(origins)
        self.moving: set[Probe] = set()  # each keeps the share of its session
        """WebSockets to which clients move whose sessions have ended."""
        self.counts = Counts()
        self.deadlines = Deadlines()
        self.workers = Workers()
        self.stopping = False

    # -- requests -----------------------------------------------------------------------------------------------

    def handle_request(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application."""
        if environ['REQUEST_METHOD'] == 'OPTIONS' and self.origins.allow(environ):
            status, body = NO_CONTENT, b''
        else:
            refusal = self.refusal(environ)
            if refusal is None and 'wsgi.websocket' in environ:
                self.serve_websocket(environ)
                return []
            if refusal is None and _query(environ)['transport'] == 'websocket':
                refusal = _error('handshake')  # `Server` found it wrong, or it would be a WebSocket now
            if refusal == FULL:
                self.count_full()
            status, body = refusal or self._serve_polling(environ)
        headers = [('Cache-Control', 'no-store'), *self.origins.headers(environ, 'GET, POST')]
        if environ.get('HTTP_SEC_WEBSOCKET_VERSION', VERSION) != VERSION:
            headers.append(('Sec-WebSocket-Version', VERSION))  # what the client should try (RFC 6455 section 4.4)
        if status != NO_CONTENT:
            headers.append(('Content-Type', 'text/plain; charset=UTF-8' if status == OK else 'application/json'))
            headers.append(('Content-Length', str(len(body))))
        start_response(status, headers)
        return [body]

    def refusal(self, environ: dict[str, Any]) -> Reply | None:
        """What is wrong with a request, in the order of the protocol document's checks; None where nothing is."""
        if not self.origins.allow(environ):
            return _error('origin')
        query, method = _query(environ), environ['REQUEST_METHOD']
        upgrade = environ.get('HTTP_UPGRADE', '').lower() == 'websocket'
        transport, sid = query.get('transport'), query.get('sid')
        if transport not in self.transports:
            return _error('transport')
        if query.get('EIO') != '4':
            return _error('version')
        if method not in ('GET', 'POST') or (method == 'POST' and (sid is None or upgrade)):
            return _error('method')
        if upgrade != (transport == 'websocket'):
            return _error('request')
        if sid is None:
            has_room = self.shares.has_room(self.address(environ))
            return None if has_room and not self.stopping else FULL
        session = self.sockets.get(sid)
        if session is None:
            return _error('session')
        return _error('request') if session.upgraded or (upgrade and session.upgrading) else None

    def serve_websocket(self, environ: dict[str, Any]) -> None:
        """Takes a WebSocket whose request was not refused; the answer to its handshake may be still to be written."""
        sock, buffered, answer = environ['wsgi.websocket']
        sid = _query(environ).get('sid')
        if sid is None:
            self._create(environ).attach(sock, buffered, answer)
        else:
            Probe(self.sockets[sid], sock, buffered, answer)

    def _serve_polling(self, environ: dict[str, Any]) -> Reply:
        sid = _query(environ).get('sid')
        if sid is None:
            return OK, self.open_packet(self._create(environ).sid, ['websocket'])
        try:
            if environ['REQUEST_METHOD'] == 'GET':
                return OK, self.sockets[sid].get()
            return OK, self._take_post(self.sockets[sid], environ)
        except Refused as error:
            return _error(str(error))

    def _take_post(self, session: Session, environ: dict[str, Any]) -> bytes:
        length = environ.get('CONTENT_LENGTH') or '0'
        if not length.isdecimal():
            raise Refused('request')
        if int(length) > MAX_POST:
            self.counts.limits['body'] += 1
            raise Refused('size')
        return session.post(environ['wsgi.input'], int(length))

    def _create(self, environ: dict[str, Any]) -> Session:
        session = Session(self, self.generate_id(), self.address(environ))
        self.sockets[session.sid] = session
        self.shares.take(session.address)
        # Kept for as long as the connection: only what is asked for later, as a whole environ weighs 10 KiB.
        self.handlers['connect'](session.sid, {'REMOTE_ADDR': session.address})
        return session

    def open_packet(self, sid: str, upgrades: list[str]) -> bytes:
        """The first packet of a session."""
        handshake = {
            'sid': sid,
            'upgrades': upgrades,
            'pingInterval': round(self.ping_interval * 1000),
            'pingTimeout': round(self.ping_timeout * 1000),
            'maxPayload': MAX_POST,
        }
        return b'0' + _encode(handshake).encode()

    # -- what all doors share --------------------------------------------------------------------------------------

    def address(self, environ: Mapping[str, str]) -> str:
        """The address of a request's client."""
        return client_address(environ, self.trusted_proxies)

    def counted_under(self, environ: Mapping[str, str]) -> str:
        """Whose commands a request's are counted as: all those of an address, but of this machine's own those of one
        connection, as for sessions: they may be of many, behind a proxy that nobody told us of."""
        return site(self.address(environ)) or f'{environ["REMOTE_ADDR"]}:{environ["REMOTE_PORT"]}'

    def call(self, function: Callable[[], Result], order: float) -> Result:
        """Calls a function when it is its turn among the commands of all, of which those of a low `order` are first."""
        return self.workers.call(function, order)

    # -- sessions -----------------------------------------------------------------------------------------------

    def handle_message(self, session: Session, message: str | None) -> None:
        """Hands a message (None: a binary one) to Socket.IO; one that it does not understand ends the session."""
        token = CONNECTION.set(session.sid)
        CLIENT.set(site(session.address) or session.sid)
        try:
            self.handlers['message'](session.sid, message)
        except (ValueError, RecursionError) as error:
            session.malformed(error)
        except Exception:
            logger.exception('a message could not be handled', {'event': 'message_failed'})
            session.close(reason=self.reason.TRANSPORT_ERROR)
        finally:
            CONNECTION.reset(token)

    def send_packet(self, sid: str, pkt: eio_packet.Packet) -> None:
        """Sends a packet, in order; one to a session that has ended goes nowhere."""
        session = self.sockets.get(sid)
        if session is not None:
            session.send(pkt)

    def forget(self, session: Session, reason: str) -> None:
        """Lets go of a session that has ended."""
        self.sockets.pop(session.sid, None)
        self.shares.give_back(session.address)
        self.counts.ended[reason] += 1
        self.handlers['disconnect'](session.sid, reason)

    def count_full(self) -> None:
        """Counts a client for whom there was no room."""
        if not self.stopping:
            self.counts.limits['connections' if self.shares.taken >= self.shares.total else 'share'] += 1

    def drain(self, timeout: float) -> None:
        """Takes no more sessions and packets, and gives those that were received `timeout` seconds to be answered, and
        who is in the midst of an upgrade a moment to complete it."""
        self.stopping = True
        for session in list(self.sockets.values()):
            session.transport.pause(True)
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < timeout and (
            self.workers.busy
            or self.workers.waiting
            or any(one.busy or (one.upgrading and passed < MOVE) for one in self.sockets.values())
        ):
            gevent.sleep(0.01)

    def stop(self) -> None:
        """Ends all sessions, in the way that makes clients connect again."""
        for session in list(self.sockets.values()):
            session.close()
        for probe in list(self.moving):
            probe.end()
        self.deadlines.close()
        self.workers.close()


def _query(environ: dict[str, Any]) -> Mapping[str, str]:
    return _parameters(environ.get('QUERY_STRING', ''))


@lru_cache(256)  # a request's query is asked for several times, and those of many WebSockets are the same
def _parameters(query: str) -> Mapping[str, str]:
    """The first value of each parameter."""
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}

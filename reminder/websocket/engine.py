"""Engine.IO 4, to the letter of its protocol document, on python-engineio's server and socket classes.

What is overridden and why. `Server.handle_request`: the library answers bad requests, polls of ended sessions and
oversized payloads otherwise than the document, and names `Socket` in its code. `Socket`: its queue, writer greenlet and
ping greenlet cost 30 KiB a client; packets are dropped silently; a queue that looks empty may still have a write under
way. What Socket.IO's server class needs of both keeps its form: `sockets`, `send_packet`, `disconnect`, `transport`,
`generate_id`, `on`, and the three handlers.
"""

import json
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs

import engineio
import engineio.socket
import gevent
from engineio import packet as eio_packet
from gevent.event import Event

from reminder.websocket.deadlines import Deadlines
from reminder.websocket.frames import GOING_AWAY, NORMAL, POLICY
from reminder.websocket.transport import Chunk, Encoded, Polling, WebSocket

logger = logging.getLogger(__name__)

MAX_MESSAGE = 65_536
"""Bytes of one message."""
MAX_POST = 1_000_000
"""Bytes of one POST. Clients older than `maxPayload` (JavaScript before 4.5, Python) put all that waits into one."""
MAX_POST_PACKETS = 5_000
WINDOW = 64
"""Commands of one connection that run at once. They start in the order they came in; each ack goes out when its
command is done."""
MAX_INBOX = 256
"""Messages of one connection that wait for the window, above which nothing more is read from it. One read (64 KiB)
may go beyond."""
MAX_OUTBOX = 262_144
"""Bytes that a client has not taken, above which nothing more is read from it or handled."""
UPGRADE_TIMEOUT = 10.0
"""Seconds between a probe and the packet that ends the upgrade."""

Reply = tuple[str, bytes]

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


_DEFAULT_PORT = re.compile(r':(80|443)$')


class Malformed(Exception):
    """A client sent what the protocol does not know; its session ends at once."""


class Session(engineio.socket.Socket):  # type: ignore[misc]
    """One Engine.IO session: its transport, its heartbeat, and the messages that wait to be handled."""

    def __init__(self, server: 'Engine', sid: str) -> None:
        # The base class's own queue and timestamps are what this class does without.
        self.server = server
        self.sid = sid
        self.connected = True
        self.upgrading = self.upgraded = self.closing = self.closed = False
        self.session: dict[str, Any] = {}
        self.transport: WebSocket | Polling = Polling(self)
        self.on_idle: Callable[[], None] | None = None
        """Called when the client has taken all that was written and can take more."""
        self.established = False
        """Whether Socket.IO's CONNECT was answered; until then messages are handled one by one, so that none overtakes
        it, and the session ends if it takes too long."""
        self._inbox: deque[str | None] = deque()
        self._running = 0
        self._paused = False
        self._room = Event()
        """Set while more is read from the client, for POSTs to wait for."""
        self._room.set()
        self.probes: set[Probe] = set()
        """WebSockets that the client tries; a new one ends those before it."""
        self._parting = b'6'
        """What a GET is answered with that got no packet: nothing, or that the server has ended the session."""
        self._pings = self._pongs = 0
        """Pings that were sent, and answered. The next one follows an interval after the pong."""
        self._taken: int | None = None
        """While bytes wait for the client, how many it had taken when that was looked at last."""

    # -- writing ------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether what is written now would go out at once."""
        return not self.closed and not self.upgrading and self.transport.idle

    @property
    def busy(self) -> bool:
        """Whether a command is being handled, or its answer was not taken yet."""
        return self._running > 0 or bool(self._inbox) or self.transport.waiting > 0

    def send(self, pkt: eio_packet.Packet) -> None:
        """Writes a packet, in order with all others. What Socket.IO's server class calls."""
        self.write(pkt.encode().encode())

    def write(self, packet: bytes) -> None:
        """Writes an encoded packet."""
        if not self.closed:
            self.transport.write(packet)
            self._watch()

    def write_chunk(self, chunk: Chunk) -> None:
        """Writes packets that were encoded for many."""
        if not self.closed:
            self.transport.write_chunk(chunk)
            self._watch()

    def drained(self) -> None:
        """The transport's word that it is idle again."""
        self._control_flow()
        if self.on_idle is not None and self.idle:
            self.on_idle()

    def _watch(self) -> None:
        """Sees to it that a client which takes no byte for the ping timeout is noticed before its next ping."""
        if self._taken is None and isinstance(self.transport, WebSocket) and self.transport.waiting:
            self._taken = self.transport.taken()
            self.server.deadlines.after(self.server.ping_timeout, self.server.check_stalled, self.sid)

    def check_stalled(self) -> None:
        """Ends the session if bytes wait and the client has not taken any for the ping timeout."""
        before, self._taken = self._taken, None
        if isinstance(self.transport, WebSocket) and self.transport.waiting and self.transport.taken() == before:
            self._end(self.server.reason.PING_TIMEOUT, POLICY)
        else:
            self._watch()

    # -- heartbeat ----------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Asks for a sign of life."""
        self._pings += 1
        # What lay before the ping has to be read first: as long as some of that is taken, its pong may be late.
        unread = self.transport.taken() if isinstance(self.transport, WebSocket) and self.transport.backlog() else None
        self.write(b'2')
        self._await_pong(unread)

    def _await_pong(self, unread: int | None) -> None:
        self.server.deadlines.after(self.server.ping_timeout, self.server.check_pong, self.sid, self._pings, unread)

    def check_pong(self, ping: int, unread: int | None) -> None:
        """Ends the session if that ping was not answered, unless the pong has a reason to be late.

        `unread` is how many bytes the client had taken when others lay before the ping; None where none did.
        """
        if self._pongs >= ping:
            return
        if isinstance(self.transport, WebSocket) and unread is not None and self.transport.taken() > unread:
            self._await_pong(self.transport.taken() if self.transport.backlog() else None)
        elif len(self._inbox) > MAX_INBOX and not self._full:
            self._await_pong(None)  # it waits behind what the client sent before, and is not handled yet
        else:
            self._end(self.server.reason.PING_TIMEOUT, POLICY)

    # -- reading ------------------------------------------------------------------------------------------------

    def received(self, packet: str) -> None:
        """Takes a packet from the client. Never blocks."""
        try:
            self._receive(packet)
        except Malformed as error:
            self.malformed(error)

    def malformed(self, error: Exception) -> None:
        """Ends the session at once: its client does not speak the protocol."""
        logger.debug('session %s ends: %s', self.sid, error)
        self._end(self.server.reason.TRANSPORT_ERROR, POLICY)

    def lost(self) -> None:
        """The transport's word that the client is gone."""
        self._end(self.server.reason.TRANSPORT_CLOSE)

    def _receive(self, packet: str) -> None:
        kind = packet[:1]
        if kind == '4' or kind == 'b':
            self._inbox.append(packet[1:] if kind == '4' else None)
            self._control_flow()
        elif packet == '3':
            if self._pongs < self._pings:
                self._pongs = self._pings
                self.server.deadlines.after(self.server.ping_interval, self.server.ping, self.sid)
        elif packet == '1':
            self._end(self.server.reason.CLIENT_DISCONNECT)
        elif packet != '6':
            raise Malformed('unknown packet')

    def _work(self) -> None:
        """Handles messages until none waits, or their answers are not taken."""
        try:
            while self._inbox and not self.closed and not self._full:
                message = self._inbox.popleft()
                self._control_flow()
                self.server.handle_message(self, message)
        finally:
            self._running -= 1
            self._control_flow()

    @property
    def _full(self) -> bool:
        """Whether the client has to take answers before it gets more."""
        return self.transport.waiting > MAX_OUTBOX

    def _control_flow(self) -> None:
        """Has one more message handled at the same time, if the window allows and the client takes its answers; stops
        reading from one that does not, or that is ahead of its own commands."""
        full = self._full
        if self._inbox and not full and self._running < (WINDOW if self.established else 1):
            self._running += 1
            gevent.spawn(self._work)
        paused = full or len(self._inbox) > MAX_INBOX
        if paused != self._paused:
            self._paused = paused
            self.transport.pause(paused)
            if paused:
                self._room.clear()
            else:
                self._room.set()

    # -- HTTP ---------------------------------------------------------------------------------------------------

    def get(self) -> Reply:
        """Answers a long-polling GET."""
        transport = self.transport
        if not isinstance(transport, Polling):
            return _error('request')
        if self.upgrading:
            return OK, b'6'  # packets wait for the WebSocket
        if transport.polled:
            self._end(self.server.reason.TRANSPORT_ERROR)
            return _error('request')
        payload = transport.poll(self.server.ping_interval + self.server.ping_timeout)
        self._control_flow()
        return OK, payload or self._parting

    def post(self, body: bytes) -> Reply:
        """Takes a long-polling POST."""
        packets = body.split(b'\x1e', MAX_POST_PACKETS)
        if self.server.stopping:
            # An error would make the client drop the answers that it is about to fetch. So it waits for the end.
            while not self.closed:
                gevent.sleep(0.01)
            return _error('stopping')
        try:
            if len(packets) > MAX_POST_PACKETS or max(map(len, packets)) > MAX_MESSAGE:
                raise Malformed('too many packets, or one too long')
            for packet in packets:
                if self.closed:
                    break
                self._receive(packet.decode())
                self._await_room()
        except (Malformed, UnicodeDecodeError) as error:
            self.malformed(error)
            return _error('request')
        return OK, b'ok'

    def _await_room(self) -> None:
        """Lets a POST wait while nothing more is read from the client."""
        while self._paused and not self.closed:
            self._room.wait()

    # -- WebSocket ----------------------------------------------------------------------------------------------

    def attach(self, sock: Any, buffered: bytes) -> None:
        """Begins on a WebSocket."""
        self.upgraded = True
        self.transport = WebSocket(sock, MAX_MESSAGE, self)
        self.write(self.server.open_packet(self.sid, []))
        self.transport.start(buffered)

    def upgrade(self, transport: WebSocket) -> None:
        """Moves to a WebSocket, with the packets that wait."""
        waiting, self.transport = self.transport, transport
        self.upgraded, self.upgrading = True, False
        transport.owner = self
        assert isinstance(waiting, Polling)
        packets = waiting.take(sys.maxsize)
        waiting.close()
        transport.pause(self._paused)
        if packets:
            self.write_chunk(Encoded(packets))
        self._control_flow()
        if transport.idle:
            self.drained()

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Ends the session; the signature is the base class's. Never waits."""
        self._end(reason or self.server.reason.SERVER_DISCONNECT, GOING_AWAY if self.server.stopping else NORMAL)

    def _end(self, reason: str, code: int = NORMAL) -> None:
        if self.closed:
            return
        self.closing = self.closed = True
        if reason != self.server.reason.CLIENT_DISCONNECT:
            self._parting = b'1'
        self.on_idle = None
        self._inbox.clear()
        self._room.set()
        for probe in list(self.probes):
            probe.end()
        self.transport.close(code)
        self.server.forget(self, reason)


class Probe:
    """A WebSocket that a polling client tries before it moves to it."""

    def __init__(self, session: Session, sock: Any, buffered: bytes) -> None:
        self._session = session
        self._transport = WebSocket(sock, MAX_MESSAGE, self)
        self._answered = False
        for other in list(session.probes):
            other.end()
        session.probes.add(self)
        session.server.deadlines.after(UPGRADE_TIMEOUT, self.end)
        self._transport.start(buffered)

    def received(self, packet: str) -> None:
        """Takes the packets of an upgrade: a ping, then the word to move."""
        session = self._session
        if packet == '2probe' and not (self._answered or session.upgrading or session.upgraded or session.closed):
            self._answered = session.upgrading = True
            self._transport.write(b'3probe')
            # Ends a GET that waits; the client stops polling once it is answered.
            if isinstance(session.transport, Polling) and session.transport.polled:
                session.transport.write(b'6')
        elif packet == '5' and self._answered and not session.closed:
            session.probes.discard(self)
            session.upgrade(self._transport)
        else:
            self.end()

    def drained(self) -> None:
        """Nothing waits for it."""

    def lost(self) -> None:
        """The client gave the WebSocket up, and goes on polling."""
        self.end()

    def end(self) -> None:
        """Closes the WebSocket, unless the session has moved to it."""
        if self._transport.owner is not self:
            return
        self._session.probes.discard(self)
        self._transport.close(POLICY)
        if self._answered:
            self._answered = self._session.upgrading = False
            self._session.drained()


class Engine(engineio.Server):  # type: ignore[misc]
    """The Engine.IO server: handshakes, requests, and the sessions by their ids."""

    def __init__(self, *, max_connections: int, origins: Sequence[str], **options: Any) -> None:
        """`origins`: other origins than the server's own whose pages may connect; '*' among them means any."""
        super().__init__(async_mode='gevent', monitor_clients=False, **options)
        self.sockets: dict[str, Session]
        self.max_connections = max_connections
        self.origins = frozenset(origins)
        self.deadlines = Deadlines()
        self.stopping = False

    # -- requests -----------------------------------------------------------------------------------------------

    def handle_request(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application."""
        if environ['REQUEST_METHOD'] == 'OPTIONS' and self._origin_allowed(environ):
            status, body = NO_CONTENT, b''
        else:
            refusal = self.refusal(environ)
            if refusal is None and 'wsgi.websocket' in environ:
                self.serve_websocket(environ)
                return []
            if refusal is None and _query(environ)['transport'] == 'websocket':
                refusal = _error('handshake')  # `Server` found it wrong, or it would be a WebSocket now
            status, body = refusal or self._serve_polling(environ)
        headers = [('Cache-Control', 'no-store'), *self._cors(environ)]
        if status != NO_CONTENT:
            headers.append(('Content-Type', 'text/plain; charset=UTF-8' if status == OK else 'application/json'))
            headers.append(('Content-Length', str(len(body))))
        start_response(status, headers)
        return [body]

    def refusal(self, environ: dict[str, Any]) -> Reply | None:
        """What is wrong with a request, in the order of the protocol document's checks; None where nothing is."""
        if not self._origin_allowed(environ):
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
            return _error('full') if len(self.sockets) >= self.max_connections or self.stopping else None
        session = self.sockets.get(sid)
        if session is None:
            return _error('session')
        return _error('request') if session.upgraded or (upgrade and session.upgrading) else None

    def serve_websocket(self, environ: dict[str, Any]) -> None:
        """Takes a WebSocket after its handshake, whose request was not refused."""
        sock, buffered = environ['wsgi.websocket']
        sid = _query(environ).get('sid')
        if sid is None:
            self._create(environ).attach(sock, buffered)
        else:
            Probe(self.sockets[sid], sock, buffered)

    def _serve_polling(self, environ: dict[str, Any]) -> Reply:
        sid = _query(environ).get('sid')
        if sid is None:
            return OK, self.open_packet(self._create(environ).sid, ['websocket'])
        session = self.sockets[sid]
        if environ['REQUEST_METHOD'] == 'GET':
            return session.get()
        length = environ.get('CONTENT_LENGTH') or '0'
        if not length.isdecimal():
            return _error('request')
        return session.post(environ['wsgi.input'].read(int(length))) if int(length) <= MAX_POST else _error('size')

    def _create(self, environ: dict[str, Any]) -> Session:
        session = Session(self, self.generate_id())
        self.sockets[session.sid] = session
        # Kept for as long as the connection: only what is asked for later, as a whole environ weighs 10 KiB.
        self.handlers['connect'](session.sid, {'REMOTE_ADDR': environ.get('REMOTE_ADDR', '')})
        self.deadlines.after(self.ping_interval, self.ping, session.sid)
        self.deadlines.after(self.ping_interval + self.ping_timeout, self.check_established, session.sid)
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
        return b'0' + json.dumps(handshake, separators=(',', ':')).encode()

    # -- origins ------------------------------------------------------------------------------------------------

    def _origin_allowed(self, environ: dict[str, Any]) -> bool:
        """Same origin means the same host and port: TLS may end at a proxy, so the scheme says nothing."""
        origin = environ.get('HTTP_ORIGIN')
        if origin is None or '*' in self.origins or origin.lower() in self.origins:
            return True
        host = _host(environ.get('HTTP_HOST', ''))
        return host != '' and _host(origin.partition('://')[2]) == host

    def _cors(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        origin = environ.get('HTTP_ORIGIN')
        if origin is None or not self._origin_allowed(environ):
            return []
        if '*' in self.origins:
            headers = [('Access-Control-Allow-Origin', '*')]
        else:
            headers = [
                ('Access-Control-Allow-Origin', origin),
                ('Access-Control-Allow-Credentials', 'true'),
                ('Vary', 'Origin'),
            ]
        if environ['REQUEST_METHOD'] == 'OPTIONS':
            headers += [
                ('Access-Control-Allow-Methods', 'GET, POST'),
                ('Access-Control-Allow-Headers', environ.get('HTTP_ACCESS_CONTROL_REQUEST_HEADERS', 'content-type')),
                ('Access-Control-Max-Age', '600'),
            ]
        return headers

    # -- sessions -----------------------------------------------------------------------------------------------

    def handle_message(self, session: Session, message: str | None) -> None:
        """Hands a message (None: a binary one) to Socket.IO; one that it does not understand ends the session."""
        try:
            self.handlers['message'](session.sid, message)
        except (ValueError, RecursionError) as error:
            session.malformed(error)
        except Exception:
            logger.exception('session %s ends: a message could not be handled', session.sid)
            session.close(reason=self.reason.TRANSPORT_ERROR)

    def send_packet(self, sid: str, pkt: eio_packet.Packet) -> None:
        """Sends a packet, in order; one to a session that has ended goes nowhere."""
        session = self.sockets.get(sid)
        if session is not None:
            session.send(pkt)

    def forget(self, session: Session, reason: str) -> None:
        """Lets go of a session that has ended."""
        self.sockets.pop(session.sid, None)
        self.handlers['disconnect'](session.sid, reason)

    def drain(self, timeout: float) -> None:
        """Takes no more sessions and packets, and gives those that were received `timeout` seconds to be answered."""
        self.stopping = True
        for session in list(self.sockets.values()):
            session.transport.pause(True)
        end = time.monotonic() + timeout
        while time.monotonic() < end and any(session.busy for session in self.sockets.values()):
            gevent.sleep(0.01)

    def stop(self) -> None:
        """Ends all sessions, in the way that makes clients connect again."""
        for session in list(self.sockets.values()):
            session.close()
        self.deadlines.close()

    # -- deadlines, by id so that an ended session is not kept for them ---------------------------------------------

    def ping(self, sid: str) -> None:
        """A session's ping is due."""
        if sid in self.sockets:
            self.sockets[sid].ping()

    def check_pong(self, sid: str, ping: int, unread: int | None) -> None:
        """The answer to a session's ping is due."""
        if sid in self.sockets:
            self.sockets[sid].check_pong(ping, unread)

    def check_stalled(self, sid: str) -> None:
        """A client that let bytes wait should have taken some."""
        if sid in self.sockets:
            self.sockets[sid].check_stalled()

    def check_established(self, sid: str) -> None:
        """A client that connected should have said CONNECT."""
        if sid in self.sockets and not self.sockets[sid].established:
            self.sockets[sid].close(reason=self.reason.TRANSPORT_ERROR)


def _host(authority: str) -> str:
    """A host and port for comparison: in lower case, without a port that some scheme has by default."""
    return _DEFAULT_PORT.sub('', authority.lower())


def _query(environ: dict[str, Any]) -> dict[str, str]:
    """The first value of each parameter."""
    try:
        fields = parse_qs(environ.get('QUERY_STRING', ''), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}

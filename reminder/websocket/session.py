"""One Engine.IO session: its transport and the move to another, its heartbeat, and the order of its messages.

On python-engineio's socket class, of whose parts none is left: its queue, writer greenlet and ping greenlet cost 30 KiB
a client; packets are dropped silently; a queue that looks empty may still have a write under way. What Socket.IO's
server class needs keeps its form: `sid`, `send`, `close`, `session`, and the flags.
"""

import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import engineio.socket
import gevent
from engineio import packet as eio_packet
from gevent.event import Event

from reminder.logs import connection
from reminder.websocket.counts import STALLED
from reminder.websocket.deadlines import Deadline
from reminder.websocket.encoded import Chunk, Encoded
from reminder.websocket.frames import GOING_AWAY, NORMAL, POLICY, frame
from reminder.websocket.inbox import WINDOW, Inbox, Message
from reminder.websocket.outbox import is_full
from reminder.websocket.payloads import MAX_MESSAGE, Malformed, check_attachment, packets
from reminder.websocket.transport import Polling, WebSocket

if TYPE_CHECKING:
    from reminder.websocket.engine import Engine
    from reminder.websocket.upgrade import Probe

logger = logging.getLogger(__name__)

BEGIN = 10.0
"""Seconds that a client may take to say CONNECT."""
RATE_STEP = 0.05
"""Seconds after which one that is beyond that is looked at again."""


class Refused(Exception):
    """A request that this session does not answer; its text is the kind of the error."""


class Session(engineio.socket.Socket):  # type: ignore[misc]
    """One Engine.IO session: its transport, its heartbeat, and the messages that wait to be handled."""

    def __init__(self, server: 'Engine', sid: str, address: str) -> None:
        # The base class's own queue and timestamps are what this class does without.
        self.server = server
        self.sid = sid
        self.address = address
        self.connected = True
        self.upgrading = self.upgraded = self.closing = self.closed = False
        self.session: dict[str, Any] = {}
        self.transport: WebSocket | Polling = Polling(self)
        self.on_idle: Callable[[], None] | None = None
        """Called when the client has taken all that was written and can take more."""
        self.established = False
        """Whether Socket.IO's CONNECT was answered; until then messages are handled one by one, so that none overtakes
        it, and the session ends if it takes too long."""
        self._inbox = Inbox()
        self._running = 0
        self._queued = False
        """Whether a worker was asked for that has not begun yet."""
        self._paused = False
        self._left = ''
        """Why the client has ended the session, of which what it sent before is still handled."""
        self._slowed = False
        """Whether messages wait because of the rate limit."""
        self._posting = False
        self._room = Event()
        """Set while more is read from the client, for POSTs to wait for."""
        self._room.set()
        self.probes: set[Probe] = set()
        """WebSockets that the client tries; a new one ends those before it."""
        self._parting = b'6'
        """What a GET is answered with that got no packet: nothing, or that the server has ended the session."""
        self._awaiting = False
        """Whether a ping was not answered yet. The next one follows an interval after the pong."""
        self._taken: int | None = None
        """While bytes wait for the client, how many it had taken when that was looked at last."""
        self._patience = self._allow_begin()
        """The end of the time for its client to connect."""
        self._beat = server.deadlines.after(server.ping_interval, self.ping)
        """The next ping, or the end of the time for its answer."""
        self._look: Deadline | None = None
        """The next look at whether bytes are taken."""

    # -- writing ------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether what is written now would go out at once."""
        return not self.closed and not self.upgrading and self.transport.idle

    @property
    def busy(self) -> bool:
        """Whether a command is being handled, or its answer was not taken yet."""
        return self._running > 0 or self._queued or bool(self._inbox) or self.transport.waiting > 0

    def send(self, pkt: eio_packet.Packet) -> None:
        """Writes a packet, in order with all others. What Socket.IO's server class calls."""
        self.write(pkt.encode().encode())

    def write(self, packet: bytes) -> None:
        """Writes an encoded packet."""
        if not self.closed:
            self.transport.write(packet)

    def write_chunk(self, chunk: Chunk) -> None:
        """Writes packets that were encoded for many."""
        if not self.closed:
            self.transport.write_chunk(chunk)

    def drained(self) -> None:
        """The transport's word that it is idle again."""
        self._control_flow()
        if self.on_idle is not None and self.idle:
            self.on_idle()

    def stuck(self) -> None:
        """The transport's word that its socket takes no more for now."""
        self._watch()

    def _watch(self) -> None:
        """Sees to it that a client which takes no byte for the ping timeout is noticed before its next ping."""
        if self._taken is None and isinstance(self.transport, WebSocket) and self.transport.waiting and not self.closed:
            self._taken = self.transport.taken()
            self._look = self.server.deadlines.after(self.server.ping_timeout, self._check_stalled)

    def _check_stalled(self) -> None:
        """Ends the session if bytes wait and the client has not taken any for the ping timeout."""
        before, self._taken = self._taken, None
        if isinstance(self.transport, WebSocket) and self.transport.waiting and self.transport.taken() == before:
            self._end(STALLED, POLICY)
        else:
            self._watch()

    # -- heartbeat ----------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Asks for a sign of life."""
        self._awaiting = True
        # What lay before the ping has to be read first: as long as some of that is taken, its pong may be late.
        unread = self.transport.taken() if isinstance(self.transport, WebSocket) and self.transport.backlog() else None
        self.write(b'2')
        self._await_pong(unread)

    def _await_pong(self, unread: int | None) -> None:
        if not self.closed:  # as it may be by the ping itself
            self._beat = self.server.deadlines.after(self.server.ping_timeout, self._check_pong, unread)

    def _check_pong(self, unread: int | None) -> None:
        """Ends the session, unless the pong has a reason to be late.

        `unread` is how many bytes the client had taken when others lay before the ping; None where none did.
        """
        if isinstance(self.transport, WebSocket) and unread is not None and self.transport.taken() > unread:
            self._await_pong(self.transport.taken() if self.transport.backlog() else None)
        elif self._inbox.is_full and not self._full:
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
        logger.debug(
            'a connection ends: %(error)s',
            {'event': 'malformed', 'connection': connection(self.sid), 'error': str(error)},
        )
        self._end(self.server.reason.TRANSPORT_ERROR, POLICY)

    def lost(self) -> None:
        """The transport's word that the client is gone."""
        self._leave(self.server.reason.TRANSPORT_CLOSE)

    def _leave(self, reason: str) -> None:
        """The client has ended the session: what it sent before is still handled, as it may not care for answers, but
        not where it is ahead of the rate limit."""
        self._left = self._left or reason
        self._control_flow()  # it may have waited for answers to be taken
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._left and (self._slowed or self._full or not (self._inbox or self._running)):
            self._end(self._left)

    def _receive(self, packet: str) -> None:
        kind = packet[:1]
        if self._left:
            return
        if kind == '4':
            self._queue(packet[1:])
        elif kind == 'b':
            check_attachment(packet[1:])
            self._queue(None)
        elif packet == '3':
            if self._awaiting:
                self._awaiting = False
                self._beat.cancel()
                self._beat = self.server.deadlines.after(self.server.ping_interval, self.ping)
        elif packet == '1':
            self._leave(self.server.reason.CLIENT_DISCONNECT)
        elif packet != '6':
            raise Malformed('unknown packet')

    def _queue(self, message: Message) -> None:
        self._inbox.put(message)
        self._control_flow()

    def _work(self) -> None:
        """Handles a message, unless none waits or answers are not taken; others get their turn then."""
        self._queued = False
        self._running += 1
        try:
            if self._inbox and not self.closed and not self._full and self._within_rate():
                message = self._inbox.take()
                self._control_flow()
                self.server.handle_message(self, message)
        finally:
            self._running -= 1
            self._control_flow()
            self._end_if_done()

    def _within_rate(self) -> bool:
        """Counts one more message, unless the client is too far ahead of the rate limit; it goes on later then."""
        if self._inbox.allow(self.server.rate_limit, time.monotonic()):
            return True
        if not self._slowed:
            self._slowed = True
            self.server.counts.limits['rate'] += 1
            self.server.deadlines.after(RATE_STEP, self._go_on)
        return False

    def _go_on(self) -> None:
        """Has messages handled again that were over the rate limit."""
        self._slowed = False
        self._control_flow()

    @property
    def _full(self) -> bool:
        """Whether the client has to take answers before it gets more."""
        return is_full(self.transport.waiting)

    def _control_flow(self) -> None:
        """Has one more message handled at the same time, if the window allows and the client takes its answers; stops
        reading from one that does not, or that is ahead of its own commands."""
        full = self._full
        window = WINDOW if self.established else 1
        if self._inbox and not (full or self._slowed or self._queued) and self._running < window:
            self._queued = True
            self.server.workers.run(self._work, self._inbox.order(time.monotonic()))
        paused = full or self._inbox.is_full
        if paused != self._paused:
            self._paused = paused
            self.transport.pause(paused)
            if paused:
                self._room.clear()
                self.server.counts.limits['outbox' if full else 'window'] += 1
            else:
                self._room.set()

    # -- HTTP ---------------------------------------------------------------------------------------------------

    def get(self) -> bytes:
        """What a long-polling GET is answered with. Raises Refused."""
        transport = self.transport
        if not isinstance(transport, Polling):
            raise Refused('request')
        if self.upgrading:
            return b'6'  # packets wait for the WebSocket
        if transport.polled:
            self._end(self.server.reason.TRANSPORT_ERROR)
            raise Refused('request')
        payload = transport.poll(self._lifetime)
        self._control_flow()
        if not payload and self.closed and self.server.stopping:
            # python-socketio's client does not come back if a CLOSE packet ends its polling.
            raise Refused('stopping')
        return payload or self._parting

    def post(self, body: Any, length: int) -> bytes:
        """Takes a long-polling POST with a body of that length, and returns its answer. Raises Refused."""
        if self._posting:
            self._end(self.server.reason.TRANSPORT_ERROR)  # in which order would they have to be taken?
            raise Refused('request')
        self._posting = True
        try:
            return self._post(partial(self._read, body), length)
        finally:
            self._posting = False

    def _read(self, body: Any, size: int) -> bytes:
        """A piece of a POST's body. Raises Refused where that breaks off, or the server stops."""
        piece: bytes = body.read(size)
        if self.server.stopping:
            # An error would make the client drop the answers that it is about to fetch. So it waits for the end.
            while not self.closed:
                gevent.sleep(0.01)
            raise Refused('stopping')
        if len(piece) < size:
            raise Refused('request')
        return piece

    def _post(self, read: Callable[[int], bytes], length: int) -> bytes:
        try:
            for packet in packets(read, length):
                if self.closed:
                    break
                self._receive(packet)
                self._await_room()
        except Malformed as error:
            self.malformed(error)
            raise Refused('request') from error
        return b'ok'

    def _await_room(self) -> None:
        """Lets a POST wait while nothing more is read from the client."""
        while self._paused and not self.closed:
            self._room.wait()

    # -- WebSocket ----------------------------------------------------------------------------------------------

    def attach(self, sock: Any, buffered: bytes, answer: bytes) -> None:
        """Begins on a WebSocket, with what is still to be written of the answer to its handshake."""
        self.upgraded = True
        self.transport = WebSocket(sock, MAX_MESSAGE, self)
        self.transport.start(buffered, answer + frame(self.server.open_packet(self.sid, [])))

    def upgrade(self, transport: WebSocket) -> None:
        """Moves to a WebSocket, with the packets that wait."""
        waiting, self.transport = self.transport, transport
        self.upgraded, self.upgrading = True, False
        transport.owner = self
        assert isinstance(waiting, Polling)
        packets = waiting.take(sys.maxsize)
        waiting.close()
        transport.pause(self._paused or self.server.stopping)
        if packets:
            self.write_chunk(Encoded(packets))
        self._watch()
        self._control_flow()
        if transport.idle:
            self.drained()

    # -- the beginning ------------------------------------------------------------------------------------------

    @property
    def _lifetime(self) -> float:
        """Seconds for which a client may give no sign of life."""
        seconds: float = self.server.ping_interval + self.server.ping_timeout
        return seconds

    def await_connect(self) -> None:
        """Gives a client that is in no namespace any more as much time as one that has yet to connect."""
        self.established = False
        self._patience.cancel()
        self._patience = self._allow_begin()

    def _allow_begin(self) -> Deadline:
        return self.server.deadlines.after(min(BEGIN, self._lifetime), self._check_established, False)

    def _check_established(self, last: bool) -> None:
        """Ends the session if its client has not connected; what it has said in time may be answered later."""
        if self.established:
            return
        if last or not (self._inbox or self._running):
            self._end(self.server.reason.TRANSPORT_ERROR)
        else:
            self._patience = self.server.deadlines.after(self._lifetime, self._check_established, True)

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Ends the session; the signature is the base class's. Never waits."""
        for probe in list(self.probes):
            probe.await_move()
        self._end(reason or self.server.reason.SERVER_DISCONNECT, GOING_AWAY if self.server.stopping else NORMAL)

    def _end(self, reason: str, code: int = NORMAL) -> None:
        if self.closed:
            return
        self.closing = self.closed = True
        if reason != self.server.reason.CLIENT_DISCONNECT:
            self._parting = b'1'
        self.on_idle = None
        for deadline in (self._patience, self._beat, self._look):
            if deadline is not None:
                deadline.cancel()
        self._inbox.clear()
        self._room.set()
        for probe in list(self.probes):
            probe.end()
        self.transport.close(code)
        self.server.forget(self, reason)

"""Transports: how packets get to a client and back, over a WebSocket or over long-polling.

A WebSocket's socket leaves pywsgi and gevent-websocket after the handshake: two watchers of the hub's loop serve it, so
that an idle client costs neither a greenlet nor a buffer, and one outbox, which alone knows whether the socket is idle,
keeps all that is written in order.
"""

import errno
import fcntl
import socket
import sys
import termios
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import gevent
from gevent.event import Event

from reminder.websocket import frames
from reminder.websocket.frames import FrameError, FrameParser, close_frame, frame

RECEIVE = 16_384
FRAMES_A_TURN = 8
"""Frames of one client that are handled before others get a turn: a piece may hold thousands, a millisecond's worth
each few hundred, and as many clients may send such pieces at once."""
MAX_PAYLOAD_PACKETS = 16
"""Packets that a GET is answered with: clients built on python-engineio take no more in one payload."""
LINGER = 2.0
"""Seconds that a closed WebSocket waits for the client's end, so that the close frame is read before a reset."""


class Chunk:
    """Packets that are ready to be written: as they are for long-polling, and as WebSocket frames."""

    __slots__ = ('frames', 'packets')

    def __init__(self, packets: Sequence[bytes], frames: bytes) -> None:
        self.packets = packets
        self.frames = frames


class Encoded(Chunk):
    """Packets that were encoded once, and can be written, whole or in part, to any number of clients."""

    __slots__ = ('_ends', 'size')

    def __init__(self, packets: Sequence[bytes], framed: Sequence[bytes | memoryview] | None = None) -> None:
        """`framed` are the same packets in frames, where those are there already."""
        framed = framed or [frame(packet) for packet in packets]
        super().__init__(packets, b''.join(framed))
        self._ends = list(accumulate(map(len, framed), initial=0))
        self.size = 2 * len(self.frames)

    def cut(self, first: int, last: int, tail: Sequence[bytes]) -> Chunk:
        """The packets from number `first` to before `last`, with `tail` behind them. Only `tail` is encoded."""
        part = memoryview(self.frames)[self._ends[first] : self._ends[last]]
        return Chunk([*self.packets[first:last], *tail], b''.join((part, *map(frame, tail))))

    def select(self, numbers: Sequence[int]) -> 'Encoded':
        """The packets of these numbers. Nothing is encoded."""
        whole, ends = memoryview(self.frames), self._ends
        return Encoded(
            [self.packets[number] for number in numbers],
            [whole[ends[number] : ends[number + 1]] for number in numbers],
        )


class Owner(Protocol):
    """Who is told what happens on a transport. Called in the hub: must not block."""

    def received(self, packet: str) -> None:
        """A packet came; 'b' for a binary one, whose content nobody asks for."""

    def drained(self) -> None:
        """All that was written has been taken; only after something had to wait."""

    def lost(self) -> None:
        """The transport has ended, by the client or by an error."""


class WebSocket:
    """A client's socket, speaking WebSocket."""

    __slots__ = (
        '_closing',
        '_outbox',
        '_parser',
        '_paused',
        '_pong',
        '_reading',
        '_sock',
        '_writing',
        '_written',
        'owner',
        'waiting',
    )

    def __init__(self, sock: Any, max_message: int, owner: Owner) -> None:
        self._sock = sock
        self._parser = FrameParser(max_message)
        self._outbox: deque[bytes | memoryview] = deque()
        self._reading = gevent.get_hub().loop.io(sock.fileno(), 1)
        self._writing: Any = None
        self._closing = self._paused = False
        self._pong: bytes | None = None
        self.owner = owner
        self.waiting = 0
        """Bytes that the socket has not taken yet."""
        self._written = 0

    def start(self, buffered: bytes, opening: bytes) -> None:
        """Writes the bytes `opening`, and begins to read, with what the HTTP layer had read already."""
        self._send(opening)
        if self._closing:
            return  # lost by that
        self._reading.start(self._readable)
        if buffered:
            self._take(buffered)

    @property
    def idle(self) -> bool:
        return not self._outbox and not self._closing

    def taken(self) -> int:
        """How many bytes the client's system has taken in all. That a socket takes more is no measure: the kernel says
        so only when a third of a buffer of megabytes is free, which a slow client takes a minute for."""
        return self._written - self._in_kernel()

    def backlog(self) -> int:
        """How many bytes the client's system has yet to take."""
        return self.waiting + self._in_kernel()

    def _in_kernel(self) -> int:
        if self._sock is None:
            return 0
        return int.from_bytes(fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def write(self, packet: bytes) -> None:
        self._send(frame(packet))

    def write_chunk(self, chunk: Chunk) -> None:
        self._send(chunk.frames)

    def pause(self, paused: bool) -> None:
        """Stops or goes on reading; what is not read makes the client wait, by TCP."""
        self._paused = paused
        self._read_on()

    def close(self, code: int = frames.NORMAL) -> None:
        """Sends a close frame behind what waits, then ends. The owner is not told."""
        if self._closing:
            return
        self._closing = True
        self._push(close_frame(code))
        if self._sock is None:
            return
        self._parser = None  # type: ignore[assignment]  # what comes now is read and thrown away
        if not self._reading.active:
            self._reading.start(self._readable)
        if not self._outbox:
            self._shutdown()
        gevent.spawn_later(LINGER, self.abort)

    def abort(self) -> None:
        """Ends at once. The owner is not told."""
        self._closing = True
        self._outbox.clear()
        self.waiting = 0
        if self._sock is None:
            return
        # The watchers go first: libev ends the process over a watcher whose descriptor is closed.
        for watcher in (self._reading, self._writing):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._sock.close()
        self._sock = None

    def _send(self, data: bytes) -> None:
        if not self._closing:
            self._push(data)

    def _push(self, data: bytes) -> None:
        if self._outbox:
            self._outbox.append(data)
            self.waiting += len(data)
            return
        sent = self._try_send(data)
        if sent < 0 or sent == len(data):
            return
        self._outbox.append(memoryview(data)[sent:])
        self.waiting = len(data) - sent
        if self._writing is None:
            self._writing = gevent.get_hub().loop.io(self._sock.fileno(), 2)
        self._writing.start(self._writable)

    def _try_send(self, data: bytes | memoryview) -> int:
        """How many bytes the socket took; -1 when it is lost."""
        try:
            sent: int = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._lost()
            return -1
        self._written += sent
        return sent

    def _writable(self) -> None:
        while self._outbox:
            sent = self._try_send(self._outbox[0])
            if sent < 0:
                return
            if sent:
                self.waiting -= sent
            if sent < len(self._outbox[0]):
                self._outbox[0] = memoryview(self._outbox[0])[sent:]
                return
            self._outbox.popleft()
        self._writing.stop()
        if self._closing:
            self._shutdown()
            return
        self._answer_ping()
        self.owner.drained()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''
        if not data:
            self._lost()
        elif not self._closing:
            self._take(data)

    def _read_on(self) -> None:
        """Reads if that is wanted, what was read and not handled yet first."""
        if self._closing:
            return
        if self._paused or self._parser.more:
            self._reading.stop()
            if not self._paused:
                gevent.get_hub().loop.run_callback(self._go_on)
        elif not self._reading.active:
            self._reading.start(self._readable)

    def _go_on(self) -> None:
        if not (self._paused or self._closing):
            self._take(b'')

    def _take(self, data: bytes) -> None:
        try:
            for opcode, payload in self._parser.feed(data, FRAMES_A_TURN):
                if opcode == frames.TEXT:
                    self.owner.received(payload)  # type: ignore[arg-type]
                elif opcode == frames.BINARY:
                    self.owner.received('b')
                elif opcode == frames.PING:
                    self._pong = payload  # type: ignore[assignment]
                elif opcode == frames.CLOSE:
                    self.close(frames.NORMAL)
                    self.owner.lost()
                if self._closing:
                    return
            self._answer_ping()
            self._read_on()
        except FrameError as error:
            self.close(error.code)
            self.owner.lost()

    def _answer_ping(self) -> None:
        """Sends a pong, or leaves it until nothing waits: the latest is enough (RFC 6455 section 5.5.3)."""
        if self._pong is not None and not self._outbox:
            pong, self._pong = self._pong, None
            self._send(frame(pong, frames.PONG))

    def _lost(self) -> None:
        closing = self._closing
        self.abort()
        if not closing:
            self.owner.lost()

    def _shutdown(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise


class Polling:
    """Long-polling: packets wait until a GET fetches them."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.waiting = 0
        self._outbox: deque[bytes] = deque()
        self._poll: Event | None = None

    @property
    def idle(self) -> bool:
        return self._poll is not None and not self._outbox

    @property
    def polled(self) -> bool:
        """Whether a GET waits."""
        return self._poll is not None

    def write(self, packet: bytes) -> None:
        self._outbox.append(packet)
        self.waiting += len(packet)
        if self._poll is not None:
            self._poll.set()

    def write_chunk(self, chunk: Chunk) -> None:
        self._outbox.extend(chunk.packets)
        self.waiting += sum(map(len, chunk.packets))
        if self._poll is not None:
            self._poll.set()

    def poll(self, timeout: float) -> bytes:
        """What a GET is answered with: waits up to `timeout` seconds for packets; empty when none came."""
        if not self._outbox:
            self._poll = poll = Event()
            try:
                self.owner.drained()
                poll.wait(timeout)
            finally:
                self._poll = None
        return b'\x1e'.join(self.take(MAX_PAYLOAD_PACKETS))

    def take(self, count: int) -> list[bytes]:
        """Up to `count` of the packets that wait."""
        packets = [self._outbox.popleft() for _ in range(min(count, len(self._outbox)))]
        self.waiting -= sum(map(len, packets))
        return packets

    def close(self, code: int = frames.NORMAL) -> None:
        """Ends a GET that waits, with what there is."""
        if self._poll is not None:
            self._poll.set()

    abort = close

    def pause(self, paused: bool) -> None:
        """A POST waits by itself, see the session's."""

"""Transports: how packets get to a client and back, over a WebSocket or over long-polling."""

from typing import Any, Protocol

import gevent
from gevent.event import Event

from reminder.websocket import frames, outbox
from reminder.websocket.encoded import Chunk
from reminder.websocket.frames import FrameError, FrameParser, close_frame, frame
from reminder.websocket.outbox import Outbox

FRAMES_A_TURN = 8
"""Frames of one client that are handled before others get a turn: a piece may hold thousands, a millisecond's worth
each few hundred, and as many clients may send such pieces at once."""
MAX_PAYLOAD_PACKETS = 16
"""Packets that a GET is answered with: clients built on python-engineio take no more in one payload."""


class Owner(outbox.Owner, Protocol):
    """Who is told what happens on a transport. Called in the hub: must not block."""

    def received(self, packet: str) -> None:
        """A packet came; 'b' for a binary one, whose content nobody asks for."""


class WebSocket(Outbox):
    """A client's socket, speaking WebSocket."""

    __slots__ = ('_parser', '_paused', '_pong')

    owner: Owner

    def __init__(self, sock: Any, max_message: int, owner: Owner) -> None:
        super().__init__(sock, owner)
        self._parser = FrameParser(max_message)
        self._paused = False
        self._pong: bytes | None = None

    def write(self, packet: bytes) -> None:
        self.post(frame(packet))

    def write_chunk(self, chunk: Chunk) -> None:
        self.send(chunk.frames)

    def pause(self, paused: bool) -> None:
        """Stops or goes on reading; what is not read makes the client wait, by TCP."""
        self._paused = paused
        self._read_on()

    def close(self, code: int = frames.NORMAL) -> None:
        """Sends a close frame behind what waits, then ends. The owner is not told."""
        self.end(close_frame(code))
        self._parser = None  # type: ignore[assignment]  # what comes now is read and thrown away

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
                    owner = self.owner
                    self.close(frames.NORMAL)
                    owner.lost()
                if self._closing:
                    return
            self._answer_ping()
            self._read_on()
        except FrameError as error:
            owner = self.owner
            self.close(error.code)
            owner.lost()

    def _emptied(self) -> None:
        self._answer_ping()
        super()._emptied()

    def _answer_ping(self) -> None:
        """Sends a pong, or leaves it until nothing waits: the latest is enough (RFC 6455 section 5.5.3)."""
        if self._pong is not None and not self._outbox:
            pong, self._pong = self._pong, None
            self.send(frame(pong, frames.PONG))


class Polling:
    """Long-polling: packets wait until a GET fetches them."""

    def __init__(self, owner: Owner) -> None:
        self.owner: Owner = owner
        self.waiting = 0
        self._outbox: list[bytes] = []  # MAX_OUTBOX, one chunk, and the answers of commands that run
        self._closed = False
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
        self._count(len(packet))
        if self._poll is not None:
            self._poll.set()

    def write_chunk(self, chunk: Chunk) -> None:
        self._outbox.extend(chunk.packets)
        self._count(sum(map(len, chunk.packets)))
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
        payload = b'\x1e'.join(self.take(MAX_PAYLOAD_PACKETS))
        if self._closed:
            self._drop()
        return payload

    def take(self, count: int) -> list[bytes]:
        """Up to `count` of the packets that wait."""
        packets = self._outbox[:count]
        del self._outbox[:count]
        self._count(-sum(map(len, packets)))
        return packets

    def _count(self, waiting: int) -> None:
        self.waiting += waiting
        Outbox.unread += waiting

    def _drop(self) -> None:
        """Lets go of what nobody will fetch any more."""
        self._outbox.clear()
        self._count(-self.waiting)

    def close(self, code: int = frames.NORMAL) -> None:
        """Ends a GET that waits, with what there is."""
        self._closed = True
        self.owner = outbox.NOBODY
        if self._poll is not None:
            self._poll.set()
        else:
            self._drop()

    abort = close

    def pause(self, paused: bool) -> None:
        """A POST waits by itself, see the session's."""

"""Event streams: connections that read the log on and have nothing to say.

A stream begins as a request that pywsgi serves; as soon as the head of its answer is written its socket goes on without
pywsgi, as a WebSocket's does. Its place in the log is the delivery's business; here is how it begins, lives and ends.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from reminder.services.delivery import Delivery, Reader
from reminder.services.log import Start
from reminder.websocket.counts import EXPIRED, STALLED
from reminder.websocket.deadlines import Deadline
from reminder.websocket.encoded import Chunk
from reminder.websocket.engine import Engine
from reminder.websocket.events import HEARTBEAT
from reminder.websocket.expiry import Expiry
from reminder.websocket.handler import GOES_ON
from reminder.websocket.outbox import Outbox


class Stream(Reader):
    """The reader behind an event stream."""

    __slots__ = ('_streams', 'address', 'beat', 'id', 'look', 'outbox', 'taken')

    def __init__(self, streams: 'Streams', id: str, address: str, sock: Any, channels: frozenset[str]) -> None:
        super().__init__(channels)
        self._streams = streams
        self.id = id
        self.address = address
        self.outbox = Outbox(sock, self)
        self.taken: int | None = None
        """While bytes are on their way, how many the client had taken when that was looked at last."""
        self.beat: Deadline | None = None
        """The next sign of life."""
        self.look: Deadline | None = None
        """The next look at whether bytes are taken."""

    @property
    def idle(self) -> bool:
        return self.outbox.idle

    def write(self, chunk: Chunk) -> None:
        self.send(chunk.events())

    def send(self, data: bytes) -> None:
        """Writes bytes, which the client has to take."""
        self.outbox.send(data)
        self._streams.watch(self)

    def stuck(self) -> None:
        """Whether what was written is taken is looked at anyway: a stream has no pings."""

    def drained(self) -> None:
        """The outbox's word that all was taken."""
        self._streams.ready(self)

    def lost(self) -> None:
        """The outbox's word that the client is gone."""
        self._streams.lost(self)


class Streams:
    """The event streams of one server, which are its clients like the sessions of its Engine.IO server."""

    def __init__(self, engine: Engine, delivery: Delivery, now: Callable[[], int]) -> None:
        self._engine = engine
        self._deadlines = engine.deadlines
        self._expiry = Expiry(engine.deadlines, now, partial(self._end, EXPIRED))
        self._streams: dict[str, Stream] = {}  # as many as the engine's shares have room for
        self._join = delivery.join
        self._leave = delivery.leave
        self.ready = delivery.ready

    def has_room(self, environ: dict[str, Any]) -> bool:
        """Whether the client of that request may have a stream now."""
        address = self._engine.address(environ)
        has_room = self._engine.shares.has_room(address)
        if not has_room:
            self._engine.count_full()
        return has_room and not self._engine.stopping

    def open(self, environ: dict[str, Any], start: Start, channels: frozenset[str], expires: int | None) -> None:
        """Has the connection of that request go on as a stream behind its answer, which tells no length.

        It ends by itself at the instant `expires` (ms, UTC).
        """
        address = self._engine.address(environ)
        environ[GOES_ON] = partial(self._begin, address, start, channels, expires)

    @property
    def outboxes(self) -> Iterable[Outbox]:
        """What the streams are written to, each to its own."""
        return (stream.outbox for stream in self._streams.values())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._streams)

    def stop(self) -> None:
        """Ends all streams. To be called when no new ones can come: their clients try it at once."""
        for id in list(self._streams):
            self._end(self._engine.reason.SERVER_DISCONNECT, id)

    def watch(self, stream: Stream) -> None:
        """Looks whether a client that has bytes to take takes some, within the ping timeout."""
        if stream.taken is None and stream.outbox.backlog():
            stream.taken = stream.outbox.taken()
            stream.look = self._deadlines.after(self._engine.ping_timeout, self._check, stream)

    def lost(self, stream: Stream) -> None:
        """Its client is gone."""
        self._forget(stream, self._engine.reason.TRANSPORT_CLOSE)

    def _begin(self, address: str, start: Start, channels: frozenset[str], expires: int | None, sock: Any) -> None:
        stream = Stream(self, self._engine.generate_id(), address, sock, channels)
        self._streams[stream.id] = stream
        self._engine.shares.take(address)
        if expires is not None:
            self._expiry.add(stream.id, expires)
        stream.beat = self._deadlines.after(self._engine.ping_interval, self._beat, stream)
        stream.outbox.start()
        self._join(stream, start)

    def _end(self, reason: str, id: str) -> None:
        stream = self._streams[id]
        stream.outbox.end()
        self._forget(stream, reason)

    def _forget(self, stream: Stream, reason: str) -> None:
        self._engine.counts.ended[reason] += 1
        del self._streams[stream.id]
        self._engine.shares.give_back(stream.address)
        self._expiry.discard(stream.id)
        for deadline in (stream.beat, stream.look):
            if deadline is not None:
                deadline.cancel()
        self._leave(stream)

    def _beat(self, stream: Stream) -> None:
        """Sends a sign of life, unless there is one on its way."""
        stream.beat = self._deadlines.after(self._engine.ping_interval, self._beat, stream)
        if stream.idle:
            stream.send(HEARTBEAT)

    def _check(self, stream: Stream) -> None:
        """Ends a stream whose client has taken nothing since it was looked at last, and should have."""
        before, stream.taken = stream.taken, None
        if stream.outbox.backlog() and stream.outbox.taken() == before:
            self._end(STALLED, stream.id)
        else:
            self.watch(stream)

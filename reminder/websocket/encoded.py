"""Packets that are encoded once for all who get them: for long-polling, for WebSockets, and for event streams."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate

from reminder.websocket.events import event
from reminder.websocket.frames import frame

STREAMED = 8
"""Pages whose Server-Sent Events are kept for the streams that come next: as many as are made ready for a minute."""

Offset = Callable[[int], str]
"""The offset of who has got the packets up to that number, and that one."""


class Chunk(ABC):
    """Packets that are ready to be written: as they are for long-polling, and as WebSocket frames."""

    __slots__ = ('frames', 'packets')

    def __init__(self, packets: Sequence[bytes], frames: bytes) -> None:
        self.packets = packets
        self.frames = frames

    @abstractmethod
    def events(self) -> bytes:
        """The same as Server-Sent Events. Made when a stream asks for them: without streams they cost nothing."""


class Encoded(Chunk):
    """Packets that were encoded once, and can be written, whole or in part, to any number of clients."""

    __slots__ = ('_ends', 'offset', 'size')

    def __init__(
        self,
        packets: Sequence[bytes],
        offset: Offset | None = None,
        framed: Sequence[bytes | memoryview] | None = None,
    ) -> None:
        """`offset` is wanted where there are reminders among them. `framed` are the same packets in frames, where those
        are there already."""
        framed = framed or [frame(packet) for packet in packets]
        super().__init__(packets, b''.join(framed))
        self._ends = _ends(framed)
        self.offset = offset
        self.size = 2 * len(self.frames)

    def cut(self, first: int, last: int, tail: Sequence[bytes]) -> Chunk:
        """The packets from number `first` to before `last`, with `tail` behind them. Only `tail` is encoded."""
        return Cut(self, first, last, tail, memoryview(self.frames)[self._ends[first] : self._ends[last]])

    def select(self, numbers: Sequence[int]) -> 'Encoded':
        """The packets of these numbers. Nothing is encoded."""
        whole, ends, offset = memoryview(self.frames), self._ends, self.offset
        return Encoded(
            [self.packets[number] for number in numbers],
            offset and (lambda number: offset(numbers[number])),
            [whole[ends[number] : ends[number + 1]] for number in numbers],
        )

    def events(self) -> bytes:
        if self.offset is None:  # a few words to one client
            return b''.join(map(event, self.packets))
        return _streamed(self)[0]

    def events_of(self, first: int, last: int) -> memoryview:
        """The packets from number `first` to before `last` as Server-Sent Events."""
        events, ends = _streamed(self)
        return memoryview(events)[ends[first] : ends[last]]


class Cut(Chunk):
    """A part of what was encoded, with packets behind it that only some get."""

    __slots__ = ('_events', '_first', '_last', '_tail', '_whole')

    def __init__(self, whole: Encoded, first: int, last: int, tail: Sequence[bytes], frames: memoryview) -> None:
        super().__init__([*whole.packets[first:last], *tail], b''.join((frames, *map(frame, tail))))
        self._whole, self._first, self._last, self._tail = whole, first, last, tail
        self._events: bytes | None = None

    def events(self) -> bytes:
        if self._events is None:
            part = self._whole.events_of(self._first, self._last)
            self._events = b''.join((part, *map(event, self._tail)))
        return self._events


@lru_cache(STREAMED)
def _streamed(encoded: Encoded) -> tuple[bytes, list[int]]:
    """Its Server-Sent Events, and where each of them begins. Not kept with it: pages are weighed when they are made."""
    assert encoded.offset is not None
    events = [event(packet, encoded.offset(number)) for number, packet in enumerate(encoded.packets)]
    return b''.join(events), _ends(events)


def _ends(pieces: Sequence[bytes | memoryview]) -> list[int]:
    return list(accumulate(map(len, pieces), initial=0))

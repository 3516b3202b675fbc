"""Pages of the log that are kept in memory, encoded, so that many readers cost one query and one encoding."""

from bisect import bisect_right, insort
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol, Self

from reminder.models.event import Place

MAX_BYTES = 64 * 1024 * 1024
"""Memory for pages; what was not read for the longest time goes first."""
PACKET_BYTES = 400
"""What a packet costs in a page beside its own bytes: objects for it and for its place."""
PART_BYTES = 1_200
"""What a part of a page costs beside its packets."""
ROOM, LEAST_ROOM = 4, 64 * 1024
"""Memory for the parts of a page: so many times what the page takes itself, and so many bytes at least."""
CURSOR = ''
"""Stands for the channel of a cursor, which is for everybody."""


class Encoded(Protocol):
    """Encoded packets, ready to be written to any number of connections."""

    size: int
    """Bytes of memory that they take."""

    def cut(self, first: int, last: int, tail: Sequence[bytes]) -> Any:
        """The packets from number `first` to before `last`, with the packets `tail` behind them, ready as well."""

    def select(self, numbers: Sequence[int]) -> Self:
        """The packets of these numbers, which are not encoded again."""


class Page:
    """What lies in `(start, end]` of the log: encoded packets, and for each the place that a reader has after it.

    What a reader of some channels gets of it is a part: a page like it, with fewer packets. A page keeps its parts, as
    all readers who get the same share one, as long as there is room for them.
    """

    def __init__(
        self, start: Place, end: Place, places: Sequence[Place], channels: Sequence[str | None], encoded: Encoded
    ) -> None:
        """`places` are those after each packet of `encoded`; `channels` say whom each is for."""
        self.start = start
        self.end = end
        self.channels = frozenset(channel for channel in channels if channel)
        """The channels of its reminders; empty where all are for everybody."""
        self._own = encoded.size + PACKET_BYTES * len(places)
        self._room = max(ROOM * self._own, LEAST_ROOM) if self.channels else 0
        self.size = self._own + self._room
        """Bytes of memory that it takes at most, with its parts."""
        self.is_full = False
        """Whether there was no room for a part."""
        self._places = places
        self._channels = channels
        self._reminders = [place for place, channel in zip(places, channels, strict=True) if channel != CURSOR]
        self._encoded = encoded
        self._numbers: defaultdict[str | None, list[int]] = defaultdict(list)
        self._parts: dict[frozenset[str], Page] = {}

    def part(self, channels: frozenset[str]) -> 'Page':
        """What readers of these channels get of it: what is for everybody, and what is for them."""
        seen = self.channels & channels
        if len(seen) == len(self.channels):
            return self
        part = self._parts.get(seen)
        if part is None:
            part = self._select(seen)
            cost = part._own + PART_BYTES
            if cost <= self._room:
                self._room -= cost
                self._parts[seen] = part
            else:
                self.is_full = True
        return part

    def _select(self, seen: frozenset[str]) -> 'Page':
        if not self._numbers:
            for number, channel in enumerate(self._channels):
                self._numbers[channel].append(number)
        numbers = sorted(chain.from_iterable(self._numbers[channel] for channel in (None, CURSOR, *seen)))
        return Page(
            self.start,
            self.end,
            [self._places[number] for number in numbers],
            [self._channels[number] for number in numbers],
            self._encoded.select(numbers),
        )

    def reminders(self, after: Place, until: Place) -> int:
        """How many reminders lie in `(after, until]`."""
        return bisect_right(self._reminders, until) - bisect_right(self._reminders, after)

    def cut(self, after: Place, until: Place, tail: Sequence[bytes] = ()) -> Any:
        """What lies in `(after, until]`, with the packets `tail` behind it, as `Reader.write` takes it."""
        first, last = bisect_right(self._places, after), bisect_right(self._places, until)
        if first == 0 and last == len(self._places) and not tail:
            return self._encoded
        return self._encoded.cut(first, last, tail)


class Pages:
    """A bounded cache of pages, found by any place that they cover."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._starts: list[Place] = []
        self._pages: OrderedDict[Place, Page] = OrderedDict()

    def find(self, place: Place) -> Page | None:
        """A page with `start <= place < end`, or None."""
        index = bisect_right(self._starts, place)
        page = self._pages[self._starts[index - 1]] if index else None
        if page is None or place >= page.end:
            return None
        self._pages.move_to_end(page.start)
        return page

    def add(self, page: Page) -> None:
        """Keeps a page, in the place of one with the same start."""
        if page.start in self._pages:
            self._drop(page.start)
        insort(self._starts, page.start)
        self._pages[page.start] = page
        self._bytes += page.size
        while self._bytes > self._max_bytes and len(self._pages) > 1:
            self._drop(next(iter(self._pages)))

    def _drop(self, start: Place) -> None:
        self._bytes -= self._pages.pop(start).size
        del self._starts[bisect_right(self._starts, start) - 1]

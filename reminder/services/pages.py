"""Pages of the log that are kept in memory, encoded, so that many readers cost one query and one encoding."""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from reminder.models.event import Place

MAX_BYTES = 32 * 1024 * 1024
"""Encoded bytes that are kept; what was not read for the longest time goes first."""
MAX_CUTS = 64
"""Encoded parts that one page keeps."""


class Page:
    """What lies in `(start, end]` of the log: packets in order, each with the place a reader has after it.

    `reminders` are the places of those that are reminders; `chunk` joins packets into what readers take.
    """

    def __init__(
        self,
        start: Place,
        end: Place,
        packets: list[tuple[Place, bytes]],
        reminders: list[Place],
        chunk: Callable[[list[bytes]], Any],
    ) -> None:
        self.start = start
        self.end = end
        self.count = len(reminders)
        self._reminders = reminders
        self._places = [place for place, _ in packets]
        self._packets = [packet for _, packet in packets]
        self._chunk = chunk
        self._cuts: dict[tuple[int, int, tuple[bytes, ...]], Any] = {}
        self.size = sum(map(len, self._packets))
        self.whole = chunk(self._packets)

    def reminders(self, after: Place, until: Place) -> int:
        """How many reminders lie in `(after, until]`."""
        return bisect_right(self._reminders, until) - bisect_right(self._reminders, after)

    def cut(self, after: Place, until: Place, *tail: bytes) -> Any:
        """The chunk of what lies in `(after, until]`, with the packets `tail` behind it."""
        first, last = bisect_right(self._places, after), bisect_right(self._places, until)
        if first == 0 and last == len(self._packets) and not tail:
            return self.whole
        chunk = self._cuts.get((first, last, tail))
        if chunk is None:
            if len(self._cuts) >= MAX_CUTS:
                self._cuts.clear()
            chunk = self._cuts[first, last, tail] = self._chunk([*self._packets[first:last], *tail])
        return chunk


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

    def clear(self) -> None:
        """Forgets all pages."""
        self._starts.clear()
        self._pages.clear()
        self._bytes = 0

    def _drop(self, start: Place) -> None:
        self._bytes -= self._pages.pop(start).size
        del self._starts[bisect_right(self._starts, start) - 1]

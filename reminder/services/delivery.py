"""Readers: every connection reads the log on from its own place.

A live reminder, a replay after a reconnect, what was missed over a restart and a slow client that catches up are one
thing: the pages behind a reader's place, up to the published end. A reader at the end is *live* and gets each new page
as soon as the end moves. One whose place lies before the end is *behind* and gets page after page, whenever its
connection is idle. Nothing else waits in memory for a client: the log is the queue. Who goes on with a page that is in
memory waits for nobody who has to wait for the store.

A reader gets what is for everybody and what is for its channels. Readers who get the same of a page share what is
written; who gets nothing of it gets its cursor: a client whose offset stays behind would have the log searched when it
comes back.

All methods run in one thread (the hub's). Instants are ms since 1970, UTC.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from reminder.models.event import MINUTE, Place
from reminder.services.histogram import Histogram
from reminder.services.log import NO_CHANNELS, Log, Replay, Start, Wire
from reminder.services.pages import Page

YIELD_EVERY = 256
"""Readers that are written to before others get a turn."""
REPLAYED = (0, 1, 10, 100, 1_000, 10_000, 100_000)
"""Upper bounds of a histogram's buckets: reminders of a replay."""


class Reader(ABC):
    """A connection's place in the log, and its channels; `place` is None while it is live, not placed yet, or gone."""

    __slots__ = ('channels', 'place', 'replay')

    def __init__(self, channels: frozenset[str] = NO_CHANNELS) -> None:
        self.channels = channels
        self.place: Place | None = None
        self.replay: Replay | None = None

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether the connection is open and nothing that was written to it still waits."""

    @abstractmethod
    def write(self, chunk: Any) -> None:
        """Hands a chunk over. Never blocks; keeps what the connection does not take at once.

        A connection that turns out to be broken may `leave` from within.
        """


@dataclass(frozen=True, slots=True)
class Batch:
    """What a publication wrote: reminders that were ready, to how many live readers, up to which minute."""

    minute: int
    reminders: int
    readers: int


class Delivery:
    """The readers of one server. See the module's text."""

    def __init__(self, log: Log, wire: Wire, *, pause: Callable[[], None], wake: Callable[[str], None]) -> None:
        """`pause` gives others a turn; `wake` is called, from anywhere, with 'step' or 'read' when that has something
        to do."""
        self._log = log
        self._wire = wire
        self._pause = pause
        self._wake = wake
        self._readers: dict[Reader, None] = {}
        self._unplaced: dict[Reader, None] = {}
        self._live: dict[Reader, None] = {}
        self._early: dict[Reader, None] = {}
        self._behind: OrderedDict[Reader, None] = OrderedDict()
        self._unread: dict[Reader, None] = {}
        """Those behind whose page has to be read."""
        self.sent = 0
        """Reminders that were written to readers so far."""
        self.replays = Histogram(REPLAYED)
        """Of those who said where they left off, and have got all of it: how many reminders that was."""
        self.incomplete_replays = 0
        """How many of these missed some for good."""

    def close(self, minute: int, now: Callable[[], int]) -> None:
        """Closes `minute` in the log and makes it ready. Raises StoreUnavailable: call it again then."""
        if self._log.close(minute, now):
            self._replace()
        self._place(now())
        page = self._log.read_ahead()
        if page is not None and page.channels:
            self._make_parts(page)

    def publish(self) -> Batch:
        """Publishes what was closed: writes it to all live readers. Does not touch the store."""
        # The end moves before the first write: a connection that joins meanwhile begins behind this batch.
        start, pages = self._log.publish()
        end, readers = self._log.end, list(self._live)
        first = next((page for page in pages if page.reminders(start, end)), None)
        if first is not None:
            self._write_all(readers, start, first)
        early, self._early = self._early, {}
        for reader in early:
            self._queue(reader)
        return Batch(end.time - 1, sum(page.reminders(start, end) for page in pages), len(readers))

    def join(self, reader: Reader, start: Start, opening: Sequence[bytes] = ()) -> None:
        """Gives a connection its place; from now on it gets all that lies behind that, in order. Never blocks.

        The packets `opening` come first.
        """
        self._readers[reader] = None
        if self._log.record is None:
            self._unplaced[reader] = None
            if opening:
                reader.write(self._wire.encode(opening))
            return
        reader.place, reader.replay = start.place or self._log.end, start.replay
        packets = [*opening, self._log.cursor(reader.place)]
        if reader.replay is not None and reader.place >= reader.replay.until:
            packets.append(self._replayed(reader))
        reader.write(self._wire.encode(packets))
        self._queue(reader)

    def leave(self, reader: Reader) -> None:
        """Forgets a connection."""
        self._readers.pop(reader, None)
        self._unplaced.pop(reader, None)
        self._take_out(reader)
        reader.place = None

    def ready(self, reader: Reader) -> None:
        """To be called when a reader's connection became idle: one that is behind reads on."""
        if reader.place is not None:
            self._queue(reader)

    def step(self) -> bool:
        """Writes a page to the reader that has waited longest, if it is in memory; False where none waits."""
        if not self._behind:
            return False
        reader, _ = self._behind.popitem(last=False)
        if reader.place is None or not reader.idle:
            return True  # `ready` will bring it back
        page = self._log.find(reader.place)
        if page is None:
            self._unread[reader] = None
            self._wake('read')
        else:
            self._write_page(reader, reader.place, page.part(reader.channels))
            self._queue(reader)
        return True

    def read(self) -> bool:
        """Reads the page of the reader that has waited longest for one, for all who go on with it; False where none
        waits. Raises StoreUnavailable, after which all wait again.
        """
        reader = next(iter(self._unread), None)
        if reader is None or reader.place is None:
            return False
        self._unread[reader] = self._unread.pop(reader)  # behind the others, should it fail
        page = self._log.page(reader.place)
        for reader in list(self._unread):
            if reader.place is not None and page.start <= reader.place < page.end:
                del self._unread[reader]
                self._queue(reader)
        return True

    @property
    def counts(self) -> dict[str, int]:
        """How many clients there are, and how many of them are behind the log's end."""
        return {
            'clients': len(self._readers),
            'clientsBehind': len(self._readers) - len(self._live) - len(self._early) - len(self._unplaced),
        }

    def behind(self, now: int) -> int:
        """How long (ms) the oldest minute that is over has been waiting to be published; 0 where none is."""
        return max(0, now - self._log.end.time - MINUTE + 1) if self._log.record else 0

    def _place(self, now: int) -> None:
        """Gives places to those who joined before the log was open. Raises StoreUnavailable: call it again then."""
        for reader in list(self._unplaced):
            start = self._log.begin(now, reader.channels)
            if reader in self._unplaced:  # else it left meanwhile
                del self._unplaced[reader]
                self.join(reader, start)

    def _replace(self) -> None:
        """Gives readers the places that they have in a log which was opened, or reopened, just now."""
        assert self._log.record is not None
        # What lies beyond both belonged to the old log; an opening has none.
        start = max(self._log.end, Place.after(self._log.record.opened))
        for reader in list(self._readers):
            is_beyond = reader.place is not None and reader.place >= start
            if is_beyond:
                reader.place = start
            if reader.replay is not None and reader.replay.until > start:
                reader.replay = Replay(start, False, reader.replay.count)
                if is_beyond:
                    reader.write(self._wire.encode([self._replayed(reader)]))
            if is_beyond:
                self._take_out(reader)
                self._queue(reader)

    def _make_parts(self, page: Page) -> None:
        """Makes ready what readers of different channels get of a page, as far as it can keep that."""
        for number, channels in enumerate({page.channels & reader.channels for reader in self._live}, 1):
            page.part(channels)
            if page.is_full:
                return
            if number % YIELD_EVERY == 0:
                self._pause()

    def _write_all(self, readers: list[Reader], start: Place, page: Page) -> None:
        until = min(page.end, self._log.end)
        tail = self._cursor_within(page, until)
        numbers = count(1)
        for part, sharing in _share(readers, page):
            chunk, missed = part.cut(start, until, tail), 0
            for reader, number in zip(sharing, numbers, strict=False):
                if reader not in self._live:  # it left while others were written to
                    missed += 1
                elif not reader.idle:
                    missed += 1
                    self._fall_behind(reader, start)
                else:
                    reader.write(chunk)
                    if until < self._log.end and reader in self._live:
                        self._fall_behind(reader, until)
                if number % YIELD_EVERY == 0:
                    self._pause()
            self.sent += part.reminders(start, until) * (len(sharing) - missed)

    def _write_page(self, reader: Reader, place: Place, page: Page) -> None:
        until = min(page.end, reader.replay.until if reader.replay else self._log.end)
        reminders, tail = page.reminders(place, until), self._cursor_within(page, until)
        self.sent += reminders
        if reader.replay is not None:
            reader.replay.count += reminders
            if until == reader.replay.until:
                tail.append(self._replayed(reader))
        reader.place = until
        reader.write(page.cut(place, until, tail))

    def _cursor_within(self, page: Page, until: Place) -> list[bytes]:
        """The cursor that a page has at its end, for a cut that ends before it."""
        return [] if until == page.end else [self._log.cursor(until)]

    def _replayed(self, reader: Reader) -> bytes:
        replay, reader.replay = reader.replay, None
        assert replay is not None
        self.replays.record(replay.count)
        self.incomplete_replays += not replay.complete
        return self._wire.replayed(replay.count, replay.complete)

    def _fall_behind(self, reader: Reader, place: Place) -> None:
        del self._live[reader]
        reader.place = place
        self._queue(reader)

    def _take_out(self, reader: Reader) -> None:
        """Takes a reader from where its place belonged."""
        for readers in (self._live, self._early, self._behind, self._unread):
            readers.pop(reader, None)

    def _queue(self, reader: Reader) -> None:
        """Puts a reader where its place belongs: live, behind, or (where another server was ahead) early."""
        place = reader.place
        if place is None or reader in self._behind or reader in self._unread:
            return
        if place > self._log.end:
            self._early[reader] = None
        elif place == self._log.end:
            reader.place = None
            self._live[reader] = None
        else:
            self._behind[reader] = None
            self._wake('step')


def _share(readers: list[Reader], page: Page) -> Iterator[tuple[Page, list[Reader]]]:
    """Who gets what of a page: those last who may get no more than its cursor."""
    if not page.channels:
        yield page, readers
        return
    sharing: defaultdict[frozenset[str], list[Reader]] = defaultdict(list)
    for reader in readers:
        sharing[page.channels & reader.channels].append(reader)
    others = sharing.pop(NO_CHANNELS, [])
    for channels, some in sharing.items():
        yield page.part(channels), some
    yield page.part(NO_CHANNELS), others

"""The log and its readers: closing minutes, and reading on from a place.

The store is a log ordered by `(time, id)`, and every connection is a reader with a place in it. A live reminder, a
replay after a reconnect, what was missed over a restart and a slow client that catches up are one thing here: the
pages that lie behind a reader's place, up to the published end. A reader at the end is *live* and gets each new page
as soon as the end moves; one whose place lies before the end is *behind* and gets page after page whenever its
connection is idle. Nothing else waits in memory for a client: the log is the queue.

All methods run in one thread (the hub's) and may block in the store. Instants are ms since 1970, UTC.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, Event, Place, Record
from reminder.models.store import Store
from reminder.services.events import closing
from reminder.services.offsets import Since, encode_offset
from reminder.services.pages import Page, Pages

log = logging.getLogger(__name__)

PAGE = 1_000
"""Reminders that are read, encoded and written together at most."""
CURSOR_EVERY = 500
"""Reminders between two cursors within a page: what a client may get twice when its connection breaks in a page."""
AHEAD = 8
"""Pages that are made ready before their minute; what is due beyond them is read when the readers get there."""
YIELD_EVERY = 256
"""Readers written to before others get a turn."""


class Wire(Protocol):
    """How the log's entries are put into packets, which delivery does not look into."""

    def reminder(self, event: Event) -> bytes: ...
    def cursor(self, offset: str) -> bytes: ...
    def replayed(self, count: int, complete: bool) -> bytes: ...
    def chunk(self, packets: list[bytes]) -> Any:
        """What `Reader.write` takes: the packets in order, ready to be written to any number of readers."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a resuming reader is owed: `count` reminders up to the place `until`; `complete` if none is missing."""

    until: Place
    count: int
    complete: bool


class Reader:
    """A connection's place in the log. `place` is None while it is live or not yet placed."""

    __slots__ = ('place', 'queued', 'replay')

    def __init__(self) -> None:
        self.place: Place | None = None
        self.queued = False
        self.replay: Replay | None = None

    @property
    def idle(self) -> bool:
        """Whether the connection is open and nothing that was written to it still waits."""
        raise NotImplementedError

    def write(self, chunk: Any) -> None:
        """Hands over packets. Does not block; keeps what the connection does not take at once."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Start:
    """Where a connection begins: at `place` (None: at the end, whatever it is then), with what it is owed."""

    place: Place | None = None
    replay: Replay | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one publication did: the minute it ended with, how many reminders it held, to how many live readers."""

    minute: int
    reminders: int
    readers: int


class Delivery:
    """One server's reading of the log, for its own connections. See the module's text."""

    def __init__(
        self,
        store: Store,
        wire: Wire,
        *,
        replay_limit: int,
        recovery_window: int,
        pause: Callable[[], None],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`recovery_window` in ms; `pause` lets others run; `wake` is called when `step` has something to do."""
        self._store = store
        self._wire = wire
        self._replay_limit = replay_limit
        self._recovery_window = recovery_window
        self._pause = pause
        self._wake = wake
        self._pages = Pages()
        self._reading = threading.Lock()
        self.record: Record | None = None
        """The log's record as last seen, None until the store was opened."""
        self.end = Place(0, '')
        """The published end: no reader reads beyond it."""
        self._next = self.end
        self._ahead: list[Page] = []
        self._restart = self.end
        self._restart_until = 0
        self._live: dict[Reader, None] = {}
        self._behind: deque[Reader] = deque()
        self._early: dict[Reader, None] = {}
        self._unplaced: dict[Reader, None] = {}

    # -- the minute ---------------------------------------------------------------------------------------------

    def due(self, now: int) -> bool:
        """Whether there is a minute to close at `now`, or a log to open, or to reopen after a step of the clock."""
        return self.record is None or not Place.after(closing(now)) <= self.end <= Place.after(now + MINUTE)

    def close(self, minute: int, now: int) -> None:
        """Closes `minute`, durably, and makes ready what is due up to it. Raises StoreUnavailable; call it again then."""
        if self.record is None:
            self._open(minute, now)
        else:
            self._adopt(self._close(minute, now))
        self._next = max(self.end, Place.after(minute))
        ahead, place = [], self.end
        while place < self._next and len(ahead) < AHEAD:
            page = self._read(place, self._next)
            ahead.append(page)
            place = page.end
        self._ahead = ahead

    def publish(self) -> Batch:
        """Moves the end to what was closed and writes it to all live readers. Never blocks in the store."""
        # The end is published before the first write: a connection that joins meanwhile starts behind this batch.
        start, self.end = self.end, self._next
        ahead, self._ahead = self._ahead, []
        readers = list(self._live)
        if ahead and ahead[0].count:
            self._write(readers, start, ahead[0])
        early, self._early = self._early, {}
        for reader in early:
            self._queue(reader)
        return Batch(self.end.time - 1, sum(page.count for page in ahead), len(readers))

    def settle(self) -> None:
        """Notes in the store that what was published was handed over. Raises StoreUnavailable; harmless then."""
        if self.record is not None:
            self._store.set_delivered(self.record.log, self.end.time - 1)

    def _write(self, readers: list[Reader], start: Place, page: Page) -> None:
        for number, reader in enumerate(readers, 1):
            if reader not in self._live:
                pass  # it left while others were written to
            elif not reader.idle:
                self._fall_behind(reader, start)
            else:
                reader.write(page.whole)
                if page.end < self.end:
                    self._fall_behind(reader, page.end)
            if number % YIELD_EVERY == 0:
                self._pause()

    def _close(self, minute: int, now: int) -> Record:
        record = self._store.close_minute(minute)
        if record.closed > now + MINUTE:
            log.error(
                'the log was closed up to %d s from now by a wrong clock: reopening it, what was due until then and '
                'is already kept counts as delivered',
                (record.closed - now) // 1000,
            )
            self._store.reopen(record.log, now)
            record = self._store.close_minute(minute)
        return record

    def _open(self, minute: int, now: int) -> None:
        """Begins to read the log. What fell due before is for those who join within the recovery window."""
        self._store.open(now)
        record = self._close(minute, now)
        end = Place.after(minute)
        self._restart = self._store.before(min(Place.after(record.delivered), end), end, self._replay_limit)
        self._restart_until = now + self._recovery_window
        self.record, self.end = record, end
        unplaced, self._unplaced = self._unplaced, {}
        for reader in unplaced:
            self.join(reader, self.begin(now))

    def _adopt(self, record: Record) -> None:
        """Takes over the store's record. Where the log is a new one (reopened), reading goes on where that began."""
        if self.record is not None and record.log != self.record.log:
            self._pages.clear()
            self.end = min(self.end, Place.after(record.opened))
            self._restart = min(self._restart, self.end)
            for reader in (*self._behind, *self._early):
                reader.place = reader.place and min(reader.place, self.end)
                reader.replay = None
        self.record = record

    def _read(self, place: Place, until: Place) -> Page:
        """The page that lies behind `place`, up to `until`: from memory, else read once for all who want it."""
        page = self._pages.find(place)
        if page is None:
            with self._reading:
                page = self._pages.find(place)
                if page is None:
                    page = self._encode(place, until, self._store.read(place, until, PAGE))
                    self._pages.add(page)
        return page

    def _encode(self, start: Place, until: Place, events: Sequence[Event]) -> Page:
        packets: list[tuple[Place, bytes]] = []
        for number, event in enumerate(events, 1):
            packets.append((event.place, self._wire.reminder(event)))
            if number % CURSOR_EVERY == 0:
                packets.append((event.place, self._cursor(event.place)))
        end = events[-1].place if len(events) == PAGE else until
        if not events or packets[-1][0] < end:
            packets.append((end, self._cursor(end)))
        return Page(start, end, packets, len(events), self._wire.chunk)

    def _cursor(self, place: Place) -> bytes:
        assert self.record is not None
        return self._wire.cursor(encode_offset(self.record.log, place))

    # -- readers ------------------------------------------------------------------------------------------------

    def begin(self, now: int) -> Start:
        """The start of a connection that knows no place: what was missed over a restart, as long as that is recent."""
        return Start(self._restart if now < self._restart_until and self._restart < self.end else None)

    def resume(self, since: Since) -> Start:
        """The start of a connection that says where it left off. Raises StoreUnavailable."""
        if self.record is None:
            raise StoreUnavailable('the log is not open yet')
        place, complete = since.place, since.log in (None, self.record.log)
        if since.id is not None:
            event = self._store.get(since.id)
            place, complete = (event.place, True) if event else (self.end, False)
        if place > self.end:
            # Another server's clock may be ahead of this one's: what it wrote, it closed.
            if complete and place <= Place.after(self._store.record().closed):
                return Start(place, Replay(place, 0, True))
            return Start(self.end, Replay(self.end, 0, False))
        end, complete = self.end, complete and place >= Place.after(self.record.purged)
        count = self._count(place, end)
        if count > self._replay_limit:
            place, count, complete = self._store.before(place, end, self._replay_limit), self._replay_limit, False
        return Start(place, Replay(end, count, complete))

    def join(self, reader: Reader, start: Start) -> None:
        """Gives a connection its place; from now on it gets all that lies behind that, in order. Never blocks."""
        if self.record is None:
            self._unplaced[reader] = None
            return
        reader.place, reader.replay = start.place or self.end, start.replay
        packets = [self._cursor(reader.place)]
        if reader.replay is not None and reader.place >= reader.replay.until:
            packets.append(self._replayed(reader))
        reader.write(self._wire.chunk(packets))
        self._queue(reader)

    def leave(self, reader: Reader) -> None:
        """Forgets a connection."""
        self._live.pop(reader, None)
        self._unplaced.pop(reader, None)
        self._early.pop(reader, None)
        reader.place = None

    def ready(self, reader: Reader) -> None:
        """To be called when a reader's connection became idle: one that is behind reads on."""
        if reader.place is not None:
            self._queue(reader)

    def step(self) -> bool:
        """Writes one page to the reader that has waited longest; False where none waits.

        Raises StoreUnavailable, after which the reader waits again.
        """
        if not self._behind:
            return False
        reader = self._behind.popleft()
        reader.queued = False
        if reader.place is None or not reader.idle:
            return True  # gone, or `ready` will bring it back
        record = self.record
        try:
            page = self._read(reader.place, self.end)
        except StoreUnavailable:
            self._queue(reader)
            raise
        # Reading may have blocked, and the world moved on meanwhile.
        if reader.place is not None and reader.idle:
            if self.record is record and page.start <= reader.place < page.end:
                self._write_page(reader, reader.place, page)
            self._queue(reader)
        return True

    def _write_page(self, reader: Reader, place: Place, page: Page) -> None:
        until = min(page.end, self.end if reader.replay is None else reader.replay.until)
        tail = [] if until == page.end else [self._cursor(until)]
        if reader.replay is not None and until >= reader.replay.until:
            tail.append(self._replayed(reader))
        reader.place = until
        reader.write(page.cut(place, until, *tail))

    def _replayed(self, reader: Reader) -> bytes:
        replay, reader.replay = reader.replay, None
        assert replay is not None
        return self._wire.replayed(replay.count, replay.complete)

    def _count(self, place: Place, end: Place) -> int:
        """How many reminders lie in `(place, end]`, counted to just above the limit; by the pages that are to be
        written anyway, as long as they are few."""
        count = 0
        for _ in range(AHEAD):
            if place >= end:
                return count
            page = self._read(place, end)
            count += page.reminders(place, end)
            place = page.end
        return count + self._store.count(place, end, self._replay_limit + 1)

    def _fall_behind(self, reader: Reader, place: Place) -> None:
        self._live.pop(reader, None)
        reader.place = place
        self._queue(reader)

    def _queue(self, reader: Reader) -> None:
        """Puts a reader where its place belongs: live, behind, or (another server's clock was ahead) early."""
        place = reader.place
        if place is None or reader.queued:
            return
        if place > self.end:
            self._early[reader] = None
        elif place == self.end:
            reader.place = None
            self._live[reader] = None
        else:
            reader.queued = True
            self._behind.append(reader)
            self._wake()

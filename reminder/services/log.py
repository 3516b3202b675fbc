"""One server's view of the log: closing minutes, the published end, pages, and where a connection begins.

All methods run in one thread (the hub's) and may block in the store. Instants are ms since 1970, UTC.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, Event, Place, Record
from reminder.models.store import Channels, Store
from reminder.services.events import closing
from reminder.services.floors import Floors
from reminder.services.gate import Gate
from reminder.services.offsets import Since, encode_offset
from reminder.services.pages import CURSOR, Encoded, Page, Pages

logger = logging.getLogger(__name__)

PAGE = 1_000
"""Reminders that are read together, and are encoded and written together, at most."""
PAGE_BYTES = 262_144
"""Bytes of packets in a page, except where one alone is larger. As much may wait in memory for a client that does not
read on."""
CURSOR_EVERY = 500
"""Reminders between two cursors: what a client gets twice at most when its connection breaks within a page."""
AHEAD = 8
"""Pages made ready before their minute; what is due beyond them is read when the readers get there. Also the most that
are looked through in memory for what somebody has missed."""
SEARCH = 100_000
"""Entries of the log, for whatever channels, that a replay looks through at most."""
WAITING, REST = 31, 1
"""Searches for where the replays for some channels begin that may wait for another, as a worker waits with each; and
for how many times as long as replays have kept the store and this process busy they leave them to others."""
NO_CHANNELS: frozenset[str] = frozenset()
"""The channels of who gets only what is for everybody."""


class Wire(Protocol):
    """How entries of the log become packets, which the log does not look into."""

    def reminder(self, event: Event) -> bytes: ...
    def cursor(self, offset: str) -> bytes: ...
    def replayed(self, count: int, complete: bool) -> bytes: ...
    def encode(self, packets: Sequence[bytes], offset: Callable[[int], str] | None = None) -> Encoded:
        """The packets in order, in the form that connections take; made once, written to many.

        `offset` tells, for the number of a packet, the offset of who has got all up to that one. It is given where
        reminders are among them.
        """


@dataclass(slots=True)
class Replay:
    """What a resuming connection is owed: what there is up to the place `until`; `complete` if none is missing. Of that
    it has got `count` reminders so far."""

    until: Place
    complete: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """Where a connection begins: behind `place` (None: at the end, whatever that is then), with what it is owed."""

    place: Place | None = None
    replay: Replay | None = None


class Log:
    """The log as one server reads it. See the module's text."""

    def __init__(
        self,
        store: Store,
        wire: Wire,
        *,
        replay_limit: int,
        recovery_window: int,
        prepare: Callable[[int], None] = lambda minute: None,
        rest: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`replay_limit` in reminders, `recovery_window` in ms. `prepare` is called with each minute that is about to
        be closed, by who adds what has to be in it; it may raise StoreUnavailable. `rest` waits for some seconds."""
        self._store = store
        self.prepare = prepare
        self._wire = wire
        self._replay_limit = replay_limit
        self._recovery_window = recovery_window
        self._pages = Pages()
        # Replays ask the store one by one for all that takes long. The minute does not come this way.
        self._replays = Gate(1, WAITING, REST, rest)
        self._new_floors = partial(Floors, store, replay_limit, self._replays)
        self._floors = self._new_floors()
        self.record: Record | None = None
        """The record as last seen; None until the store was opened."""
        self.end = Place(0, '')
        """The published end: nobody reads beyond it."""
        self._closed = self.end
        self._ahead: list[Page] = []
        self._restart = self._restart_end = self.end
        self._restart_until = 0

    # -- the minute ---------------------------------------------------------------------------------------------

    def due(self, now: int) -> bool:
        """Whether there is a minute to close at `now`, a log to open, or one to reopen after a step of the clock."""
        return self.record is None or not Place.after(closing(now)) <= self.end <= Place.after(now + MINUTE)

    def close(self, minute: int, now: Callable[[], int]) -> bool:
        """Closes `minute`, durably. Returns whether the log was opened or reopened by that.

        Raises StoreUnavailable: call it again then.
        """
        before = self.record
        record = self._open(minute, now) if before is None else self._close(minute, now)
        if before is not None and before.log != record.log:
            # Reopened: reading goes on where the new log began. A read that is under way fills the old pages.
            self._pages, self._floors = Pages(), self._new_floors()
            self.end = min(self.end, Place.after(record.opened))
            self._restart = min(self._restart, self.end)
            self._restart_end = min(self._restart_end, self.end)
        self.record = record
        self._closed = max(self.end, Place.after(min(minute, record.closed)))
        self._ahead = []
        return before is None or before.log != record.log

    def read_ahead(self) -> Page | None:
        """Reads and encodes what was closed. Returns the first page that holds reminders, if any.

        Raises StoreUnavailable: close again then.
        """
        ahead: list[Page] = []
        place = self.end
        while place < self._closed and len(ahead) < AHEAD:
            ahead.append(self.find(place) or self._read(place, self._closed))
            place = ahead[-1].end
        self._ahead = ahead
        return next((page for page in ahead if page.reminders(self.end, self._closed)), None)

    def publish(self) -> tuple[Place, list[Page]]:
        """Moves the end to what was closed. Returns where it was, and the pages that are ready from there on."""
        start, self.end = self.end, self._closed
        ahead, self._ahead = self._ahead, []
        return start, ahead

    def settle(self) -> None:
        """Notes in the store that what was published was handed over. Raises StoreUnavailable, which is harmless."""
        if self.record is not None:
            self._store.set_delivered(self.record.log, self.end.time - 1)

    def _close(self, minute: int, now: Callable[[], int]) -> Record:
        self.prepare(minute)
        record = self._store.close_minute(minute)
        # `now` is read after the answer: a machine that was suspended in between must not take its own sleep, in which
        # others closed what they should, for a wrong clock.
        moment = now()
        if record.closed > moment + MINUTE:
            logger.error(
                'the log was closed up to %(ahead_s)d s from now by a wrong clock: reopening it; what is already kept '
                'and due until then counts as delivered',
                {'event': 'log_reopened', 'ahead_s': (record.closed - moment) // 1000},
            )
            self._store.reopen(record.log, moment)
            record = self._store.close_minute(min(minute, closing(moment)))
        return record

    def _open(self, minute: int, now: Callable[[], int]) -> Record:
        """Begins to read. What fell due before is for connections that join within the recovery window."""
        moment = now()
        new = self._store.open(moment).opened == moment
        record = self._close(minute, now)
        # Not beyond now, as the minute may be still to come; not before a new log's first moment, as it has no past.
        end = Place.after(max(min(minute, now(), record.closed), record.purged))
        self._restart, self._restart_end = min(Place.after(record.delivered), end), end
        self._restart_until = 0 if new else now() + self._recovery_window
        self.end = end
        return record

    # -- pages --------------------------------------------------------------------------------------------------

    def find(self, place: Place) -> Page | None:
        """The page that lies behind `place`, where it is in memory."""
        return self._pages.find(place)

    def page(self, place: Place) -> Page:
        """The page that lies behind `place`, which is before the end. Waits for its turn, unless it is in memory.

        Raises StoreUnavailable."""
        page = self.find(place)
        if page is None:
            with self._replays.pass_through(patient=True):
                page = self.find(place) or self._read(place, self.end)
        return page

    def cursor(self, place: Place) -> bytes:
        """The packet that tells a client its offset. Only once the log is open."""
        assert self.record is not None
        return self._wire.cursor(encode_offset(self.record.log, place))

    def _read(self, place: Place, until: Place) -> Page:
        pages = self._pages
        page, *more = self._encode(place, until, self._store.read(place, until, PAGE))
        for one in (*more, page):
            pages.add(one)
        return page

    def _encode(self, start: Place, until: Place, events: Sequence[Event]) -> list[Page]:
        """One page, or as many as the size of the events asks for."""
        end = events[-1].place if len(events) == PAGE else until
        pages: list[Page] = []
        entries: list[tuple[Place, str | None, bytes]] = []
        size = 0
        for event in events:
            try:
                packet = self._wire.reminder(event)
            except (ValueError, RecursionError) as error:
                # Other programs may write into the database; it must not keep the others from being delivered.
                logger.error(
                    'the event %(id)s is left out, as it cannot be encoded: %(error)s',
                    {'event': 'event_left_out', 'id': event.id, 'error': type(error).__name__},
                )
                continue
            if entries and size + len(packet) > PAGE_BYTES:
                pages.append(self._page_of(start, entries[-1][0], entries))
                start, entries, size = entries[-1][0], [], 0
            entries.append((event.place, event.channel, packet))
            size += len(packet)
        pages.append(self._page_of(start, end, entries))
        return pages

    def _page_of(self, start: Place, end: Place, entries: Sequence[tuple[Place, str | None, bytes]]) -> Page:
        rows: list[tuple[Place, str | None, bytes]] = []
        for number, entry in enumerate(entries, 1):
            rows.append(entry)
            if number % CURSOR_EVERY == 0 and entry[0] < end:
                rows.append((entry[0], CURSOR, self.cursor(entry[0])))
        rows.append((end, CURSOR, self.cursor(end)))
        places, channels, packets = zip(*rows, strict=True)
        assert self.record is not None
        log = self.record.log
        encoded = self._wire.encode(packets, lambda number: encode_offset(log, places[number]))
        return Page(start, end, places, channels, encoded)

    # -- where a connection begins ------------------------------------------------------------------------------

    def begin(self, now: int, channels: frozenset[str] = NO_CHANNELS) -> Start:
        """The start of a connection, for those channels, that knows no place: what was missed over a restart, as long
        as that is recent. Raises StoreUnavailable; it may come again then."""
        if now >= self._restart_until or self._restart >= self.end:
            return Start()
        record = self.record
        place, _ = self._newest(self._restart, self._restart_end, channels)
        self._check_still(record)
        return Start(place)

    def locate(self, since: Since, known: Channels = None) -> tuple[Place, bool]:
        """The place that somebody left off at who may know of those channels, and whether nothing is missing behind it.

        Raises StoreUnavailable."""
        record = self.record
        if record is None:
            raise StoreUnavailable('the log is not open yet')
        place, complete = self._locate(since, record, known)
        return place, complete and place >= Place.after(record.purged)

    def resume(self, since: Since, channels: frozenset[str] = NO_CHANNELS, known: Channels = None) -> Start:
        """The start of a connection, for those channels, that says where it left off and may know of `known`.

        Raises StoreUnavailable; it may come again then."""
        record = self.record
        if record is None:
            raise StoreUnavailable('the log is not open yet')
        start = self._resume(since, record, channels, known)
        self._check_still(record)
        return start

    def _check_still(self, record: Record | None) -> None:
        """Raises StoreUnavailable where the log that `record` was of has been reopened since."""
        if record is None or self.record is None or self.record.log != record.log:
            raise StoreUnavailable('the log was reopened meanwhile')

    def _locate(self, since: Since, record: Record, known: Channels) -> tuple[Place, bool]:
        place, complete = since.place, True
        if since.id is not None:
            event = self._store.get(since.id)
            # One of a channel that is kept from somebody is unknown to them, as its place would tell its time.
            is_known = event is not None and (event.channel is None or known is None or event.channel in known)
            place, complete = (event.place, True) if event and is_known else (self.end, False)
        elsewhere = since.log not in (None, record.log)
        if elsewhere or place > self.end:
            # Other servers may be ahead of this one: they have closed what they wrote, or reopened the log.
            current = self._store.record()
            if current.log != record.log:
                raise StoreUnavailable('the log was reopened, which this server is about to see')
            if elsewhere:
                place, complete = min(place, Place.after(record.opened)), False
            if place > Place.after(current.closed):
                return self.end, False
        return place, complete

    def _resume(self, since: Since, record: Record, channels: frozenset[str], known: Channels) -> Start:
        place, complete = self._locate(since, record, known)
        if place > self.end:
            return Start(place, Replay(place, complete))
        end, complete = self.end, complete and place >= Place.after(record.purged)
        place, all = self._newest(place, end, channels)
        return Start(place, Replay(end, complete and all))

    def _newest(self, place: Place, end: Place, channels: frozenset[str]) -> tuple[Place, bool]:
        """The place behind which the reminders in `(place, end]` for those channels are replayed, and whether they are
        all. How many they are shows when they are read."""
        if self._is_at_hand(place, end):
            return place, True
        floor = self._floors.find(place, end, channels, SEARCH)
        return max(place, floor), floor <= place

    def _is_at_hand(self, place: Place, end: Place) -> bool:
        """Whether what lies in `(place, end]` is in a few pages in memory, and no more than is replayed."""
        count = 0
        for _ in range(AHEAD):
            page = self.find(place) if place < end else None
            if page is None:
                break
            count += page.reminders(place, end)
            place = page.end
        return place >= end and count <= self._replay_limit

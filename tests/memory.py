"""A store in memory, for tests of what is built on the store's contract.

It takes the steps that MongoDB takes, one at a time, so that a test can let others run between any two of them.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from reminder.errors import Changed, MinuteClosed, StoreUnavailable
from reminder.models.event import MINUTE, Event, Place, Record, Series
from reminder.models.store import Channels, Store

T = TypeVar('T')
Call = Callable[[Callable[[], T]], T]
"""Takes a step to the database: returns what it returns; may block before and after it, or raise StoreUnavailable."""

BASE = 29_000_000 * MINUTE
"""The instant at which most tests begin: a whole minute (ms, UTC)."""


def minute(number: int) -> int:
    """The instant (ms, UTC) of the minute that many after `BASE`."""
    return BASE + number * MINUTE


def event(number: int, time: int) -> Event:
    """An event whose id, name and place within its minute all follow from `number`."""
    return Event(f'{number:024x}', f'event {number}', time)


@dataclass(frozen=True)
class Row:
    """An entry of the log, with the fields that `mongo_documents` tells of."""

    event: Event
    attempt: str | None = None
    claim: str | None = None
    moved_to: str | None = None
    moved_from: str | None = None
    delivered: bool | None = None

    @property
    def id(self) -> str:
        return self.event.place.id

    @property
    def is_seen(self) -> bool:
        """Whether readers see it."""
        return not (self.delivered or self.event.cancelled or self.moved_from)


class Database:
    """What is kept, shared by the stores of several servers. Every method is one atomic step."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._places: list[Place] = []
        self._series: dict[str, Series] = {}
        self._tokens = 0
        self.record: Record | None = None
        self.opened: list[int] = []
        """When each log began."""
        self.reads = 0

    # -- the record ---------------------------------------------------------------------------------------------

    def prepare(self, now: int) -> Record:
        self.record = self.record or Record(self._new_log(now), now, now, now, now)
        return self.record

    def get_record(self) -> Record:
        if self.record is None:
            raise StoreUnavailable('there is no record yet')
        return self.record

    def change(self, **changes: Any) -> Record:
        self.record = replace(self.get_record(), **changes)
        return self.record

    def raise_closed(self, minute: int) -> Record:
        return self.change(closed=max(self.get_record().closed, minute))

    def raise_delivered(self, log: str, minute: int) -> None:
        if self.get_record().log == log:
            self.change(delivered=max(self.get_record().delivered, minute))

    def renew(self, log: str, closed: int, now: int) -> None:
        record = self.get_record()
        if (record.log, record.closed) == (log, closed):
            purged = min(record.purged, now)
            self.record = Record(self._new_log(now), opened=now, closed=now, delivered=now, purged=purged)

    def _new_log(self, now: int) -> str:
        self.opened.append(now)
        return f'{len(self.opened):016x}'

    # -- rows ---------------------------------------------------------------------------------------------------

    def token(self) -> str:
        """A new id, which no event of a test has; no step."""
        self._tokens += 1
        return f'{self._tokens % 256:02x}{2**64 + self._tokens:022x}'

    def insert(self, event: Event) -> None:
        """What other programs do."""
        self.insert_row(Row(event))

    def insert_row(self, row: Row) -> bool:
        """False, and nothing else, where its id is taken."""
        if row.id in self._rows:
            return False
        self._rows[row.id] = row
        insort(self._places, row.event.place)
        return True

    def swap(self, row: Row, **changes: Any) -> bool:
        """Changes a row; False where it is not what it was."""
        if self._rows.get(row.id) != row:
            return False
        self._rows[row.id] = replace(row, **changes)
        return True

    def swap_claimed(self, id: str, claim: str, **changes: Any) -> bool:
        """Changes the row of that id, and takes its claim away; False where it has another one, or none."""
        row = self._rows.get(id)
        return row is not None and row.claim == claim and self.swap(row, **changes | {'claim': None})

    def adopt(self, id: str) -> None:
        row = self._rows.get(id)
        if row is not None:
            self.swap(row, attempt=None)

    def delete(self, *ids: str) -> None:
        for id in ids:
            row = self._rows.pop(id, None)
            if row is not None:
                self._places.remove(row.event.place)

    def delete_untouched(self, row: Row) -> bool:
        """Deletes a row; False where it is not what it was, but for a mark."""
        kept = self._rows.get(row.id)
        if kept is None or replace(kept, delivered=row.delivered) != row:
            return False
        self.delete(row.id)
        return True

    def get(self, id: str) -> Row | None:
        return self._rows.get(id)

    def claimed(self) -> list[Row]:
        return [row for row in self._rows.values() if row.claim]

    def skip(self, found: list[Row]) -> None:
        """Marks what was found, where nobody has touched its mark since."""
        for row in found:
            kept = self._rows.get(row.id)
            if kept is not None and kept.delivered == row.delivered:
                self.swap(kept, delivered=True)

    def unskip(self, id: str) -> None:
        row = self._rows.get(id)
        if row is not None:
            self.swap(row, delivered=False)

    @property
    def has_skipped(self) -> bool:
        return any(row.delivered for row in self._rows.values())

    def is_skipped(self, id: str) -> bool:
        row = self._rows.get(id)
        return row is not None and row.delivered is True

    def rows(self, after: Place, until: Place) -> list[Row]:
        """All in `(after, until]`."""
        found = self._places[bisect_right(self._places, after) : bisect_right(self._places, until)]
        return [self._rows[place.id] for place in found]

    def read(self, after: Place, until: Place, limit: int, channels: Channels = None) -> list[Event]:
        self.reads += 1
        return self.seen(after, until, channels)[:limit]

    def places(self, after: Place, until: Place) -> list[Place]:
        """The places of what a reader sees in `(after, until]`."""
        return [event.place for event in self.seen(after, until)]

    def seen(self, after: Place, until: Place, channels: Channels = None) -> list[Event]:
        """What a reader sees in `(after, until]`."""
        events = [row.event for row in self.rows(after, until) if row.is_seen]
        return [each for each in events if _is_in(each, channels)]

    # -- series -------------------------------------------------------------------------------------------------

    def add_series(self, series: Series) -> Series:
        return self._series.setdefault(series.id, series)

    def get_series(self, id: str) -> Series | None:
        return self._series.get(id)

    def replace_series(self, old: Series, new: Series) -> bool:
        is_same = self._series.get(old.id) == old
        if is_same:
            self._series[old.id] = new
        return is_same

    def series(self) -> list[Series]:
        return [series for series in self._series.values() if not series.ended]


def _is_in(kept: Event | Series, channels: Channels) -> bool:
    return channels is None or kept.channel is None or kept.channel in channels


def at_once(step: Callable[[], T]) -> T:
    """The `Call` of a database that is never slow and never fails."""
    return step()


class MemoryStore(Store):
    """The contract of `Store` over a `Database`, with every step to it by way of `call`."""

    def __init__(self, database: Database, call: Call[Any] = at_once) -> None:
        self.database = database
        self.call = call
        self._log = ''

    def open(self, now: int) -> Record:
        record: Record = self.call(lambda: self.database.prepare(now))
        self._log = record.log
        return record

    def close(self) -> None:
        pass

    def record(self) -> Record:
        record: Record = self.call(self.database.get_record)
        return record

    def clock_offset(self, now: int) -> int:
        return 0

    def add_all(self, events: Sequence[Event]) -> Sequence[Event | Exception]:
        outcomes: list[Event | Exception] = []
        for event in events:
            try:
                outcomes.append(self.add(event))
            except (MinuteClosed, StoreUnavailable) as error:
                outcomes.append(error)
        return outcomes

    def add(self, event: Event) -> Event:
        log = self._log
        is_shared = event.request is not None or event.series is not None
        row = Row(event, attempt=self.database.token() if is_shared else None)
        is_mine = self.call(lambda: self.database.insert_row(row))
        if not is_mine:
            self.call(lambda: self.database.adopt(event.id))
        record = self.record()
        while record.log != log:
            # A reopening may have marked what had been inserted just before.
            log = record.log
            if is_mine:
                self.call(lambda: self.database.unskip(event.id))
            record = self.record()
        self._log = log
        if is_mine and event.time > record.closed:
            return event
        if is_mine and self.call(lambda: self.database.delete_untouched(row)):
            raise MinuteClosed(f'{event.time} is closed')
        if is_mine:
            raise StoreUnavailable('others have made something of it')
        return self._existing(event.id, record)

    def _existing(self, id: str, record: Record) -> Event:
        first = self._get(id)
        now = self.get(id)
        if first is None or now is None:
            raise StoreUnavailable('it was taken back')
        if record.delivered < first.event.time <= record.closed and not first.event.cancelled:
            raise StoreUnavailable('nobody knows whether it was in time')
        return now

    def get(self, id: str) -> Event | None:
        _, row = self._find(id)
        return row.event if row is not None else None

    def _get(self, id: str) -> Row | None:
        row: Row | None = self.call(lambda: self.database.get(id))
        return row

    def _find(self, id: str) -> tuple[Row | None, Row | None]:
        first = row = self._get(id)
        while row and row.moved_to:
            row = self._get(row.moved_to)
        return first, row

    def replace(self, old: Event, new: Event) -> Event:
        log = self.record().log
        first, row = self._find(old.id)
        if first is None or row is None or row.event != old:
            raise Changed('it is not what it was')
        if row.delivered:
            raise MinuteClosed('it counts as delivered')
        claim = self.database.token()
        if not self.call(lambda: self.database.swap(row, claim=claim, attempt=None, moved_from=None)):
            raise Changed('it is not what it was')
        moves, earliest = new.time != old.time, min(old.time, new.time)
        new = replace(new, entry=claim if moves else old.entry)
        if moves:
            self.call(lambda: self.database.insert_row(Row(new, claim=claim, moved_from=row.id)))
        if not self._is_open(log, earliest) or not self._decide(row, claim, new if not moves else None):
            self._release(row.id, claim)
            if moves:
                self._drop(claim)
            if self.record().closed >= earliest:
                raise MinuteClosed(f'{earliest} is closed')
            raise Changed('it is being changed')
        if moves:
            self._finish(claim)
            if first.id != row.id:
                self.call(lambda: self._shorten(first, claim))
        return new

    def _is_open(self, log: str, minute: int) -> bool:
        record = self.record()
        return record.log == log and record.closed < minute

    def _decide(self, row: Row, claim: str, new: Event | None) -> bool:
        gone = replace(row.event, cancelled=True)
        changes = {'event': new} if new else {'event': gone, 'moved_to': claim}
        is_done: bool = self.call(lambda: self.database.swap_claimed(row.id, claim, **changes))
        return is_done

    def _shorten(self, first: Row, target: str) -> None:
        row = self.database.get(first.id)
        if row is not None and row.moved_to == first.moved_to:
            self.database.swap(row, moved_to=target)

    def _release(self, id: str, claim: str) -> None:
        self.call(lambda: self.database.swap_claimed(id, claim))

    def _finish(self, id: str) -> None:
        self.call(lambda: self.database.swap_claimed(id, id, moved_from=None))

    def _drop(self, id: str) -> None:
        def drop() -> None:
            row = self.database.get(id)
            if row is not None and row.claim == id:
                self.database.delete(id)

        self.call(drop)

    def close_minute(self, minute: int) -> Record:
        record: Record = self.call(lambda: self.database.raise_closed(minute))
        while True:
            self.settle(record.closed)
            now = self.record()
            if now.log == record.log:
                return record
            record = now

    def settle(self, closed: int) -> None:
        """Decides the changes that are under way, as far as they concern what is due up to `closed`."""
        for row in self.call(self.database.claimed):
            is_closed = row.event.time <= closed
            if row.moved_from:
                self._judge(row, row.moved_from, is_closed)
            elif is_closed:
                self._release(row.id, row.claim)

    def _judge(self, row: Row, moved_from: str, is_closed: bool) -> None:
        if is_closed:
            self._release(moved_from, row.id)
        source = self._get(moved_from)
        if source is not None and source.moved_to == row.id:
            self._finish(row.id)
        elif is_closed:
            self._drop(row.id)

    def set_delivered(self, log: str, minute: int) -> None:
        self.call(lambda: self.database.raise_delivered(log, minute))

    def reopen(self, log: str, now: int) -> Record:
        while True:
            record = self.record()
            if record.log != log or record.closed <= now:
                return record
            self.settle(record.closed)
            after, until = Place.after(now), Place.after(record.closed)
            while found := [row for row in self._rows(after, until) if not row.delivered]:
                if self.record().log != log:
                    break
                self.call(partial(self.database.skip, found))
            self.call(partial(self.database.renew, log, record.closed, now))

    def _rows(self, after: Place, until: Place) -> list[Row]:
        rows: list[Row] = self.call(lambda: self.database.rows(after, until))
        return rows

    def purge(self, before: int) -> int:
        until = min(before, self.record().delivered)
        self.call(lambda: self.database.change(purged=max(self.database.get_record().purged, until)))
        past = [row.id for row in self._rows(Place(0, ''), Place.after(until)) if self._is_past(row, until)]
        self.call(lambda: self.database.delete(*past))
        return len(past)

    def _is_past(self, row: Row | None, until: int) -> bool:
        while row and row.moved_to:
            row = self._get(row.moved_to)
        return row is None or row.event.time <= until

    def read(
        self, after: Place, until: Place, limit: int, channels: Channels = None, cancelled: bool = False
    ) -> Sequence[Event]:
        assert not cancelled, 'no test asks for these'
        events: list[Event] = self.call(lambda: self.database.read(after, until, limit, channels))
        return events

    def count(self, after: Place, until: Place, limit: int, channels: Channels = None) -> int:
        return len(self._seen(after, until, channels)[:limit])

    def before(self, after: Place, until: Place, count: int, channels: Channels = None) -> Place:
        events = self._seen(after, until, channels)
        return events[-count - 1].place if len(events) > count else after

    def _seen(self, after: Place, until: Place, channels: Channels) -> list[Event]:
        events: list[Event] = self.call(lambda: self.database.seen(after, until, channels))
        return events

    # -- series -------------------------------------------------------------------------------------------------

    def add_series(self, series: Series) -> Series:
        kept: Series = self.call(lambda: self.database.add_series(series))
        return kept

    def get_series(self, id: str) -> Series | None:
        series: Series | None = self.call(lambda: self.database.get_series(id))
        return series

    def replace_series(self, old: Series, new: Series) -> None:
        if not self.call(lambda: self.database.replace_series(old, new)):
            raise Changed('it is not what it was')

    def replace_all_series(self, changes: Sequence[tuple[Series, Series]]) -> Sequence[bool]:
        return [self.call(partial(self.database.replace_series, old, new)) for old, new in changes]

    def series_due(self, minute: int, limit: int) -> Sequence[Series]:
        due = [series for series in self.call(self.database.series) if series.made <= minute]
        return sorted(due, key=lambda series: series.made)[:limit]

    def list_series(self, after: str, limit: int, channels: Channels = None, ended: bool = False) -> Sequence[Series]:
        assert not ended, 'no test asks for these'
        series = [each for each in self.call(self.database.series) if each.id > after and _is_in(each, channels)]
        return sorted(series, key=lambda series: series.id)[:limit]

    def occurrences(self, series: str, after: int, limit: int) -> Sequence[Event]:
        events = self._seen(Place.after(after), Place(2**62, ''), None)
        return [each for each in events if each.series == series][:limit]

"""A store in memory, for tests of what is built on the store's contract.

It takes the steps that MongoDB takes, one at a time, so that a test can let others run between any two of them.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from reminder.errors import MinuteClosed, StoreUnavailable
from reminder.models.event import MINUTE, Event, Place, Record
from reminder.models.store import Store

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


class Database:
    """What is kept, shared by the stores of several servers. Every method is one atomic step."""

    def __init__(self) -> None:
        self._rows: dict[str, Event] = {}
        self._places: list[Place] = []
        self._skipped: dict[str, bool] = {}
        """The field `delivered` of those that have it."""
        self.record: Record | None = None
        self.opened: list[int] = []
        """When each log began."""
        self.reads = 0

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

    def insert(self, event: Event) -> None:
        self._rows[event.id] = event
        insort(self._places, event.place)

    def delete(self, *ids: str) -> None:
        for id in ids:
            event = self._rows.pop(id, None)
            if event is not None:
                self._places.remove(event.place)

    def get(self, id: str) -> Event | None:
        return self._rows.get(id)

    def unskipped(self, after: Place, until: Place) -> dict[str, bool | None]:
        return {place.id: self._skipped.get(place.id) for place in self.places(after, until)}

    def skip(self, found: dict[str, bool | None]) -> None:
        """Marks what was found, where nobody has touched it since."""
        self._skipped |= {id: True for id, mark in found.items() if self._skipped.get(id) == mark}

    def unskip(self, id: str) -> None:
        self._skipped[id] = False

    @property
    def has_skipped(self) -> bool:
        return any(self._skipped.values())

    def is_skipped(self, id: str) -> bool:
        return self._skipped.get(id, False)

    def places(self, after: Place, until: Place) -> list[Place]:
        """The places of what a reader sees in `(after, until]`."""
        found = self._places[bisect_right(self._places, after) : bisect_right(self._places, until)]
        return [place for place in found if not self.is_skipped(place.id)]

    def read(self, after: Place, until: Place, limit: int) -> list[Event]:
        self.reads += 1
        return [self._rows[place.id] for place in self.places(after, until)[:limit]]

    def _new_log(self, now: int) -> str:
        self.opened.append(now)
        return f'{len(self.opened):016x}'


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

    def add(self, event: Event) -> None:
        log = self._log
        self.call(lambda: self.database.insert(event))
        record = self.record()
        while record.log != log:
            # A reopening may have marked what had been inserted just before.
            log = record.log
            self.call(lambda: self.database.unskip(event.id))
            record = self.record()
        self._log = log
        if event.time <= record.closed:
            self.call(lambda: self.database.delete(event.id))
            raise MinuteClosed(f'{event.time} is closed')

    def get(self, id: str) -> Event | None:
        event: Event | None = self.call(lambda: self.database.get(id))
        return event

    def close_minute(self, minute: int) -> Record:
        record: Record = self.call(lambda: self.database.raise_closed(minute))
        return record

    def set_delivered(self, log: str, minute: int) -> None:
        self.call(lambda: self.database.raise_delivered(log, minute))

    def reopen(self, log: str, now: int) -> Record:
        while True:
            record = self.record()
            if record.log != log or record.closed <= now:
                return record
            after, until = Place.after(now), Place.after(record.closed)
            while found := self.call(partial(self.database.unskipped, after, until)):
                if self.record().log != log:
                    break
                self.call(partial(self.database.skip, found))
            self.call(partial(self.database.renew, log, record.closed, now))

    def purge(self, before: int) -> int:
        until = min(before, self.record().delivered)
        self.call(lambda: self.database.change(purged=max(self.database.get_record().purged, until)))
        places = self.database.places(Place(0, ''), Place.after(until))
        self.call(lambda: self.database.delete(*[place.id for place in places]))
        return len(places)

    def read(self, after: Place, until: Place, limit: int) -> Sequence[Event]:
        events: list[Event] = self.call(lambda: self.database.read(after, until, limit))
        return events

    def count(self, after: Place, until: Place, limit: int) -> int:
        count: int = self.call(lambda: len(self.database.places(after, until)[:limit]))
        return count

    def before(self, after: Place, until: Place, count: int) -> Place:
        places: list[Place] = self.call(lambda: self.database.places(after, until))
        return places[-count - 1] if len(places) > count else after

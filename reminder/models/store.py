"""The contract that every store keeps.

A store holds one log of events, ordered by `(time, id)`, and the log's record. Its verbs block the caller (a greenlet
in the server, a thread elsewhere) and may be called by many at once. Every verb raises `StoreUnavailable` when the
database does not answer within about 5 s, refuses or fails, with a text that holds no credentials; an event whose
`add` ended so may or may not have been kept, one whose `replace` did may have changed or not; all other verbs can
simply be called again. Instants are milliseconds since 1970, UTC.

**The fence.** `add` returns only if the event's minute was still open (`time > closed`) after the event was
durable. So whoever closes a minute and reads it after that sees every event of that minute that anybody was told
was kept, on any number of servers and whatever their clocks say; nothing has to be read twice.

The same holds for `replace`, for the minute that an event leaves as well as for the one that it comes to: it returns
only if all who close either minute, and read it after that, find the event as it is afterwards; and where it does not
return, all of them find the same, be it the event as it was or as it was to be.

**What a reader sees.** `read`, `count` and `before` leave out events that are cancelled, events marked
`delivered: true` (the ones that a reopening skipped) and documents that are no events (no date in `time`). Events that
other programs wrote into the collection are read like our own. An event that is moving to another time, in a minute
that is still open, may for a moment be seen at neither.

**Channels.** A reader who names `channels` sees events without a channel and those of these channels; with None, all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from reminder.errors import ConfigError
from reminder.models.event import Event, Place, Record, Series

Channels = frozenset[str] | None

Run = Callable[..., Any]
"""Runs `function(*args)` where blocking file I/O harms nobody, waits for it, and returns or raises what it did."""


class Store(ABC):
    """One log of events and its record. See the module's text for what all verbs have in common."""

    @abstractmethod
    def open(self, now: int) -> Record:
        """Connects, makes tables and indexes where they are missing, and returns the record.

        A database without a record gets one with a new `log` id and `opened = closed = delivered = purged = now`, so
        that events which wait in it are picked up and its past is not replayed. Two servers that do so at once end
        up with the same record. May be called again after it failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go of files and connections. Never raises; a second call does nothing."""

    @abstractmethod
    def record(self) -> Record:
        """The record as it is now. Also the cheapest proof that the database answers."""

    @abstractmethod
    def clock_offset(self, now: int) -> int:
        """How many ms the database's clock is ahead of `now`; 0 where it may be less than a second, or is the same."""

    @abstractmethod
    def add(self, event: Event) -> Event:
        """Keeps a new event, durably (majority and journal; fsync), and returns it. Concurrent calls share one commit.

        Where there is an event of that id already, keeps nothing and returns that one, whatever has become of it; but
        raises `StoreUnavailable` while its minute is closed and not delivered yet, where it cannot be known whether it
        was in time. Raises `MinuteClosed`, and keeps nothing, where the fence was down.
        """

    @abstractmethod
    def add_all(self, events: Sequence[Event]) -> Sequence[Event | Exception]:
        """Adds up to 1,000 events as `add` does, together; what it would return or raise for each, in their order."""

    @abstractmethod
    def get(self, id: str) -> Event | None:
        """The event of that id, cancelled ones included, as it is now, or None. Any text is a valid question."""

    @abstractmethod
    def replace(self, old: Event, new: Event) -> Event:
        """Puts `new`, of the same id, in the place of `old`, which is not cancelled, and returns it as it is kept.

        `new` may be cancelled, and may have another time. Durable and atomic: see the fence. Raises `Changed`, and
        changes nothing, where what is kept is not `old` any more, or was never kept, or somebody else is changing it;
        `MinuteClosed`, and changes nothing, where the minute of either is closed, or a reopening has skipped `old`.
        """

    @abstractmethod
    def close_minute(self, minute: int) -> Record:
        """Raises `closed` to `minute`, durably, and returns the record after that; never lowers it. Atomic.

        When it returns, no `replace` that is under way will change what is due up to `closed`.
        """

    @abstractmethod
    def set_delivered(self, log: str, minute: int) -> None:
        """Raises `delivered` to `minute` in the log of that id; never lowers it; nothing where the log is another."""

    @abstractmethod
    def reopen(self, log: str, now: int) -> Record:
        """Reopens a log whose `closed` lies in the future because a clock was wrong, and returns the record after it.

        Events in `(now, closed]` are marked `delivered: true`, then `opened = closed = delivered = now` and `purged`
        at most `now`, under a new `log` id. Does nothing where `closed` is not after `now`.
        Of several servers that call it for the same `log` one does it (compare-and-set on `log`) and all get the
        resulting record. The marks are set before the record changes, so that a crash in between is repaired by
        the next call.
        """

    @abstractmethod
    def purge(self, before: int) -> int:
        """Deletes what is due up to `before`, or up to `delivered` where that is less; returns how many entries.

        An event that has moved to a later time is still found by its id. With its last entry goes a series that has
        ended and was made up to then. `purged` is raised first, so that no reader is told that a gap is complete.
        Deletes in portions.
        """

    @abstractmethod
    def read(
        self, after: Place, until: Place, limit: int, channels: Channels = None, cancelled: bool = False
    ) -> Sequence[Event]:
        """The first `limit` (1 or more) events with `after < place <= until`, in the log's order; where `cancelled` is
        asked for, those that were cancelled, too.

        Cost: O(limit), by the index, where all of them are seen.
        """

    @abstractmethod
    def count(self, after: Place, until: Place, limit: int, channels: Channels = None) -> int:
        """How many events `read` would find, counted up to `limit`."""

    @abstractmethod
    def before(self, after: Place, until: Place, count: int, channels: Channels = None) -> Place:
        """The place such that just the newest `count` events in `(after, until]` lie behind it.

        `after` itself where there are no more than `count`.
        """

    # -- series: not entries of the log, but what makes them ------------------------------------------------------

    @abstractmethod
    def add_series(self, series: Series) -> Series:
        """Keeps a new series, durably, and returns it; where there is one of that id already, returns that one."""

    @abstractmethod
    def get_series(self, id: str) -> Series | None:
        """The series of that id, or None. Any text is a valid question."""

    @abstractmethod
    def replace_series(self, old: Series, new: Series) -> None:
        """Puts `new`, of the same id, in the place of `old`; atomic, durable.

        Raises `Changed` where what is kept is not `old` any more.
        """

    @abstractmethod
    def replace_all_series(self, changes: Sequence[tuple[Series, Series]]) -> Sequence[bool]:
        """Replaces several series, each as `replace_series` does, together; whether it did, in their order."""

    @abstractmethod
    def series_due(self, minute: int, limit: int) -> Sequence[Series]:
        """The first `limit` series that have not ended and whose occurrences are made up to `minute` at most, those
        furthest behind first. Cost: O(limit), by an index; next to nothing where there are none."""

    @abstractmethod
    def list_series(self, after: str, limit: int, channels: Channels = None, ended: bool = False) -> Sequence[Series]:
        """The first `limit` series that have not ended with an id after that one, in the order of their ids; where
        `ended` is asked for, those that have ended, too."""

    @abstractmethod
    def occurrences(self, series: str, after: int, limit: int) -> Sequence[Event]:
        """The first `limit` events of that series that are due after `after` (ms, UTC), of those that readers see, in
        the log's order. Cost: O(limit), by an index on the series."""


def open_store(url: str, run: Run) -> Store:
    """The store for `url` (`sqlite:///path`, `mongodb://...`, `mongodb+srv://...`), not yet opened.

    `run` is where a store does blocking file I/O. Raises `ConfigError` for a url of another kind; the text never
    repeats the url, which may hold a password.
    """
    scheme = url.partition(':')[0]
    if scheme == 'sqlite':
        from reminder.models.sqlite import SqliteStore  # imported here so that each store loads only its driver

        return SqliteStore(url, run)
    if scheme in ('mongodb', 'mongodb+srv'):
        from reminder.models.mongo import MongoStore

        return MongoStore(url)
    raise ConfigError("DATABASE_URL must begin with 'sqlite:///', 'mongodb://' or 'mongodb+srv://'")

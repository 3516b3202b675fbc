"""The contract that every store keeps.

A store holds one log of events, ordered by `(time, id)`, and the log's record. Its verbs block the caller (a greenlet
in the server, a thread elsewhere) and may be called by many at once. Every verb raises `StoreUnavailable` when the
database does not answer within about 5 s, refuses or fails, with a text that holds no credentials; an event whose
`add` ended so may or may not have been kept, all other verbs can simply be called again. Instants are milliseconds
since 1970, UTC.

**The fence.** `add` returns only if the event's minute was still open (`time > closed`) after the event was
durable. So whoever closes a minute and reads it after that sees every event of that minute that anybody was told
was kept, on any number of servers and whatever their clocks say; nothing has to be read twice.

**What a reader sees.** `read`, `count` and `before` leave out events marked `delivered: true` (the ones that a
reopening skipped) and documents that are no events (no date in `time`). Events that other programs wrote into the
collection are read like our own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from reminder.errors import ConfigError
from reminder.models.event import Event, Place, Record

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
    def add(self, event: Event) -> None:
        """Keeps a new event, durably (majority and journal; fsync). Concurrent calls share one commit.

        Raises `MinuteClosed`, and keeps nothing, where the fence was down.
        """

    @abstractmethod
    def get(self, id: str) -> Event | None:
        """The event of that id, or None. Any text is a valid question."""

    @abstractmethod
    def close_minute(self, minute: int) -> Record:
        """Raises `closed` to `minute`, durably, and returns the record after that; never lowers it. Atomic."""

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
        """Deletes what is due up to `before`, or up to `delivered` where that is less; returns how many events.

        `purged` is raised first, so that no reader is told that a gap is complete. Deletes in portions.
        """

    @abstractmethod
    def read(self, after: Place, until: Place, limit: int) -> Sequence[Event]:
        """The first `limit` (1 or more) events with `after < place <= until`, in the log's order.

        Cost: O(limit), by the index.
        """

    @abstractmethod
    def count(self, after: Place, until: Place, limit: int) -> int:
        """How many events `read` would find, counted up to `limit`."""

    @abstractmethod
    def before(self, after: Place, until: Place, count: int) -> Place:
        """The place such that just the newest `count` events in `(after, until]` lie behind it.

        `after` itself where there are no more than `count`.
        """


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

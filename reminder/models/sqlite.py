"""The SQLite store: one file in WAL mode, which several processes may share.

Each of its two connections, one that writes and one that reads, serves one caller at a time and does its file I/O in
`run`. Every verb that writes is one transaction, so what the contract calls atomic is so across processes as well.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from reminder.errors import ConfigError, StoreUnavailable
from reminder.models import sqlite_work as work
from reminder.models.event import Event, Place, Record, Series
from reminder.models.group import GroupCommit
from reminder.models.sqlite_work import EVENT, SERIES, as_event, as_series, connect, transaction
from reminder.models.store import Channels, Run, Store

T = TypeVar('T')

BATCH = 1_000
"""Events that share a commit, or are deleted by one, at most."""
BUSY_TIMEOUT = 4.0
"""How long (s) to wait for other processes that write."""

_SPAN = '(time, id) > (?, ?) AND (time, id) <= (?, ?) AND NOT delivered'
_BETWEEN = f'{_SPAN} AND NOT cancelled'


class SqliteStore(Store):
    """The contract of `Store` over one SQLite file."""

    def __init__(self, url: str, run: Run) -> None:
        """`url` is `sqlite:///relative/path` or `sqlite:////absolute/path`. Raises ConfigError for any other."""
        path = _path(url)
        self._writer = _Connection(path, run)
        self._reader = _Connection(path, run)
        self._adding = GroupCommit(self._insert, BATCH)
        self._asking = GroupCommit(self._answer, BATCH)
        self._changing = GroupCommit(self._change_all, BATCH)

    def open(self, now: int) -> Record:
        self._writer.open()
        record = self._write(work.prepare, now)
        self._reader.open()
        return record

    def close(self) -> None:
        self._reader.close()
        self._writer.close()  # as the last one it moves the WAL's content into the file

    def record(self) -> Record:
        record: Record = self._asking.add((work.record, ()))
        return record

    def clock_offset(self, now: int) -> int:
        return 0

    def add(self, event: Event) -> Event:
        return self._adding.add(event)

    def add_all(self, events: Sequence[Event]) -> Sequence[Event | Exception]:
        return self._adding.add_all(events) if events else ()

    def _insert(self, events: list[Event]) -> Sequence[Event | Exception]:
        return self._write(work.insert, events)

    def get(self, id: str) -> Event | None:
        rows = self._query(f'SELECT {EVENT} FROM events WHERE id = ?', _storable(id))
        return as_event(rows[0]) if rows else None

    def replace(self, old: Event, new: Event) -> Event:
        return self._change(work.replace, old, new)

    def close_minute(self, minute: int) -> Record:
        return self._change(work.change, 'UPDATE log SET closed = max(closed, ?)', minute)

    def set_delivered(self, log: str, minute: int) -> None:
        self._change(work.change, 'UPDATE log SET delivered = max(delivered, ?) WHERE log = ?', minute, log)

    def reopen(self, log: str, now: int) -> Record:
        return self._write(work.reopen, log, now)

    def purge(self, before: int) -> int:
        deleted = self._in_portions(work.purge, before)
        self._in_portions(work.purge_series, before)
        return deleted

    def _in_portions(self, delete: Callable[..., int], before: int) -> int:
        deleted = portion = self._write(delete, before, BATCH)
        while portion == BATCH:
            portion = self._write(delete, before, BATCH)
            deleted += portion
        return deleted

    def read(
        self, after: Place, until: Place, limit: int, channels: Channels = None, cancelled: bool = False
    ) -> Sequence[Event]:
        seen, names = _in_channels(channels)
        query = f'SELECT {EVENT} FROM events WHERE {_SPAN if cancelled else _BETWEEN}{seen} ORDER BY time, id LIMIT ?'
        return [as_event(row) for row in self._query(query, *after, *until, *names, limit)]

    def count(self, after: Place, until: Place, limit: int, channels: Channels = None) -> int:
        seen, names = _in_channels(channels)
        query = f'SELECT count(*) FROM (SELECT 1 FROM events WHERE {_BETWEEN}{seen} LIMIT ?)'
        return int(self._query(query, *after, *until, *names, limit)[0][0])

    def before(self, after: Place, until: Place, count: int, channels: Channels = None) -> Place:
        seen, names = _in_channels(channels)
        query = f'SELECT time, id FROM events WHERE {_BETWEEN}{seen} ORDER BY time DESC, id DESC LIMIT 1 OFFSET ?'
        rows = self._query(query, *after, *until, *names, count)
        return Place(*rows[0]) if rows else after

    def add_series(self, series: Series) -> Series:
        return self._change(work.insert_series, series)

    def get_series(self, id: str) -> Series | None:
        rows = self._query(f'SELECT {SERIES} FROM series WHERE id = ?', _storable(id))
        return as_series(rows[0]) if rows else None

    def replace_series(self, old: Series, new: Series) -> None:
        self._change(work.replace_series, old, new)

    def replace_all_series(self, changes: Sequence[tuple[Series, Series]]) -> Sequence[bool]:
        return self._change(work.replace_all_series, changes)

    def series_due(self, minute: int, limit: int) -> Sequence[Series]:
        query = f'SELECT {SERIES} FROM series WHERE made <= ? AND NOT ended ORDER BY made LIMIT ?'
        return [as_series(row) for row in self._query(query, minute, limit)]

    def list_series(self, after: str, limit: int, channels: Channels = None, ended: bool = False) -> Sequence[Series]:
        seen, names = _in_channels(channels)
        lasting = '' if ended else ' AND NOT ended'
        query = f'SELECT {SERIES} FROM series WHERE id > ?{lasting}{seen} ORDER BY id LIMIT ?'
        return [as_series(row) for row in self._query(query, _storable(after), *names, limit)]

    def occurrences(self, series: str, after: int, limit: int) -> Sequence[Event]:
        pending = 'series = ? AND time > ? AND NOT delivered AND NOT cancelled'
        query = f'SELECT {EVENT} FROM events WHERE {pending} ORDER BY time, id LIMIT ?'
        return [as_event(row) for row in self._query(query, _storable(series), after, limit)]

    def _query(self, sql: str, *values: int | str) -> list[Any]:
        rows: list[Any] = self._asking.add((work.rows, (sql, values)))
        return rows

    def _answer(self, questions: list[work.Task]) -> Sequence[Any]:
        """Answers all who ask meanwhile in one go: a trip of its own for each takes a turn of a busy hub, so that the
        questions of many would keep the minute's own waiting."""
        return self._reader.call(work.answer, questions)

    def _change(self, work: Callable[..., T], *args: Any) -> T:
        """What `work(connection, *args)` returns, in a transaction that it may share: it raises only before it writes.

        A transaction of its own for each would have the closing of a minute wait behind all that is to be changed.
        """
        result: T = self._changing.add((work, args))
        return result

    def _change_all(self, changes: list[work.Task]) -> Sequence[Any]:
        return self._write(work.change_all, changes)

    def _write(self, work: Callable[..., T], *args: Any) -> T:
        """What `work(connection, *args)` returns, in a transaction of its own."""
        result: T = self._writer.call(transaction, work, *args)
        return result


class _Connection:
    """A connection that is used by one caller at a time, and only within `run`. SQLite's failures become ours."""

    def __init__(self, path: Path, run: Run) -> None:
        self._path = path
        self._run = run
        self._lock = Lock()
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        with self._lock, self._failures():
            if self._db is None:
                self._db = self._run(connect, self._path, BUSY_TIMEOUT)

    def call(self, work: Callable[..., T], *args: Any) -> T:
        """What `work(connection, *args)` returns."""
        with self._lock, self._failures():
            if self._db is None:
                raise sqlite3.ProgrammingError('the store is not open')
            result: T = self._run(work, self._db, *args)
            return result

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            db, self._db = self._db, None
            if db is not None:
                self._run(db.close)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailable(f'{self._path}: {error}') from error
        except OSError as error:
            raise StoreUnavailable(f'{self._path}: {error.strerror}') from error


def _path(url: str) -> Path:
    path = url.removeprefix('sqlite:///')
    if path in ('', url, ':memory:') or '?' in path:
        raise ConfigError('DATABASE_URL must name a file: sqlite:///relative/path or sqlite:////absolute/path')
    return Path(path).absolute()


def _storable(text: str) -> str:
    """`text` without halves of surrogate pairs, which SQLite refuses; no id has any."""
    return text.encode(errors='replace').decode()


def _in_channels(channels: Channels) -> tuple[str, list[str]]:
    """A further condition of a query for what has none but these channels, and its values."""
    if channels is None:
        return '', []
    names = sorted(map(_storable, channels))
    return f' AND (channel IS NULL OR channel IN ({", ".join("?" * len(names))}))', names

"""The SQLite store: one file in WAL mode, which several processes may share.

Each of its two connections, one that writes and one that reads, serves one caller at a time and does its file I/O in
`run`. Every verb that writes is one transaction, so what the contract calls atomic is so across processes as well.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, TypeVar

from reminder.errors import ConfigError, MinuteClosed, StoreUnavailable
from reminder.models.event import Event, Place, Record, iso
from reminder.models.group import GroupCommit
from reminder.models.store import Run, Store

T = TypeVar('T')

BATCH = 1_000
"""Events that share a commit, or are deleted by one, at most."""
BUSY_TIMEOUT = 4.0
"""How long (s) to wait for other processes that write."""

VERSION = 1
_SCHEMA = (
    # The primary key is the table itself, so reading on from a place walks along one tree.
    """CREATE TABLE events (
        time INTEGER NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        local_time TEXT,
        zone TEXT,
        delivered INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (time, id)
    ) WITHOUT ROWID""",
    'CREATE UNIQUE INDEX events_id ON events (id)',
    """CREATE TABLE log (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        log TEXT NOT NULL,
        opened INTEGER NOT NULL,
        closed INTEGER NOT NULL,
        delivered INTEGER NOT NULL,
        purged INTEGER NOT NULL
    )""",
)
_BETWEEN = '(time, id) > (?, ?) AND (time, id) <= (?, ?) AND NOT delivered'


class SqliteStore(Store):
    """The contract of `Store` over one SQLite file."""

    def __init__(self, url: str, run: Run) -> None:
        """`url` is `sqlite:///relative/path` or `sqlite:////absolute/path`. Raises ConfigError for any other."""
        path = _path(url)
        self._writer = _Connection(path, run)
        self._reader = _Connection(path, run)
        self._adding = GroupCommit(self._insert, BATCH)

    def open(self, now: int) -> Record:
        self._writer.open()
        record = self._write(_prepare, now)
        self._reader.open()
        return record

    def close(self) -> None:
        self._reader.close()
        self._writer.close()  # as the last one it moves the WAL's content into the file

    def record(self) -> Record:
        return self._reader.call(_record)

    def clock_offset(self, now: int) -> int:
        return 0

    def add(self, event: Event) -> None:
        self._adding.add(event)

    def _insert(self, events: list[Event]) -> Sequence[Exception | None]:
        return self._write(_insert, events)

    def get(self, id: str) -> Event | None:
        rows = self._query('SELECT id, name, time, local_time, zone FROM events WHERE id = ?', _storable(id))
        return Event(*rows[0]) if rows else None

    def close_minute(self, minute: int) -> Record:
        return self._write(_change, 'UPDATE log SET closed = max(closed, ?)', minute)

    def set_delivered(self, log: str, minute: int) -> None:
        self._write(_change, 'UPDATE log SET delivered = max(delivered, ?) WHERE log = ?', minute, log)

    def reopen(self, log: str, now: int) -> Record:
        return self._write(_reopen, log, now)

    def purge(self, before: int) -> int:
        deleted = portion = self._write(_purge, before)
        while portion == BATCH:
            portion = self._write(_purge, before)
            deleted += portion
        return deleted

    def read(self, after: Place, until: Place, limit: int) -> Sequence[Event]:
        rows = self._query(
            f'SELECT id, name, time, local_time, zone FROM events WHERE {_BETWEEN} ORDER BY time, id LIMIT ?',
            *after,
            *until,
            limit,
        )
        return [Event(*row) for row in rows]

    def count(self, after: Place, until: Place, limit: int) -> int:
        rows = self._query(
            f'SELECT count(*) FROM (SELECT 1 FROM events WHERE {_BETWEEN} LIMIT ?)', *after, *until, limit
        )
        return int(rows[0][0])

    def before(self, after: Place, until: Place, count: int) -> Place:
        rows = self._query(
            f'SELECT time, id FROM events WHERE {_BETWEEN} ORDER BY time DESC, id DESC LIMIT 1 OFFSET ?',
            *after,
            *until,
            count,
        )
        return Place(*rows[0]) if rows else after

    def _query(self, sql: str, *values: int | str) -> list[Any]:
        return self._reader.call(_rows, sql, values)

    def _write(self, work: Callable[..., T], *args: Any) -> T:
        result: T = self._writer.call(_transaction, work, *args)
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
                self._db = self._run(_connect, self._path)

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


# -- what is done within `run` ----------------------------------------------------------------------------------


def _connect(path: Path) -> sqlite3.Connection:
    with suppress(FileExistsError):
        path.touch(0o600, exist_ok=False)  # SQLite gives the files beside it the same mode
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _switch_to_wal(db, attempts=10)
        db.execute('PRAGMA synchronous = FULL')
    except BaseException:
        db.close()
        raise
    return db


def _switch_to_wal(db: sqlite3.Connection, attempts: int) -> None:
    try:
        db.execute('PRAGMA journal_mode = WAL')
    except sqlite3.OperationalError:
        if attempts == 1:
            raise
        # Of processes that switch a new file at once some get 'locked' without the usual wait. A lock is waited for.
        db.execute('BEGIN EXCLUSIVE')
        db.execute('ROLLBACK')
        _switch_to_wal(db, attempts - 1)


def _transaction(db: sqlite3.Connection, work: Callable[..., T], *args: Any) -> T:
    db.execute('BEGIN IMMEDIATE')
    with db:  # commits or rolls back
        return work(db, *args)


def _rows(db: sqlite3.Connection, sql: str, values: Sequence[int | str]) -> list[Any]:
    return db.execute(sql, values).fetchall()


def _record(db: sqlite3.Connection) -> Record:
    return Record(*db.execute('SELECT log, opened, closed, delivered, purged FROM log').fetchone())


def _prepare(db: sqlite3.Connection, now: int) -> Record:
    (version,) = db.execute('PRAGMA user_version').fetchone()
    if version > VERSION:
        raise sqlite3.NotSupportedError(f'its version is {version}, which only a later release can read')
    if version == 0:
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute('INSERT INTO log VALUES (1, ?, ?, ?, ?, ?)', (token_hex(8), now, now, now, now))
        db.execute(f'PRAGMA user_version = {VERSION}')
    return _record(db)


def _insert(db: sqlite3.Connection, events: list[Event]) -> Sequence[Exception | None]:
    closed = _record(db).closed
    db.executemany(
        'INSERT INTO events (id, name, time, local_time, zone) VALUES (?, ?, ?, ?, ?)',
        [(event.id, event.name, event.time, event.local_time, event.zone) for event in events if event.time > closed],
    )
    return [None if event.time > closed else MinuteClosed(f'{iso(event.time)} is closed') for event in events]


def _change(db: sqlite3.Connection, sql: str, *values: int | str) -> Record:
    db.execute(sql, values)
    return _record(db)


def _reopen(db: sqlite3.Connection, log: str, now: int) -> Record:
    record = _record(db)
    if record.log != log or record.closed <= now:
        return record
    db.execute('UPDATE events SET delivered = 1 WHERE time > ? AND time <= ?', (now, record.closed))
    change = 'UPDATE log SET log = ?, opened = ?, closed = ?, delivered = ?, purged = min(purged, ?)'
    return _change(db, change, token_hex(8), now, now, now, now)


def _purge(db: sqlite3.Connection, before: int) -> int:
    until = min(before, _record(db).delivered)
    db.execute('UPDATE log SET purged = max(purged, ?)', (until,))
    portion = 'SELECT time, id FROM events WHERE time <= ? ORDER BY time, id LIMIT ?'
    return db.execute(f'DELETE FROM events WHERE (time, id) IN ({portion})', (until, BATCH)).rowcount


def _path(url: str) -> Path:
    path = url.removeprefix('sqlite:///')
    if path in ('', url, ':memory:') or '?' in path:
        raise ConfigError('DATABASE_URL must name a file: sqlite:///relative/path or sqlite:////absolute/path')
    return Path(path).absolute()


def _storable(text: str) -> str:
    """`text` without halves of surrogate pairs, which SQLite refuses; no id has any."""
    return text.encode(errors='replace').decode()

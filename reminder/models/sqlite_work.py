"""What the SQLite store does within its connections: its tables, rows, and the work of each transaction."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from reminder.errors import Changed, MinuteClosed
from reminder.models.event import Event, Record, Series, iso

T = TypeVar('T')

_VERSIONS = (
    (
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
    ),
    (
        *(
            f'ALTER TABLE events ADD COLUMN {name} TEXT'
            for name in ('channel', 'payload', 'series', 'owner', 'request')
        ),
        'ALTER TABLE events ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0',
        'CREATE INDEX events_series ON events (series, time, id) WHERE series IS NOT NULL',
        """CREATE TABLE series (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            repeat TEXT NOT NULL,
            local_time TEXT NOT NULL,
            zone TEXT NOT NULL,
            made INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            channel TEXT,
            payload TEXT,
            owner TEXT,
            request TEXT,
            ended INTEGER NOT NULL
        ) WITHOUT ROWID""",
        'CREATE INDEX series_made ON series (made) WHERE NOT ended',
    ),
    ('CREATE INDEX series_ended ON series (made) WHERE ended',),
)
"""What makes a file of each version from one of the version before."""


_EVENT = [field.name for field in fields(Event) if field.name != 'entry']
_SERIES = [field.name for field in fields(Series)]
_event_row = attrgetter(*_EVENT)
_series_row = attrgetter(*_SERIES)

Task = tuple[Callable[..., Any], tuple[Any, ...]]
"""What is called with a connection, and its further arguments."""

EVENT = ', '.join(_EVENT)
"""The columns of an event, as `as_event` takes them."""
SERIES = ', '.join(_SERIES)
"""The columns of a series, as `as_series` takes them."""
_EVENT_VALUES = ', '.join('?' * len(_EVENT))
_SERIES_VALUES = ', '.join('?' * len(_SERIES))


def as_event(row: tuple[Any, ...]) -> Event:
    values = [*row[:-1], bool(row[-1])]
    return Event(*values)


def as_series(row: tuple[Any, ...]) -> Series:
    values = [*row[:-1], bool(row[-1])]
    return Series(*values)


# -- connections ------------------------------------------------------------------------------------------------


def connect(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection to the file, which is made where it is missing. `timeout`: see `BUSY_TIMEOUT`."""
    with suppress(FileExistsError):
        path.touch(0o600, exist_ok=False)  # SQLite gives the files beside it the same mode
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
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


def transaction(db: sqlite3.Connection, work: Callable[..., T], *args: Any) -> T:
    """What `work(db, *args)` returns; if it raises, nothing of it is kept."""
    db.execute('BEGIN IMMEDIATE')
    with db:  # commits or rolls back
        return work(db, *args)


def answer(db: sqlite3.Connection, questions: Sequence[Task]) -> Sequence[Any]:
    """The answers to questions, in their order; the same question is asked once."""
    answers = {question: question[0](db, *question[1]) for question in dict.fromkeys(questions)}
    return [answers[question] for question in questions]


def change_all(db: sqlite3.Connection, tasks: Sequence[Task]) -> Sequence[Any]:
    """What comes of several changes, in their order; what a change raises that comes to nothing is its outcome."""
    outcomes: list[Any] = []
    for task, args in tasks:
        try:
            outcomes.append(task(db, *args))
        except (Changed, MinuteClosed) as error:
            outcomes.append(error)
    return outcomes


def rows(db: sqlite3.Connection, sql: str, values: Sequence[int | str]) -> list[Any]:
    """What a query finds."""
    return db.execute(sql, values).fetchall()


def record(db: sqlite3.Connection) -> Record:
    """The log's record."""
    return Record(*db.execute('SELECT log, opened, closed, delivered, purged FROM log').fetchone())


# -- transactions: see the verbs of the same names in the store's contract ----------------------------------------


def prepare(db: sqlite3.Connection, now: int) -> Record:
    (version,) = db.execute('PRAGMA user_version').fetchone()
    if version > len(_VERSIONS):
        raise sqlite3.NotSupportedError(f'its version is {version}, which only a later release can read')
    for statements in _VERSIONS[version:]:
        for statement in statements:
            db.execute(statement)
    if version == 0:
        db.execute('INSERT INTO log VALUES (1, ?, ?, ?, ?, ?)', (token_hex(8), now, now, now, now))
    if version < len(_VERSIONS):
        db.execute(f'PRAGMA user_version = {len(_VERSIONS)}')
    return record(db)


def change(db: sqlite3.Connection, sql: str, *values: int | str) -> Record:
    """Changes the record, and returns it."""
    db.execute(sql, values)
    return record(db)


def insert(db: sqlite3.Connection, events: list[Event]) -> Sequence[Event | Exception]:
    closed = record(db).closed
    statement = f'INSERT INTO events ({EVENT}) VALUES ({_EVENT_VALUES}) ON CONFLICT DO NOTHING'
    inserted = db.executemany(statement, [_event_row(event) for event in events if event.time > closed])
    if inserted.rowcount == len(events):
        return events
    return [_find(db, event.id) or MinuteClosed(f'{iso(event.time)} is closed') for event in events]


def replace(db: sqlite3.Connection, old: Event, new: Event) -> Event:
    if _find(db, old.id) != old:
        raise Changed(f'{old.id} is not what it was')
    (skipped,) = db.execute('SELECT delivered FROM events WHERE id = ?', (old.id,)).fetchone()
    earliest = min(old.time, new.time)
    if skipped or earliest <= record(db).closed:
        raise MinuteClosed(f'{iso(earliest)} is closed')
    db.execute(f'UPDATE events SET ({EVENT}) = ({_EVENT_VALUES}) WHERE id = ?', (*_event_row(new), old.id))
    return new


def _find(db: sqlite3.Connection, id: str) -> Event | None:
    found = db.execute(f'SELECT {EVENT} FROM events WHERE id = ?', (id,)).fetchone()
    return as_event(found) if found else None


def reopen(db: sqlite3.Connection, log: str, now: int) -> Record:
    before = record(db)
    if before.log != log or before.closed <= now:
        return before
    db.execute('UPDATE events SET delivered = 1 WHERE time > ? AND time <= ?', (now, before.closed))
    renewed = 'UPDATE log SET log = ?, opened = ?, closed = ?, delivered = ?, purged = min(purged, ?)'
    return change(db, renewed, token_hex(8), now, now, now, now)


def purge(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Deletes `limit` events at most."""
    until = min(before, record(db).delivered)
    db.execute('UPDATE log SET purged = max(purged, ?)', (until,))
    portion = 'SELECT time, id FROM events WHERE time <= ? ORDER BY time, id LIMIT ?'
    return db.execute(f'DELETE FROM events WHERE (time, id) IN ({portion})', (until, limit)).rowcount


def purge_series(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Deletes `limit` series at most."""
    until = min(before, record(db).delivered)
    entry = 'SELECT 1 FROM events WHERE events.series = series.id'
    portion = f'SELECT id FROM series WHERE ended AND made <= ? AND NOT EXISTS ({entry}) LIMIT ?'
    return db.execute(f'DELETE FROM series WHERE id IN ({portion})', (until, limit)).rowcount


def insert_series(db: sqlite3.Connection, series: Series) -> Series:
    statement = f'INSERT INTO series ({SERIES}) VALUES ({_SERIES_VALUES}) ON CONFLICT DO NOTHING'
    db.execute(statement, _series_row(series))
    return as_series(db.execute(f'SELECT {SERIES} FROM series WHERE id = ?', (series.id,)).fetchone())


def replace_series(db: sqlite3.Connection, old: Series, new: Series) -> None:
    if not _replaced(db, old, new):
        raise Changed(f'{old.id} is not what it was')


def replace_all_series(db: sqlite3.Connection, changes: Sequence[tuple[Series, Series]]) -> Sequence[bool]:
    return [_replaced(db, old, new) for old, new in changes]


def _replaced(db: sqlite3.Connection, old: Series, new: Series) -> bool:
    statement = f'UPDATE series SET ({SERIES}) = ({_SERIES_VALUES}) WHERE ({SERIES}) IS ({_SERIES_VALUES})'
    return db.execute(statement, (*_series_row(new), *_series_row(old))).rowcount > 0

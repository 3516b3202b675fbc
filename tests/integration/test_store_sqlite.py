"""What is particular to the SQLite store: its file, where it does I/O, several processes, query plans, faults."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from reminder.errors import StoreUnavailable
from reminder.models import sqlite
from reminder.models.event import MINUTE, Event, Place, Record
from reminder.models.sqlite import SqliteStore
from reminder.models.store import Channels
from tests.integration.test_store import END, NOW, START, all_of, at_once, event, run
from tests.integration.test_store_changes import series


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'events.db'


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(f'sqlite:///{path}', run)
    store.open(NOW)
    yield store
    store.close()


def writing(store: SqliteStore, sql: str) -> Any:
    """What a statement answers on the connection that writes."""
    return store._writer.call(lambda db: db.execute(sql).fetchone()[0])


class TestFile:
    def test_a_relative_path_is_one_of_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        store = SqliteStore('sqlite:///my events.db', run)
        monkeypatch.chdir('/')
        store.open(NOW)
        store.close()
        assert (tmp_path / 'my events.db').exists()

    def test_it_is_for_its_owner_alone(self, store: SqliteStore, path: Path) -> None:
        store.add(event(1))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(['events.db', 'events.db-wal', 'events.db-shm'], 0o600)

    def test_the_mode_of_a_file_that_exists_is_left_alone(self, store: SqliteStore, path: Path) -> None:
        path.chmod(0o640)
        store.close()
        store.open(NOW)
        assert path.stat().st_mode & 0o777 == 0o640

    def test_it_is_one_file_after_closing(self, store: SqliteStore, path: Path) -> None:
        store.add(event(1))
        store.close()
        assert list(path.parent.iterdir()) == [path]

    def test_commits_reach_the_disk_before_they_are_acknowledged(self, store: SqliteStore) -> None:
        full = 2
        assert writing(store, 'PRAGMA journal_mode') == 'wal'
        assert writing(store, 'PRAGMA synchronous') == full

    def test_its_clock_is_ours(self, store: SqliteStore) -> None:
        assert store.clock_offset(12345) == 0


VERSION_1 = f"""
    PRAGMA journal_mode = WAL;
    CREATE TABLE events (
        time INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, local_time TEXT, zone TEXT,
        delivered INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (time, id)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX events_id ON events (id);
    CREATE TABLE log (
        only INTEGER PRIMARY KEY CHECK (only = 1), log TEXT NOT NULL, opened INTEGER NOT NULL,
        closed INTEGER NOT NULL, delivered INTEGER NOT NULL, purged INTEGER NOT NULL
    );
    INSERT INTO events VALUES ({NOW + MINUTE}, 'a', 'tea', '2027-01-15 08:01', 'Europe/Berlin', 0);
    INSERT INTO events VALUES ({NOW + MINUTE}, 'b', 'passed over', NULL, NULL, 1);
    INSERT INTO events VALUES ({NOW + 2 * MINUTE}, 'c', 'coffee', NULL, NULL, 0);
    INSERT INTO log VALUES (1, 'fedcba9876543210', 1, {NOW}, 2, 3);
    PRAGMA user_version = 1;
"""
"""What the first release has left."""


class TestVersions:
    @pytest.fixture
    def old(self, path: Path) -> Path:
        db = sqlite3.connect(path)
        db.executescript(VERSION_1)
        db.close()
        return path

    def test_a_file_of_the_first_version_is_read_and_used(self, old: Path) -> None:
        # Given a store that opens such a file
        store = SqliteStore(f'sqlite:///{old}', run)
        record = store.open(NOW + MINUTE)

        # Then all is as it was, and can be changed
        assert record == Record('fedcba9876543210', opened=1, closed=NOW, delivered=2, purged=3)
        tea = Event('a', 'tea', NOW + MINUTE, '2027-01-15 08:01', 'Europe/Berlin')
        assert all_of(store) == [tea, Event('c', 'coffee', NOW + 2 * MINUTE)]
        now = store.replace(tea, replace(tea, channel='a', time=NOW + 3 * MINUTE))
        assert store.read(START, END, 10, frozenset('a'))[1:] == [now]
        store.close()

        # When it is opened again / Then it is of the present version
        assert store.open(NOW) == record
        assert all_of(store)[1:] == [now]
        store.close()

    def test_a_file_that_cannot_be_brought_up_to_date_is_left_as_it_was(self, old: Path) -> None:
        # Given a file in which the last thing to be made is there already
        db = sqlite3.connect(old)
        db.execute('CREATE TABLE series (x)')
        store = SqliteStore(f'sqlite:///{old}', run)
        # When it cannot be opened
        with pytest.raises(StoreUnavailable, match='table series already exists'):
            store.open(NOW)
        # Then nothing of it has changed
        assert db.execute('PRAGMA user_version').fetchone() == (1,)
        assert len(db.execute('PRAGMA table_info(events)').fetchall()) == 6
        db.close()
        store.close()

    def test_processes_that_bring_it_up_to_date_at_once_do_it_once(self, old: Path) -> None:
        stores = [SqliteStore(f'sqlite:///{old}', run) for _ in range(4)]
        records = at_once(*(lambda store=store: store.open(NOW) for store in stores))
        assert len(set(records)) == 1
        assert all(len(all_of(store)) == 2 for store in stores)
        for store in stores:
            store.close()


class TestRun:
    def test_all_file_io_is_done_within_run(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given connections that are watched, and a `run` that can be seen
        inside = False
        outside: list[str] = []

        class Watched(sqlite3.Connection):
            def __getattribute__(self, name: str) -> Any:
                if not inside:
                    outside.append(name)
                return super().__getattribute__(name)

        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, 'connect', lambda *args, **kwargs: connect(*args, factory=Watched, **kwargs))

        def watching(function: Callable[..., Any], *args: Any) -> Any:
            nonlocal inside
            inside = True
            try:
                return function(*args)
            finally:
                inside = False

        # When every verb is used
        store = SqliteStore(f'sqlite:///{path}', watching)
        log = store.open(NOW).log
        old = store.add(event(1))
        store.replace(old, replace(old, name='coffee'))
        store.get('x')
        kept = store.add_series(series(1))
        store.replace_series(kept, kept)
        store.get_series('x')
        store.series_due(NOW, 10)
        store.list_series('', 10)
        store.occurrences('x', NOW, 10)
        store.read(START, END, 10)
        store.count(START, END, 10)
        store.before(START, END, 10)
        store.close_minute(NOW + MINUTE)
        store.set_delivered(store.record().log, NOW)
        store.purge(NOW)
        store.reopen(log, NOW)
        store.close()

        # Then nothing but handing it over was done with a connection elsewhere
        assert set(outside) <= {'close'}

    def test_other_greenlets_go_on_while_the_file_is_locked(self, store: SqliteStore, path: Path) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute('BEGIN IMMEDIATE')
        caller = gevent.spawn(store.add, event(1))
        for _ in range(20):
            gevent.sleep(0.005)
        assert not caller.ready()
        assert all_of(store) == []
        other.execute('COMMIT')
        other.close()
        caller.join(5)
        assert caller.exception is None
        assert len(all_of(store)) == 1


WRITER = """
import sys, threading
from reminder.models.event import Event, new_id
from reminder.models.store import open_store

now = int(sys.argv[2])
store = open_store(sys.argv[1], lambda function, *args: function(*args))
store.open(now)

def schedule():
    while True:
        event = Event(new_id(now), 'tea', now + 60_000)
        store.add(event)
        sys.stdout.write(f'{event.id}\\n')
        sys.stdout.flush()

for _ in range(4):
    threading.Thread(target=schedule).start()
"""


class TestProcesses:
    def test_a_process_that_is_killed_loses_nothing_that_was_acknowledged_nor_harms_another(
        self, store: SqliteStore, path: Path
    ) -> None:
        # Given another process, with threads of its own, that schedules into the same file as this one does
        for _ in range(3):
            command = [sys.executable, '-c', WRITER, f'sqlite:///{path}', str(NOW)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                acknowledged = [process.stdout.readline().strip()]
                ours = [event(1) for _ in range(50)]
                for each in ours:
                    store.add(each)
                acknowledged += [process.stdout.readline().strip() for _ in range(200)]

                # When it is killed in the midst of that
                process.send_signal(signal.SIGKILL)
                acknowledged += [line.strip() for line in process.stdout if line.endswith('\n')]

            # Then all that either was told is there, and the file is whole
            kept = {each.id for each in all_of(store)}
            assert kept >= {*acknowledged, *(each.id for each in ours)}
            assert writing(store, 'PRAGMA integrity_check') == 'ok'

    def test_processes_that_begin_at_once_end_up_with_the_same_record(self, path: Path) -> None:
        script = (
            'import sys; from reminder.models.store import open_store; sys.stdin.readline(); '
            'print(open_store(sys.argv[1], lambda function, *args: function(*args)).open(int(sys.argv[2])))'
        )
        processes = [
            subprocess.Popen(
                [sys.executable, '-c', script, f'sqlite:///{path}', str(NOW + number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(4)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write('go\n')
            process.stdin.flush()
        records = {process.communicate(timeout=30)[0] for process in processes}
        assert len(records) == 1
        assert 'Record' in records.pop()

    def test_a_process_waits_for_one_that_is_making_the_file(self, path: Path) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute('PRAGMA user_version = 0')
        other.execute('BEGIN IMMEDIATE')
        store = SqliteStore(f'sqlite:///{path}', run)
        caller = gevent.spawn(store.open, NOW)
        caller.join(0.1)
        assert not caller.ready()
        other.execute('ROLLBACK')
        other.close()
        caller.join(5)
        assert caller.exception is None
        store.close()


class TestQueryPlans:
    """Reading costs what is read, however much is kept."""

    @pytest.fixture
    def plans(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What SQLite is going to do for each query."""
        plans: list[str] = []
        query = store._query

        def explained(sql: str, *values: int | str) -> list[Any]:
            plans.extend(row[3] for row in query(f'EXPLAIN QUERY PLAN {sql}', *values))
            return query(sql, *values)

        monkeypatch.setattr(store, '_query', explained)
        return plans

    @pytest.mark.parametrize('channels', [None, frozenset('ab')])
    @pytest.mark.parametrize('verb', ['read', 'count', 'before'])
    def test_a_span_is_found_by_the_primary_key_and_needs_no_sorting(
        self, store: SqliteStore, plans: list[str], verb: str, channels: Channels
    ) -> None:
        getattr(store, verb)(Place(NOW, 'x'), Place(NOW + MINUTE, 'y'), 10, channels)
        (plan,) = (plan for plan in plans if 'events' in plan)
        assert plan.endswith('events USING PRIMARY KEY ((time,id)>(?,?) AND (time,id)<(?,?))')
        assert not any('TEMP B-TREE' in plan for plan in plans)

    def test_an_event_is_found_by_an_index(self, store: SqliteStore, plans: list[str]) -> None:
        store.get('x')
        (plan,) = plans
        assert plan.endswith('events USING INDEX events_id (id=?)')

    def test_series_that_are_due_and_occurrences_are_found_by_an_index_in_order(
        self, store: SqliteStore, plans: list[str]
    ) -> None:
        store.series_due(NOW, 10)
        store.list_series('x', 10)
        store.occurrences('x', NOW, 10)
        due, listed, occurrences = plans
        assert due.endswith('series USING INDEX series_made (made<?)')
        assert listed.endswith('series USING PRIMARY KEY (id>?)')
        assert occurrences.endswith('events USING INDEX events_series (series=? AND time>?)')


class TestFaults:
    @pytest.mark.parametrize(
        ('spoil', 'reason'),
        [
            (lambda path: path.parent.rmdir(), 'No such file or directory'),
            (lambda path: path.mkdir(), 'unable to open database file'),
            (lambda path: path.write_text('tea at five' * 1000), 'file is not a database'),
            (lambda path: sqlite3.connect(path).execute('PRAGMA user_version = 99').close(), 'version is 99'),
            (lambda path: sqlite3.connect(path).execute('CREATE TABLE events (x)').close(), 'already exists'),
        ],
        ids=['no folder', 'a folder', 'no database', 'of a later release', "another program's"],
    )
    def test_a_file_that_cannot_be_used_is_told_with_its_path_and_the_reason(
        self, path: Path, spoil: Callable[[Path], None], reason: str
    ) -> None:
        spoil(path)
        store = SqliteStore(f'sqlite:///{path}', run)
        with pytest.raises(StoreUnavailable) as raised:
            store.open(NOW)
        assert str(path) in str(raised.value)
        assert reason in str(raised.value)
        assert '\n' not in str(raised.value)
        store.close()

    def test_a_store_that_could_not_be_opened_opens_when_the_fault_is_mended(self, path: Path) -> None:
        path.mkdir()
        store = SqliteStore(f'sqlite:///{path}', run)
        with pytest.raises(StoreUnavailable):
            store.open(NOW)
        path.rmdir()
        assert store.open(NOW).closed == NOW
        store.close()

    def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(self, store: SqliteStore) -> None:
        # Given a file that may not grow
        small, large = event(1, 'small'), event(2, 'x' * 100_000)
        store.add(small)
        pages = writing(store, 'PRAGMA page_count')
        writing(store, f'PRAGMA max_page_count = {pages}')

        # When an event does not fit, then it is refused, and what is kept is still read
        with pytest.raises(StoreUnavailable, match='database or disk is full'):
            store.add(large)
        assert all_of(store) == [small]
        assert store.close_minute(NOW).closed == NOW

        # When there is room again, then it is kept
        writing(store, f'PRAGMA max_page_count = {pages + 100}')
        store.add(large)
        assert all_of(store) == [small, large]

    def test_a_file_that_another_process_does_not_let_go_of_is_told(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, 'BUSY_TIMEOUT', 0.05)
        store = SqliteStore(f'sqlite:///{path}', run)
        store.open(NOW)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute('BEGIN IMMEDIATE')
        with pytest.raises(StoreUnavailable, match='database is locked'):
            store.add(event(1))
        assert all_of(store) == []
        other.execute('ROLLBACK')
        other.close()
        store.add(event(1))
        assert len(all_of(store)) == 1
        store.close()

    def test_of_a_commit_that_fails_nothing_is_kept(self, store: SqliteStore) -> None:
        nameless = replace(event(1), name=None)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            store._insert([event(2), nameless])
        assert all_of(store) == []

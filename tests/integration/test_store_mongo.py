"""What is particular to the MongoDB store: other programs' documents, its settings, its fence in steps, its faults."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import bson
import gevent
import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.database import Database
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from reminder.errors import MinuteClosed, StoreUnavailable
from reminder.models import mongo, mongo_documents
from reminder.models.event import MINUTE, Event, Place
from reminder.models.mongo import MongoStore
from tests import mongodb
from tests.integration.test_store import END, NOW, START, Gate, event

Answer = TypeVar('Answer')

Client = MongoClient[dict[str, Any]]


def date(instant: int) -> DatetimeMS:
    return DatetimeMS(instant)


@pytest.fixture
def url() -> Iterator[str]:
    with mongodb.database() as url:
        yield url


@pytest.fixture
def database(url: str) -> Iterator[Database[dict[str, Any]]]:
    """The database as another program sees it."""
    client = Client(url)
    yield client.get_default_database()
    client.close()


@pytest.fixture
def connect(url: str) -> Iterator[Callable[[], MongoStore]]:
    stores = []

    def connect() -> MongoStore:
        stores.append(MongoStore(url))
        stores[-1].open(NOW)
        return stores[-1]

    yield connect
    for store in stores:
        store.close()


@pytest.fixture
def store(connect: Callable[[], MongoStore]) -> MongoStore:
    return connect()


def hold(owner: object, method: str, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Holds back the next call of that method."""
    gate, call = Gate(), getattr(owner, method)

    def held(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, method, call)
        gate.hold()
        return call(*args, **kwargs)

    monkeypatch.setattr(owner, method, held)
    return gate


def names(store: MongoStore) -> list[str]:
    return [each.name for each in store.read(START, END, 100)]


class TestDocuments:
    def test_our_events_are_documents_of_the_node_servers_form_with_what_was_asked_for(
        self, store: MongoStore, database: Database[dict[str, Any]]
    ) -> None:
        kept = event(1, 'tea')
        store.add(kept)
        assert database.events.find_one({}, {'time': 0}) == {
            '_id': ObjectId(kept.id),
            'name': 'tea',
            'localTime': '2027-01-15 08:00',
            'timeZone': 'Europe/Berlin',
        }
        assert database.events.find_one({'time': {'$type': 'date', '$eq': date(kept.time)}})

    def test_what_the_node_server_left_is_picked_up_and_its_past_is_not_replayed(
        self, database: Database[dict[str, Any]], connect: Callable[[], MongoStore]
    ) -> None:
        # Given a past and a pending event, as mongoose writes them
        past, pending = ObjectId(), ObjectId()
        database.events.insert_many(
            [
                {'_id': past, 'name': 'past', 'time': date(NOW - MINUTE), '__v': 0},
                {'_id': pending, 'name': 'pending', 'time': date(NOW + MINUTE), '__v': 0},
            ]
        )

        # When the first server opens that database
        store = connect()

        # Then it reads from now on
        assert store.record().delivered == NOW
        read = store.read(Place.after(store.record().delivered), END, 10)
        assert read == [Event(str(pending), 'pending', NOW + MINUTE)]
        assert store.get(str(past)) == Event(str(past), 'past', NOW - MINUTE)

    @pytest.mark.parametrize(
        'fields',
        [
            {},
            {'time': None},
            {'time': '2027-01-15'},
            {'time': NOW},
            {'time': 1e300},
            {'time': {'at': date(NOW)}},
            {'time': []},
            {'time': [date(NOW)]},
            {'time': [date(NOW), date(NOW + MINUTE)]},
        ],
        ids=str,
    )
    def test_a_document_without_a_date_is_no_event(
        self, store: MongoStore, database: Database[dict[str, Any]], fields: dict[str, Any]
    ) -> None:
        kept = event(1)
        store.add(kept)
        id = database.events.insert_one({'name': 'no event', **fields}).inserted_id
        assert store.read(START, END, 10) == [kept]
        assert store.count(START, END, 10) == 1
        assert store.before(START, END, 0) == kept.place
        assert store.get(str(id)) is None

    @pytest.mark.parametrize(
        ('fields', 'expected'),
        [
            ({}, ('', None, None)),
            ({'name': None}, ('', None, None)),
            ({'name': 5}, ('5', None, None)),
            ({'name': ['tea']}, ("['tea']", None, None)),
            ({'name': 'tea', 'localTime': 5, 'timeZone': {}}, ('tea', None, None)),
            ({'name': 'tea', 'payload': b'\xff', 'more': {'x': [1]}}, ('tea', None, None)),
        ],
        ids=str,
    )
    def test_an_event_of_another_form_is_read_as_far_as_it_goes(
        self,
        store: MongoStore,
        database: Database[dict[str, Any]],
        fields: dict[str, Any],
        expected: tuple[str, str | None, str | None],
    ) -> None:
        id = database.events.insert_one({'time': date(NOW + MINUTE), **fields}).inserted_id
        name, local_time, zone = expected
        assert store.read(START, END, 10) == [Event(str(id), name, NOW + MINUTE, local_time, zone)]

    @pytest.mark.parametrize('id', ['tea-1', 'ä', 17], ids=ascii)
    def test_an_id_that_is_no_object_id_is_read_as_text(
        self, store: MongoStore, database: Database[dict[str, Any]], id: object
    ) -> None:
        database.events.insert_one({'_id': id, 'name': 'tea', 'time': date(NOW + MINUTE)})
        kept = event(2)
        store.add(kept)
        first, second = store.read(START, END, 10)
        assert first == Event(str(id), 'tea', NOW + MINUTE)
        assert second == kept
        assert store.read(first.place, END, 10) == [kept]

    @pytest.mark.parametrize('time', [253_402_300_800_000, -62_135_596_800_001, 2**62])
    def test_a_date_beyond_pythons_is_read(
        self, store: MongoStore, database: Database[dict[str, Any]], time: int
    ) -> None:
        id = database.events.insert_one({'name': 'far', 'time': date(time)}).inserted_id
        assert store.get(str(id)) == Event(str(id), 'far', time)

    def test_a_name_that_is_no_utf8_is_read_with_marks(self) -> None:
        # By hand, as the driver does not write such
        whole = bson.encode({'_id': ObjectId(), 'name': 'caf_', 'time': date(NOW)})
        broken = bson.decode(
            whole.replace(b'caf_', b'caf\xe9'), MongoStore('mongodb://127.0.0.1')._events.codec_options
        )
        assert mongo_documents.as_event(broken).name == 'caf\N{REPLACEMENT CHARACTER}'


class TestSettings:
    def test_the_url_cannot_weaken_what_is_promised(self) -> None:
        store = MongoStore(
            'mongodb://127.0.0.1/x?w=0&journal=false&readPreference=secondary&readConcernLevel=available'
        )
        for collection in store._events, store._log:
            assert collection.write_concern == WriteConcern('majority', j=True)
            assert collection.read_preference == ReadPreference.PRIMARY
            assert collection.read_concern == ReadConcern('local')

    def test_the_database_is_the_urls_or_event_reminder(self) -> None:
        assert MongoStore('mongodb://127.0.0.1/mine?w=1')._database.name == 'mine'
        assert MongoStore('mongodb://127.0.0.1')._database.name == 'event-reminder'

    def test_nothing_is_connected_before_it_is_opened(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def connect(*args: Any, **kwargs: Any) -> None:
            raise AssertionError('it connects')

        monkeypatch.setattr('socket.socket.connect', connect)
        MongoStore('mongodb+srv://ann:secret@cluster.example.com/x').close()

    def test_a_record_that_another_server_makes_at_the_same_time_is_taken_over(
        self, store: MongoStore, connect: Callable[[], MongoStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def update_one(*args: Any, **kwargs: Any) -> None:
            raise DuplicateKeyError('E11000 duplicate key error')

        record = connect().record()
        monkeypatch.setattr(store._log, 'update_one', update_one)
        assert store.open(NOW + MINUTE) == record

    def test_the_index_is_made_once_whatever_its_name(
        self, database: Database[dict[str, Any]], connect: Callable[[], MongoStore]
    ) -> None:
        def keys() -> list[dict[str, int]]:
            return [dict(index['key']) for index in database.events.list_indexes()]

        indexes = [{'_id': 1}, {'time': 1, '_id': 1}, {'claim': 1}, {'series': 1, 'due': 1}]

        def sorted_keys() -> list[dict[str, int]]:
            return sorted(keys(), key=indexes.index)

        connect()
        connect()
        assert sorted_keys() == indexes
        database.events.drop_index('time_1__id_1')
        database.events.create_index([('time', 1), ('_id', 1)], name='by hand')
        connect()
        assert sorted_keys() == indexes

    def test_reading_walks_along_the_index(self, store: MongoStore, database: Database[dict[str, Any]]) -> None:
        if 'ferretdbVersion' in database.command('buildInfo'):
            pytest.skip('FerretDB has no query plans')
        store.add(event(1))
        for after in START, event(1).place:
            query = mongo_documents.between(after, event(9).place)
            planner = database.events.find(query).sort(mongo_documents.FORWARD).explain()['queryPlanner']
            plan = json.dumps(planner['winningPlan'], default=str)
            assert '"IXSCAN"' in plan
            assert '"COLLSCAN"' not in plan
            assert '"SORT"' not in plan


class TestFence:
    """`_insert` step by step: the events are inserted, then `closed` is read, then what was late is deleted."""

    @pytest.fixture
    def gate(self, store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> Gate:
        """Holds back the next reading of `closed`."""
        return hold(store, '_raise_closed', monkeypatch)

    def test_what_was_inserted_when_its_minute_was_closed_is_refused_and_deleted(
        self, store: MongoStore, connect: Callable[[], MongoStore], gate: Gate
    ) -> None:
        # Given an event that is inserted, but not acknowledged
        late = event(1)
        caller = gevent.spawn(store.add, late)
        gate.wait_until_reached()

        # When another server closes its minute
        other = connect()
        other.close_minute(late.time)
        gate.open()
        caller.join(10)

        # Then its caller is told so, and nothing is left of it
        assert isinstance(caller.exception, MinuteClosed)
        assert other.get(late.id) is None

    def test_what_a_reopening_marked_before_it_was_acknowledged_is_read(
        self, store: MongoStore, connect: Callable[[], MongoStore], gate: Gate
    ) -> None:
        # Given an event that is inserted, but not acknowledged, while a wrong clock has closed its minute
        other = connect()
        log = other.close_minute(NOW + 60 * MINUTE).log
        kept = event(5)
        caller = gevent.spawn(store.add, kept)
        gate.wait_until_reached()

        # When the log is reopened, which marks the event, and opens its minute again
        other.reopen(log, NOW + MINUTE)
        gate.open()
        caller.join(10)

        # Then its caller may be told that it was kept
        assert caller.exception is None
        assert other.read(START, END, 10) == [kept]

    def test_what_was_late_and_marked_by_a_reopening_is_refused_and_deleted(
        self, store: MongoStore, connect: Callable[[], MongoStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given an event that has come late, by a wrong clock, and is about to be deleted
        late, other = event(5), connect()
        log = other.close_minute(NOW + 60 * MINUTE).log
        gate = hold(store, '_delete', monkeypatch)
        caller = gevent.spawn(store.add, late)
        gate.wait_until_reached()

        # When the log is reopened, which marks it
        other.reopen(log, NOW + MINUTE)
        gate.open()
        caller.join(10)

        # Then nothing is left of it
        assert isinstance(caller.exception, MinuteClosed)
        assert other.get(late.id) is None

    def test_what_is_added_after_a_reopening_is_not_touched_twice(
        self, store: MongoStore, connect: Callable[[], MongoStore]
    ) -> None:
        other = connect()
        skipped = event(5, 'skipped')
        store.add(skipped)
        other.reopen(other.close_minute(NOW + 60 * MINUTE).log, NOW + MINUTE)
        store.add(event(6, 'kept'))
        assert names(store) == ['kept']

    def test_of_an_id_that_is_taken_it_is_not_known_for_a_moment_whether_it_was_in_time_and_its_event_stays(
        self, store: MongoStore, connect: Callable[[], MongoStore]
    ) -> None:
        # Given an event whose minute is closed by now
        first, other = event(1, 'first'), connect()
        store.add(first)
        store.close_minute(first.time)

        # When one of the same id is added together with others
        outcomes = store._insert([event(1, 'again', first.id), event(2, 'other'), event(1, 'late')])

        # Then only that one and the late one were refused
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, Event, MinuteClosed]
        assert names(other) == ['first', 'other']

    def test_what_another_add_of_its_id_was_told_is_kept_is_not_taken_back(
        self, store: MongoStore, connect: Callable[[], MongoStore], gate: Gate
    ) -> None:
        # Given an event under a key that is inserted, but not acknowledged
        kept, other = replace(event(1), request='digest'), connect()
        caller = gevent.spawn(store.add, kept)
        gate.wait_until_reached()

        # When the same is asked for at another server, and then its minute is closed
        assert other.add(kept) == kept
        other.close_minute(kept.time)
        gate.open()
        caller.join(10)

        # Then it stays, and nobody is told that it does not
        assert isinstance(caller.exception, StoreUnavailable)
        assert other.read(START, END, 10) == [kept]

    def test_it_is_not_known_whether_an_event_was_in_time_that_is_not_acknowledged_when_its_minute_is_closed(
        self, store: MongoStore, connect: Callable[[], MongoStore], gate: Gate
    ) -> None:
        # Given an event under a key that is inserted, but not acknowledged, when its minute is closed
        kept, other = replace(event(1), request='digest'), connect()
        caller = gevent.spawn(store.add, kept)
        gate.wait_until_reached()
        log = other.close_minute(kept.time).log

        # When the same is asked for at another server / Then nobody is told that it was kept, or was not
        with pytest.raises(StoreUnavailable):
            other.add(kept)
        gate.open()
        caller.join(10)
        assert isinstance(caller.exception, StoreUnavailable)

        # Then it is known by all when the minute is over
        other.set_delivered(log, kept.time)
        assert store.add(kept) == other.add(kept) == kept

    @pytest.mark.parametrize('change', [{'name': 'coffee'}, {'time': NOW + 5 * MINUTE}, {'cancelled': True}], ids=str)
    def test_what_was_changed_before_it_was_acknowledged_is_not_taken_back(
        self, store: MongoStore, connect: Callable[[], MongoStore], gate: Gate, change: dict[str, Any]
    ) -> None:
        # Given an event that is inserted, but not acknowledged
        kept, other = event(1), connect()
        caller = gevent.spawn(store.add, kept)
        gate.wait_until_reached()

        # When another server finds and changes it, and then its minute is closed
        now = other.replace(kept, replace(kept, **change))
        other.close_minute(kept.time)
        gate.open()
        caller.join(10)

        # Then the change stands
        assert isinstance(caller.exception, StoreUnavailable)
        assert other.get(kept.id) == now
        assert other.read(START, END, 10) == ([] if now.cancelled else [now])

    def test_events_are_not_kept_while_a_majority_does_not_have_them(
        self, store: MongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def insert_many(documents: Any, ordered: bool) -> None:
            errors = [{'code': 64, 'errmsg': 'waiting for replication timed out'}]
            raise BulkWriteError({'writeErrors': [], 'writeConcernErrors': errors})

        monkeypatch.setattr(store._events, 'insert_many', insert_many)
        with pytest.raises(StoreUnavailable, match='waiting for replication timed out'):
            store.add(event(1))

    def test_closed_is_read_by_a_write_which_a_deposed_primary_cannot_have_acknowledged(
        self, store: MongoStore, database: Database[dict[str, Any]]
    ) -> None:
        store.close_minute(NOW + MINUTE)
        for use in lambda: store.add(event(2)), lambda: store.close_minute(NOW + MINUTE):
            before = database.eventLog.find_one()
            use()
            assert database.eventLog.find_one() != before

    def test_a_lost_record_is_told(self, store: MongoStore, database: Database[dict[str, Any]]) -> None:
        database.drop_collection('eventLog')
        for verb in store.record, lambda: store.add(event(1)), lambda: store.close_minute(NOW):
            with pytest.raises(StoreUnavailable, match='eventLog'):
                verb()


class TestReopen:
    """`reopen` step by step: the marks are set, then the record is changed, if it is still what it was."""

    @pytest.fixture
    def log(self, store: MongoStore) -> str:
        """The id of one that a wrong clock has closed up to the 60th minute."""
        for minutes in (5, 61, 62):
            store.add(event(minutes, str(minutes)))
        return store.close_minute(NOW + 60 * MINUTE).log

    @pytest.fixture
    def gate(self, monkeypatch: pytest.MonkeyPatch) -> Gate:
        """Holds back the next server that is about to change the record."""
        return hold(mongo, 'token_hex', monkeypatch)

    @pytest.fixture
    def other(self, store: MongoStore, connect: Callable[[], MongoStore]) -> MongoStore:
        return connect()

    def test_what_is_closed_meanwhile_is_passed_over_too(
        self, store: MongoStore, other: MongoStore, log: str, gate: Gate
    ) -> None:
        caller = gevent.spawn(store.reopen, log, NOW)
        gate.wait_until_reached()
        other.close_minute(NOW + 61 * MINUTE)
        gate.open()
        caller.join(10)
        assert caller.value.closed == NOW
        assert names(store) == ['62']

    def test_what_another_server_does_meanwhile_is_not_done_again(
        self, store: MongoStore, other: MongoStore, log: str, gate: Gate
    ) -> None:
        caller = gevent.spawn(store.reopen, log, NOW)
        gate.wait_until_reached()
        renewed = other.reopen(log, NOW).log
        record = other.close_minute(NOW + 60 * MINUTE)  # by the wrong clock again
        gate.open()
        caller.join(10)
        assert record.log == renewed
        assert caller.value == other.record() == record

    def test_a_server_that_is_slow_to_mark_leaves_what_came_into_the_new_log(
        self, store: MongoStore, other: MongoStore, log: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = hold(store, 'record', monkeypatch)
        caller = gevent.spawn(store.reopen, log, NOW)
        gate.wait_until_reached()
        other.reopen(log, NOW)
        other.add(event(5, 'new'))
        gate.open()
        caller.join(10)
        assert names(other) == ['new', '61', '62']

    def test_a_server_that_is_slow_to_mark_leaves_what_was_acknowledged_in_the_new_log(
        self, store: MongoStore, other: MongoStore, log: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given an event that is inserted, but not acknowledged, and a server that is about to mark it
        insertion = hold(other, '_raise_closed', monkeypatch)
        adding = gevent.spawn(other.add, event(5, 'new'))
        insertion.wait_until_reached()
        marking = hold(store._events, 'update_many', monkeypatch)
        reopening = gevent.spawn(store.reopen, log, NOW)
        marking.wait_until_reached()

        # When another server reopens the log, and the event is acknowledged in the new one
        other.reopen(log, NOW)
        insertion.open()
        adding.join(10)
        assert adding.exception is None
        marking.open()
        reopening.join(10)

        # Then it is read
        assert names(other) == ['new', '61', '62']


class TestPurge:
    def test_purged_is_raised_before_anything_is_deleted(
        self, store: MongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def delete_many(query: Any) -> None:
            raise AutoReconnect('gone')

        store.add(event(1))
        store.set_delivered(store.close_minute(NOW + MINUTE).log, NOW + MINUTE)
        monkeypatch.setattr(store._events, 'delete_many', delete_many)
        with pytest.raises(StoreUnavailable):
            store.purge(NOW + MINUTE)
        assert store.record().purged == NOW + MINUTE

    def test_it_stops_when_the_log_is_reopened(
        self, store: MongoStore, connect: Callable[[], MongoStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a server whose clock is wrong, which deletes one event at a time
        monkeypatch.setattr(mongo, 'BATCH', 1)
        store.add(event(1, 'deleted'))
        store.add(event(2, 'skipped'))
        log = store.close_minute(NOW + 60 * MINUTE).log
        store.set_delivered(log, NOW + 60 * MINUTE)
        other, delete = connect(), store._events.delete_many

        def delete_many(query: Any) -> Any:
            if other.record().log == log:
                other.reopen(log, NOW)
                other.add(event(1, 'new'))
            return delete(query)

        monkeypatch.setattr(store._events, 'delete_many', delete_many)

        # When another one reopens the log meanwhile
        deleted = store.purge(NOW + 60 * MINUTE)

        # Then nothing of the new log is deleted
        assert deleted == 1
        assert names(other) == ['new']


def once_it_answers(verb: Callable[[], Answer]) -> Answer:
    """What the verb of a store answers, asked again while the database is away, as by a server."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return verb()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise


class TestFaults:
    @pytest.fixture
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert mongo.TIMEOUT < 5
        monkeypatch.setattr(mongo, 'TIMEOUT', 0.5)

    def test_an_unreachable_database_is_told_in_time_without_the_password(
        self, impatient: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Given a database that nobody listens at
        caplog.set_level('DEBUG')
        store = MongoStore('mongodb://ann:s3cret@127.0.0.1:1/x')
        begun = time.monotonic()

        # When it is used
        with pytest.raises(StoreUnavailable) as raised:
            store.open(NOW)

        # Then that fails in time, in a line that says where, and the password is nowhere
        assert time.monotonic() - begun < mongo.TIMEOUT + 0.5
        assert str(raised.value) == 'MongoDB 127.0.0.1:1: [Errno 111] Connection refused'
        for text in repr(store), repr(raised.value), ''.join(traceback.format_exception(raised.value)), caplog.text:
            assert 's3cret' not in text
        store.close()

    def test_callers_that_wait_together_do_not_wait_one_after_the_other(
        self, impatient: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo, 'BATCH', 1)
        store = MongoStore('mongodb://127.0.0.1:1')
        begun = time.monotonic()
        callers = [gevent.spawn(store.add, event(1)) for _ in range(20)]
        gevent.joinall(callers)
        assert all(isinstance(caller.exception, StoreUnavailable) for caller in callers)
        assert time.monotonic() - begun < 10 * mongo.TIMEOUT
        store.close()

    def test_a_database_that_was_away_is_used_again_when_it_is_back(self, impatient: None, tmp_path: Path) -> None:
        with mongodb.Ferret(tmp_path) as ferret:
            # Given a store with an event
            store = MongoStore(ferret.url)
            record = store.open(NOW)
            kept = event(1)
            store.add(kept)

            # When its database ends, every verb fails
            ferret.stop()
            for verb in store.record, lambda: store.add(event(1)), lambda: store.read(START, END, 1):
                with pytest.raises(StoreUnavailable):
                    verb()

            # Then it is as before when the database is back
            ferret.start()
            assert once_it_answers(store.record) == record
            assert store.read(START, END, 10) == [kept]
            store.close()

    def test_a_store_whose_database_comes_later_opens_then(self, impatient: None, tmp_path: Path) -> None:
        ferret = mongodb.Ferret(tmp_path)
        store = MongoStore(ferret.url)
        with pytest.raises(StoreUnavailable):
            store.open(NOW)
        with ferret:
            assert once_it_answers(lambda: store.open(NOW)).closed == NOW
            store.close()

    @pytest.mark.parametrize('ahead', [3600, -3600, 0])
    def test_the_databases_clock_is_told_where_it_is_more_than_a_second_off(self, ahead: float, tmp_path: Path) -> None:
        with mongodb.Ferret(tmp_path).start(ahead) as ferret:
            store = MongoStore(ferret.url)
            once_it_answers(lambda: store.open(NOW))
            offset = store.clock_offset(time.time_ns() // 1_000_000)
            assert offset == (pytest.approx(ahead * 1000, abs=2000) if ahead else 0)
            store.close()

    def test_half_of_a_slow_answers_time_is_taken_into_account(
        self, store: MongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a clock that is 10 s ahead, read 2 s after it was asked for, on a line as slow in both directions
        clock = iter([100.0, 104.0])
        monkeypatch.setattr(mongo, 'monotonic', lambda: next(clock))
        monkeypatch.setattr(store._database, 'command', lambda *args, **kwargs: {'localTime': date(NOW + 12_000)})
        assert store.clock_offset(NOW) == 10_000

    @pytest.mark.parametrize(
        ('took', 'read', 'offset'),
        [(0, 999, 0), (0, -999, 0), (0, 1000, 1000), (0, -1000, -1000), (4, 4_500, 0), (4, 5_000, 3_000)],
    )
    def test_a_clock_that_may_be_less_than_a_second_off_is_taken_as_right(
        self, store: MongoStore, took: int, read: int, offset: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = iter([100.0, 100.0 + took])
        monkeypatch.setattr(mongo, 'monotonic', lambda: next(clock))
        monkeypatch.setattr(store._database, 'command', lambda *args, **kwargs: {'localTime': date(NOW + read)})
        assert store.clock_offset(NOW) == offset

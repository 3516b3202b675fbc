"""The contract of `reminder/models/store.py`, sentence by sentence, on every store."""

import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest

from reminder.errors import ConfigError, MinuteClosed, StoreUnavailable
from reminder.models import mongo, sqlite, sqlite_work
from reminder.models.event import MINUTE, Event, Place, Record, new_id
from reminder.models.store import Store, open_store
from tests import mongodb

NOW = 1_800_000_000_000
START = Place(0, '')
END = Place(2**52, '')

Connect = Callable[[], Store]


def run(function: Callable[..., Any], *args: Any) -> Any:
    """As in the server: in a real thread, while other greenlets go on."""
    return gevent.get_hub().threadpool.apply(function, args)


@pytest.fixture(params=['sqlite', 'mongodb'])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """Makes stores that share one new database, as servers do; they are not open yet."""
    with ExitStack() as stack:
        if request.param == 'sqlite':
            url = f'sqlite:///{tmp_path / "events.db"}'
        else:
            url = stack.enter_context(mongodb.database())

        def connect() -> Store:
            store = open_store(url, run)
            stack.callback(store.close)
            return store

        yield connect


@pytest.fixture
def store(connect: Connect) -> Store:
    store = connect()
    store.open(NOW)
    return store


@pytest.fixture
def other(store: Store, connect: Connect) -> Store:
    """The store of a second server on the same database."""
    other = connect()
    other.open(NOW)
    return other


def event(minutes: int, name: str = 'tea', id: str | None = None) -> Event:
    """An event due that many minutes after NOW."""
    return Event(id or new_id(NOW), name, NOW + minutes * MINUTE, '2027-01-15 08:00', 'Europe/Berlin')


def add(store: Store, *events: Event) -> tuple[Event, ...]:
    gevent.joinall([gevent.spawn(store.add, each) for each in events], raise_error=True)
    return events


def all_of(store: Store) -> list[Event]:
    return list(store.read(START, END, 10_000))


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What concurrent calls return."""
    callers = [gevent.spawn(call) for call in calls]
    gevent.joinall(callers, raise_error=True)
    return [caller.value for caller in callers]


class Gate:
    """Holds back whoever passes it, until the test opens it."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def hold(self) -> None:
        self._reached.set()
        assert self._opened.wait(10), 'the test does not open the gate'

    def wait_until_reached(self) -> None:
        assert self._reached.wait(10), 'nobody reaches the gate'

    def open(self) -> None:
        self._opened.set()


def hold_commit(store: Store, moment: str, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Holds back the next commit of `add`, `before` it begins or `after` it is done."""
    gate = Gate()
    commit = store._adding._commit  # type: ignore[attr-defined]

    def held(events: list[Event]) -> Sequence[Event | Exception]:
        if moment == 'before':
            gate.hold()
        outcomes: Sequence[Event | Exception] = commit(events)
        if moment == 'after':
            gate.hold()
        return outcomes

    monkeypatch.setattr(store._adding, '_commit', held)  # type: ignore[attr-defined]
    return gate


class TestOpen:
    def test_a_new_database_begins_with_a_log_of_which_nothing_is_past(self, connect: Connect) -> None:
        record = connect().open(NOW)
        assert len(bytes.fromhex(record.log)) == 8
        assert record == Record(record.log, opened=NOW, closed=NOW, delivered=NOW, purged=NOW)

    def test_a_database_that_has_a_record_keeps_it(self, store: Store, connect: Connect) -> None:
        record = store.close_minute(NOW + MINUTE)
        assert store.open(NOW + 5 * MINUTE) == record
        assert connect().open(NOW + 5 * MINUTE) == record

    def test_servers_that_begin_at_once_end_up_with_the_same_record(self, connect: Connect) -> None:
        stores = [connect() for _ in range(4)]
        records = at_once(*(lambda s=s, n=n: s.open(NOW + n) for n, s in enumerate(stores)))
        assert len(set(records)) == 1
        assert stores[0].record() == records[0]

    def test_two_databases_have_logs_of_their_own(self, connect: Connect, tmp_path: Path) -> None:
        elsewhere = open_store(f'sqlite:///{tmp_path / "elsewhere.db"}', run)
        assert connect().open(NOW).log != elsewhere.open(NOW).log
        elsewhere.close()


class TestClose:
    def test_what_was_kept_is_there_after_closing_and_opening(self, store: Store, connect: Connect) -> None:
        kept = add(store, event(1))
        record = store.close_minute(NOW)
        store.close()
        again = connect()
        assert again.open(NOW + MINUTE) == record
        assert all_of(again) == list(kept)

    def test_it_may_be_called_again_and_before_opening(self, store: Store, connect: Connect) -> None:
        store.close()
        store.close()
        connect().close()

    @pytest.mark.parametrize(
        'verb',
        [
            lambda store: store.record(),
            lambda store: store.add(event(1)),
            lambda store: store.get('x'),
            lambda store: store.close_minute(NOW),
            lambda store: store.set_delivered('x', NOW),
            lambda store: store.reopen('x', NOW),
            lambda store: store.purge(NOW),
            lambda store: store.read(START, END, 1),
            lambda store: store.count(START, END, 1),
            lambda store: store.before(START, END, 1),
        ],
        ids='record add get close_minute set_delivered reopen purge read count before'.split(),
    )
    def test_a_closed_store_is_unavailable(self, store: Store, verb: Callable[[Store], Any]) -> None:
        store.close()
        with pytest.raises(StoreUnavailable):
            verb(store)


class TestAdd:
    def test_what_was_added_is_found_by_every_server(self, store: Store, other: Store) -> None:
        (kept,) = add(store, event(1))
        for server in store, other:
            assert server.get(kept.id) == kept
            assert all_of(server) == [kept]

    @pytest.mark.parametrize(
        'name',
        ['Ärger ☕ 👩‍👩‍👧', "'; DROP TABLE events; --", '$where', 'a\0b', ' \n\t', '{"$gt": ""}', 'x' * 1000],
        ids=ascii,
    )
    def test_a_name_is_kept_as_it_is(self, store: Store, name: str) -> None:
        (kept,) = add(store, event(1, name))
        assert all_of(store) == [kept]

    def test_an_event_without_local_time_and_zone_is_kept(self, store: Store) -> None:
        (kept,) = add(store, Event(new_id(NOW), 'tea', NOW + MINUTE))
        assert all_of(store) == [kept]

    @pytest.mark.parametrize('late', [0, 1, MINUTE])
    def test_an_event_of_a_closed_minute_is_refused_and_not_kept(self, store: Store, other: Store, late: int) -> None:
        record = other.close_minute(NOW + 5 * MINUTE)
        refused = Event(new_id(NOW), 'tea', record.closed - late)
        with pytest.raises(MinuteClosed):
            store.add(refused)
        assert store.get(refused.id) is None
        assert all_of(store) == []

    def test_an_event_behind_the_closed_minute_is_kept(self, store: Store) -> None:
        store.close_minute(NOW + MINUTE)
        assert add(store, Event(new_id(NOW), 'tea', NOW + MINUTE + 1)) == tuple(all_of(store))

    def test_concurrent_calls_share_one_commit_in_which_each_event_has_its_own_fate(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a commit under way, and events that gather meanwhile, some of them too late
        store.close_minute(NOW + 3 * MINUTE)
        commits = []
        commit = store._adding._commit  # type: ignore[attr-defined]

        def counted(events: list[Event]) -> Sequence[Event | Exception]:
            commits.append(len(events))
            return commit(events)  # type: ignore[no-any-return]

        monkeypatch.setattr(store._adding, '_commit', counted)  # type: ignore[attr-defined]
        gate = hold_commit(store, 'before', monkeypatch)
        first = gevent.spawn(store.add, event(9))
        gate.wait_until_reached()
        events = [event(minutes) for minutes in (1, 2, 3, 4, 5, 6)]
        callers = [gevent.spawn(store.add, each) for each in events]
        gevent.idle()

        # When the commits go on
        gate.open()
        gevent.joinall([first, *callers])

        # Then there were two, and only those of open minutes were kept
        assert commits == [1, 6]
        assert [type(caller.exception) for caller in callers] == [MinuteClosed] * 3 + [type(None)] * 3
        assert all_of(store)[:-1] == events[3:]


@pytest.fixture(params=['the same server', 'another server'])
def closer(request: pytest.FixtureRequest, store: Store) -> Store:
    return store if request.param == 'the same server' else request.getfixturevalue('other')


class TestFence:
    """`add` against `close_minute`, in both orders, and in all of them by chance."""

    def test_an_event_committed_after_its_minute_was_closed_is_refused(
        self, store: Store, closer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a commit that is held back
        late = event(1)
        gate = hold_commit(store, 'before', monkeypatch)
        caller = gevent.spawn(store.add, late)
        gate.wait_until_reached()

        # When its minute is closed and read before it goes on
        closer.close_minute(late.time)
        assert closer.read(START, Place.after(late.time), 10) == []
        gate.open()
        caller.join(10)

        # Then its caller is told so, and nothing is kept
        assert isinstance(caller.exception, MinuteClosed)
        assert all_of(store) == []
        assert store.get(late.id) is None

    def test_an_event_committed_before_its_minute_was_closed_is_read_by_who_closed_it(
        self, store: Store, closer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a commit whose answer is held back
        kept = event(1)
        gate = hold_commit(store, 'after', monkeypatch)
        caller = gevent.spawn(store.add, kept)
        gate.wait_until_reached()

        # When its minute is closed, then read
        closer.close_minute(kept.time)
        read = closer.read(START, Place.after(kept.time), 10)

        # Then the event is there, and so its caller may be told that it was kept
        assert read == [kept]
        gate.open()
        caller.join(10)
        assert caller.exception is None

    def test_what_was_kept_is_read_once_when_its_minute_is_closed_whoever_closes_it(
        self, store: Store, other: Store
    ) -> None:
        # Given two servers on which clients schedule for the minutes just ahead
        kept: list[Event] = []
        minutes, minute = 15, 1
        done = threading.Event()

        def client(server: Store) -> None:
            chance = random.Random(server is store)
            while not done.is_set():
                wish = event(minute + chance.choice([0, 1, 1, 2]))
                try:
                    server.add(wish)
                except MinuteClosed:
                    continue
                kept.append(wish)
                gevent.sleep(0)

        clients = [gevent.spawn(client, server) for server in (store, other) for _ in range(6)]

        # When both close and read minute after minute
        read: dict[Store, list[Event]] = {store: [], other: []}
        place = Place.after(NOW)
        for minute in range(1, minutes + 1):
            gevent.sleep(0.01)
            for server in (store, other) if minute % 2 else (other, store):
                server.close_minute(NOW + minute * MINUTE)
                read[server] += server.read(place, Place.after(NOW + minute * MINUTE), 10_000)
            place = Place.after(NOW + minute * MINUTE)
        done.set()
        gevent.joinall(clients, raise_error=True)

        # Then each of them has read each event that was kept for these minutes once
        expected = Counter(each for each in kept if each.time <= NOW + minutes * MINUTE)
        assert len(expected) > minutes
        for server in store, other:
            assert not expected - Counter(read[server])
            assert max(Counter(read[server]).values()) == 1


class TestGet:
    @pytest.mark.parametrize(
        'id',
        ['', 'x', '0' * 24, 'f' * 23, 'f' * 25, "' OR 1=1 --", '$gt', 'é', '\0', '\ud800', '0' * 100_000, ' ' * 24],
        ids=lambda id: ascii(id[:26]),
    )
    def test_any_text_is_a_valid_question(self, store: Store, id: str) -> None:
        add(store, event(1))
        assert store.get(id) is None

    def test_ids_are_compared_exactly(self, store: Store) -> None:
        add(store, event(1, id='abcdefabcdefabcdefabcdef'))
        assert store.get('ABCDEFABCDEFABCDEFABCDEF') is None
        assert store.get('abcdefabcdefabcdefabcdef ') is None


class TestCloseMinute:
    def test_it_raises_closed_for_every_server(self, store: Store, other: Store) -> None:
        before = store.record()
        after = store.close_minute(NOW + MINUTE)
        assert after == Record(before.log, NOW, NOW + MINUTE, NOW, NOW)
        assert store.record() == other.record() == after

    def test_it_never_lowers_it(self, store: Store, other: Store) -> None:
        closed = store.close_minute(NOW + 3 * MINUTE)
        assert other.close_minute(NOW + 2 * MINUTE) == closed
        assert store.record() == closed

    def test_of_concurrent_calls_none_is_undone(self, store: Store, other: Store) -> None:
        log = store.record().log
        minutes = random.Random(5).sample(range(1, 31), 30)

        def close(minute: int) -> int:
            return (store, other)[minute % 2].close_minute(NOW + minute * MINUTE).closed

        def deliver(minute: int) -> None:
            (other, store)[minute % 2].set_delivered(log, NOW + minute * MINUTE)

        calls = [lambda minute=minute, call=call: call(minute) for minute in minutes for call in (close, deliver)]
        answers = at_once(*calls)[::2]
        assert all(closed >= NOW + minute * MINUTE for minute, closed in zip(minutes, answers, strict=True))
        assert store.record() == Record(log, NOW, NOW + 30 * MINUTE, NOW + 30 * MINUTE, NOW)


class TestSetDelivered:
    def test_it_raises_delivered_for_every_server_and_never_lowers_it(self, store: Store, other: Store) -> None:
        log = store.close_minute(NOW + 3 * MINUTE).log
        store.set_delivered(log, NOW + 2 * MINUTE)
        other.set_delivered(log, NOW + MINUTE)
        assert store.record() == Record(log, NOW, NOW + 3 * MINUTE, NOW + 2 * MINUTE, NOW)

    def test_it_does_nothing_to_another_log(self, store: Store) -> None:
        before = store.record()
        store.set_delivered('0' * 16, NOW + MINUTE)
        assert store.record() == before


class TestReopen:
    """A clock was an hour ahead: the log is closed up to NOW + 60 min, but it is NOW + 10 min."""

    closed = NOW + 60 * MINUTE
    now = NOW + 10 * MINUTE

    @pytest.fixture
    def log(self, store: Store) -> str:
        """Its id. It has events on both sides of both ends of what is going to be passed over."""
        self.events = add(store, *(event(minutes, str(minutes)) for minutes in (9, 10, 11, 60, 61)))
        return store.close_minute(self.closed).log

    def names(self, store: Store) -> list[str]:
        return [each.name for each in all_of(store)]

    def test_the_log_goes_on_from_now_as_a_new_one(self, store: Store, other: Store, log: str) -> None:
        store.set_delivered(log, self.closed)
        record = store.reopen(log, self.now)
        assert record.log != log
        assert len(bytes.fromhex(record.log)) == 8
        assert record == Record(record.log, opened=self.now, closed=self.now, delivered=self.now, purged=NOW)
        assert other.record() == record

    def test_what_lay_between_is_passed_over_by_all_readers(self, store: Store, other: Store, log: str) -> None:
        store.reopen(log, self.now)
        assert self.names(other) == ['9', '10', '61']
        assert store.count(START, END, 100) == 3
        assert store.before(START, END, 2) == self.events[0].place

    def test_what_was_passed_over_is_still_there(self, store: Store, log: str) -> None:
        store.reopen(log, self.now)
        assert store.get(self.events[2].id) == self.events[2]

    def test_the_minutes_between_are_open_again(self, store: Store, other: Store, log: str) -> None:
        store.reopen(log, self.now)
        add(other, event(11, 'new'))
        assert self.names(store) == ['9', '10', 'new', '61']

    def test_a_server_that_comes_later_changes_nothing(self, store: Store, other: Store, log: str) -> None:
        record = store.reopen(log, self.now)
        assert other.reopen(log, self.now + MINUTE) == record
        add(store, event(11, 'new'))
        other.close_minute(self.closed)
        assert other.reopen(log, self.now).log == record.log
        assert self.names(store) == ['9', '10', 'new', '61']

    def test_what_came_into_the_new_log_is_passed_over_when_that_one_is_reopened(
        self, store: Store, other: Store, log: str
    ) -> None:
        renewed = other.reopen(log, self.now).log
        add(store, event(11, 'new'))
        add(other, event(11, 'newer'))
        other.close_minute(self.closed)
        assert store.reopen(renewed, self.now).log != renewed
        assert self.names(store) == ['9', '10', '61']

    def test_servers_that_do_it_at_once_get_the_same_record(self, store: Store, other: Store, log: str) -> None:
        first, second = at_once(lambda: store.reopen(log, self.now), lambda: other.reopen(log, self.now + 1))
        assert first == second == store.record()

    def test_a_log_whose_closed_minute_is_not_ahead_is_left_as_it_is(self, store: Store, log: str) -> None:
        record = store.record()
        assert store.reopen(log, self.closed) == record
        assert store.reopen(log, self.closed + MINUTE) == record
        assert len(all_of(store)) == 5

    def test_what_was_deleted_in_the_future_is_not_the_new_logs_past(self, store: Store, log: str) -> None:
        store.set_delivered(log, self.closed)
        store.purge(self.closed)
        assert store.reopen(log, self.now).purged == self.now

    def test_a_crash_between_the_marks_and_the_record_is_repaired_by_the_next_call(
        self, store: Store, other: Store, log: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a server that dies when it is about to change the record
        class Crash(BaseException):
            pass

        def crash(length: int) -> str:
            raise Crash

        with monkeypatch.context() as patch:
            for module in mongo, sqlite_work:
                patch.setattr(module, 'token_hex', crash)
            with pytest.raises(Crash):
                store.reopen(log, self.now)
        assert store.record().log == log

        # When the next one does it
        record = other.reopen(log, self.now)

        # Then it is done in full
        assert (record.closed, record.delivered) == (self.now, self.now)
        assert self.names(other) == ['9', '10', '61']


class TestPurge:
    @pytest.fixture
    def log(self, store: Store) -> str:
        add(store, *(event(minutes, str(minutes)) for minutes in range(1, 11)))
        log = store.close_minute(NOW + 10 * MINUTE).log
        store.set_delivered(log, NOW + 6 * MINUTE)
        return log

    def test_it_deletes_what_is_due_up_to_then(self, store: Store, other: Store, log: str) -> None:
        assert store.purge(NOW + 4 * MINUTE) == 4
        assert [each.name for each in all_of(other)] == [*'56789', '10']
        assert other.record() == Record(log, NOW, NOW + 10 * MINUTE, NOW + 6 * MINUTE, NOW + 4 * MINUTE)

    def test_it_deletes_nothing_that_is_not_delivered_yet(self, store: Store, log: str) -> None:
        assert store.purge(NOW + 100 * MINUTE) == 6
        assert [each.name for each in all_of(store)] == [*'789', '10']
        assert store.record().purged == NOW + 6 * MINUTE

    def test_it_never_lowers_purged(self, store: Store, log: str) -> None:
        store.purge(NOW + 4 * MINUTE)
        assert store.purge(NOW + 2 * MINUTE) == 0
        assert store.record().purged == NOW + 4 * MINUTE

    @pytest.mark.parametrize('portion', [1, 2, 3, 4, 7])
    def test_it_deletes_in_portions(
        self, store: Store, log: str, portion: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in mongo, sqlite:
            monkeypatch.setattr(module, 'BATCH', portion)
        assert store.purge(NOW + 6 * MINUTE) == 6
        assert [each.name for each in all_of(store)] == [*'789', '10']

    def test_what_a_reopening_passed_over_is_deleted_in_its_time(self, store: Store, log: str) -> None:
        log = store.reopen(log, NOW + 5 * MINUTE).log
        store.close_minute(NOW + 10 * MINUTE)
        store.set_delivered(log, NOW + 10 * MINUTE)
        assert store.purge(NOW + 7 * MINUTE) == 7


class TestReading:
    """`read`, `count` and `before` against the same questions put to a sorted list."""

    @pytest.fixture
    def log(self, store: Store) -> list[Event]:
        """Events of few instants, added in no order, so that many share theirs."""
        chance = random.Random(7)
        ids = [f'{chance.getrandbits(96):024x}' for _ in range(60)]
        events = [event(chance.choice([1, 2, 2, 2, 3, 9]), str(number), id) for number, id in enumerate(ids)]
        add(store, *events)
        return sorted(events, key=lambda each: each.place)

    @pytest.fixture
    def spans(self, log: list[Event]) -> list[tuple[Place, Place]]:
        """Of any two places: of events, between events, before the first, behind the last; also the wrong way round."""
        chance = random.Random(11)
        places = [START, END, *(Place.after(NOW + minutes * MINUTE) for minutes in range(11))]
        places += [Place(NOW + minutes * MINUTE, '') for minutes in range(11)]
        places += [Place(NOW + 2 * MINUTE, id) for id in ('0' * 24, '7' + '0' * 23, 'f' * 24)]
        places += [each.place for each in chance.sample(log, 15)]
        return [(chance.choice(places), chance.choice(places)) for _ in range(80)]

    def test_read_finds_the_first_of_a_span_in_order(
        self, store: Store, log: list[Event], spans: list[tuple[Place, Place]]
    ) -> None:
        for number, (after, until) in enumerate(spans):
            limit = number % 50 + 1
            expected = [each for each in log if after < each.place <= until][:limit]
            assert store.read(after, until, limit) == expected, (after, until, limit)

    def test_count_says_how_many_read_would_find(
        self, store: Store, log: list[Event], spans: list[tuple[Place, Place]]
    ) -> None:
        for number, (after, until) in enumerate(spans):
            limit = number % 50 + 1
            expected = len([each for each in log if after < each.place <= until][:limit])
            assert store.count(after, until, limit) == expected, (after, until, limit)

    def test_before_leaves_just_the_newest_behind_it(
        self, store: Store, log: list[Event], spans: list[tuple[Place, Place]]
    ) -> None:
        for number, (after, until) in enumerate(spans):
            count = number % 50
            inside = [each.place for each in log if after < each.place <= until]
            expected = inside[-count - 1] if len(inside) > count else after
            assert store.before(after, until, count) == expected, (after, until, count)

    @pytest.mark.parametrize('size', [1, 7, 60])
    def test_page_after_page_has_no_gap_and_repeats_nothing(self, store: Store, log: list[Event], size: int) -> None:
        pages, place = [], START
        while page := store.read(place, END, size):
            pages.append(page)
            place = page[-1].place
        assert [each for page in pages for each in page] == log
        assert all(len(page) == size for page in pages[:-1])


class TestUrl:
    @pytest.mark.parametrize(
        'url',
        [
            'postgres://ann:s3cret@host/x',
            'ann:s3cret@host/x',
            '',
            'sqlite',
            'sqlite:',
            'sqlite://',
            'sqlite:///',
            'sqlite:///:memory:',
            'sqlite://s3cret/x.db',
            'sqlite:///x.db?mode=ro&s3cret',
            'mongodb://',
            'mongodb://ann:s3cret',
            'mongodb://ann:s3cret@',
            'mongodb://ann:s3/cret@host/x',
            'mongodb://ann:s3@cret@host/x',
            'mongodb://ann:%s3cret@host/x',
            'mongodb://ann:s3cret@host:99999/x',
            'mongodb://ann:s3cret@host/x?directConnection=true&loadBalanced=true',
            'mongodb://ann:s3cret@host/x?tls=true&tlsCAFile=/no/such/s3cret',
            'mongodb+srv://ann:s3cret@host.example.com:27017/x',
        ],
    )
    def test_a_wrong_url_is_refused_in_one_line_that_does_not_repeat_it(self, url: str) -> None:
        with pytest.raises(ConfigError) as raised:
            open_store(url, run)
        assert 'DATABASE_URL' in str(raised.value)
        assert '\n' not in str(raised.value)
        assert 's3' not in ''.join(traceback.format_exception(raised.value))

"""The contract of changing, cancelling, repeating and channels, sentence by sentence, on every store."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gevent
import pytest

from reminder.errors import Changed, MinuteClosed, StoreUnavailable
from reminder.models import mongo, sqlite
from reminder.models.event import MINUTE, Event, Place, Series, new_id
from reminder.models.store import Store
from tests.integration import test_store
from tests.integration.test_store import END, NOW, START, add, all_of, at_once, event

connect, store, other = test_store.connect, test_store.store, test_store.other

FULL: dict[str, Any] = {
    'channel': 'team/a',
    'payload': '{"url": "https://example.com/ä", "n": [1, null]}',
    'series': 'f' * 24,
    'owner': 'ann',
    'request': '9f86d081',
}


def cancelled(event: Event) -> Event:
    return replace(event, cancelled=True)


def renamed(event: Event, name: str = 'coffee') -> Event:
    return replace(event, name=name)


def moved(event: Event, minutes: int) -> Event:
    """That event, so many minutes after NOW."""
    return replace(event, time=NOW + minutes * MINUTE, local_time='2027-01-15 09:00')


def told(event: Event) -> Event:
    """What an event says, wherever it is kept."""
    return replace(event, entry=None)


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """What a call returns, or the kind of what it raises."""
    try:
        return call(*args)
    except (Changed, MinuteClosed) as error:
        return type(error)


class TestAdd:
    def test_all_that_an_event_says_is_kept(self, store: Store, other: Store) -> None:
        (kept,) = add(store, replace(event(1), **FULL))
        assert other.get(kept.id) == kept
        assert all_of(other) == [kept]

    def test_it_returns_the_event(self, store: Store) -> None:
        wish = event(1)
        assert store.add(wish) == wish

    def test_an_id_that_is_taken_is_answered_with_its_event_and_nothing_is_kept(
        self, store: Store, other: Store
    ) -> None:
        (kept,) = add(store, event(1))
        again = replace(event(2, 'other'), id=kept.id)
        assert other.add(again) == store.add(again) == kept
        assert all_of(store) == [kept]

    def test_others_of_its_commit_are_kept(self, store: Store) -> None:
        (kept,) = add(store, event(1))
        answers = at_once(*(lambda e=e: store.add(e) for e in [event(2), kept, event(3), event(4)]))
        assert answers[1] == kept
        assert len(all_of(store)) == 4

    def test_servers_that_add_an_id_at_once_keep_it_once_and_answer_alike(self, store: Store, other: Store) -> None:
        wish = replace(event(1), **FULL)
        answers = at_once(*(lambda s=s: s.add(wish) for s in [store, other] * 10))
        assert answers == [wish] * 20
        assert all_of(store) == [wish]

    @pytest.mark.parametrize('change', [cancelled, renamed, lambda event: moved(event, 5)])
    def test_it_is_answered_with_what_has_become_of_it(
        self, store: Store, other: Store, change: Callable[[Event], Event]
    ) -> None:
        (kept,) = add(store, event(1))
        now = store.replace(kept, change(kept))
        assert other.add(kept) == now

    def test_it_is_answered_though_its_minute_is_over(self, store: Store, other: Store) -> None:
        (kept,) = add(store, event(1))
        store.set_delivered(store.close_minute(kept.time).log, kept.time)
        assert other.add(kept) == kept
        assert all_of(store) == [kept]

    def test_a_late_one_takes_nothing_back_of_who_was_in_time(self, store: Store, other: Store) -> None:
        (kept,) = add(store, replace(event(1), **FULL))
        store.close_minute(kept.time)
        with suppress(StoreUnavailable):  # it does not know yet whether the first was in time
            assert other.add(kept) == kept
        assert all_of(store) == [kept]


class TestReplace:
    @pytest.fixture
    def kept(self, store: Store) -> Event:
        return add(store, replace(event(3), **FULL))[0]

    def check(self, store: Store, other: Store, now: Event) -> None:
        """Both find the event as that, and nothing else."""
        seen = [] if now.cancelled else [now]
        for server in store, other:
            assert server.get(now.id) == now
            assert all_of(server) == seen
            assert server.count(START, END, 10) == len(seen)
            assert server.before(START, END, 0) == (seen[0].place if seen else START)
            assert server.read(now.place, END, 10) == []

    @pytest.mark.parametrize('more', [{}, FULL], ids=['plain', 'full'])
    def test_every_server_finds_the_event_as_it_is_now(self, store: Store, other: Store, more: dict[str, Any]) -> None:
        changes: list[Callable[[Event], Event]] = [
            renamed,
            lambda event: replace(event, name='', local_time=None, zone=None),
            lambda event: replace(event, channel='b', payload='[]'),
            lambda event: replace(event, channel=None, payload=None),
            lambda event: moved(event, 2),
            lambda event: moved(event, 4),
            lambda event: replace(moved(event, 4), name='coffee', channel='b', payload=None),
            lambda event: cancelled(moved(event, 4)),
            cancelled,
        ]
        for change in changes:
            (kept,) = add(store, replace(event(3), **more))
            now = store.replace(kept, change(kept))
            assert told(now) == change(kept)
            self.check(store, other, now)
            if not now.cancelled:
                store.replace(now, cancelled(now))

    def test_changes_follow_each_other_on_any_server(self, store: Store, other: Store, kept: Event) -> None:
        chance = random.Random(3)
        now = kept
        for number in range(12):
            server = chance.choice([store, other])
            new = moved(now, chance.choice([2, 3, 4])) if number % 3 else renamed(now, str(number))
            now = server.replace(now, new)
            assert now.id == kept.id
            self.check(store, other, now)
        self.check(store, other, other.replace(now, cancelled(now)))

    @pytest.mark.parametrize('change', [cancelled, renamed, lambda event: moved(event, 4)])
    def test_what_is_not_what_it_was_is_not_changed(
        self, store: Store, other: Store, kept: Event, change: Callable[[Event], Event]
    ) -> None:
        now = other.replace(kept, moved(renamed(kept, 'new'), 5))
        with pytest.raises(Changed):
            store.replace(kept, change(kept))
        self.check(store, other, now)

    def test_what_was_never_kept_is_not_changed(self, store: Store) -> None:
        with pytest.raises(Changed):
            store.replace(event(1), event(2))
        assert all_of(store) == []

    @pytest.mark.parametrize(
        ('closed', 'change'),
        [
            (3, cancelled),
            (3, renamed),
            (3, lambda event: moved(event, 5)),
            (4, lambda event: moved(event, 5)),
            (2, lambda event: moved(event, 2)),
            (2, lambda event: moved(event, 1)),
        ],
    )
    def test_what_concerns_a_closed_minute_is_not_changed(
        self, store: Store, other: Store, kept: Event, closed: int, change: Callable[[Event], Event]
    ) -> None:
        other.close_minute(NOW + closed * MINUTE)
        with pytest.raises(MinuteClosed):
            store.replace(kept, change(kept))
        self.check(store, other, kept)

    def test_what_a_reopening_passed_over_is_not_changed(self, store: Store, other: Store, kept: Event) -> None:
        store.reopen(store.close_minute(kept.time).log, NOW)
        for new in cancelled(kept), moved(kept, 5):
            with pytest.raises(MinuteClosed):
                other.replace(kept, new)
        assert all_of(store) == []

    def test_what_was_moved_is_passed_over_by_a_reopening_of_its_new_minute(
        self, store: Store, other: Store, kept: Event
    ) -> None:
        now = other.replace(kept, moved(kept, 1))
        store.reopen(store.close_minute(now.time).log, NOW)
        assert all_of(other) == []
        assert other.get(kept.id) == now

    def test_of_those_who_change_it_at_once_one_does(self, store: Store, other: Store, kept: Event) -> None:
        wishes = [renamed(kept, 'a'), moved(kept, 2), cancelled(kept), moved(kept, 4), renamed(kept, 'b')] * 2
        servers = [store, other] * 5
        answers = at_once(*(lambda s=s, w=w: outcome(s.replace, kept, w) for s, w in zip(servers, wishes, strict=True)))
        (done,) = [answer for answer in answers if isinstance(answer, Event)]
        assert answers.count(Changed) == 9
        self.check(store, other, done)

    def test_what_was_moved_is_known_and_kept_though_its_first_minute_is_purged(
        self, store: Store, other: Store, kept: Event
    ) -> None:
        now = kept
        for minutes in 4, 2, 3, 8, 9:
            now = store.replace(now, moved(now, minutes))
        store.set_delivered(store.close_minute(NOW + 8 * MINUTE).log, NOW + 8 * MINUTE)
        store.purge(NOW + 8 * MINUTE)
        self.check(store, other, now)
        now = other.replace(now, moved(now, 10))
        self.check(store, other, now)

        # Then nothing is left when its last minute is
        store.set_delivered(store.close_minute(now.time).log, now.time)
        assert store.purge(now.time) > 0
        assert other.get(kept.id) is None
        assert store.purge(now.time) == 0


class TestRace:
    """`replace` against `close_minute`, in all orders by chance."""

    def test_who_is_told_and_who_reads_agree(self, store: Store, other: Store) -> None:
        # Given events of the minutes just ahead, which clients of both servers cancel, rename and move
        minutes, minute = 6, 1
        events = add(store, *(event(number // 6 + 1, str(number)) for number in range(6 * minutes)))
        known = {each.id: each for each in events}
        answers: Counter[str] = Counter()

        def client(server: Store, chance: random.Random) -> None:
            while minute <= minutes:
                old = known[chance.choice(events).id]
                if not old.cancelled and abs(old.time - NOW - minute * MINUTE) <= MINUTE:
                    to = moved(old, minute + chance.choice([0, 1, 1, 2]))
                    answer = outcome(server.replace, old, chance.choice([cancelled(old), renamed(old), to, to]))
                    if isinstance(answer, Event):
                        known[old.id] = answer
                    answers[answer.__name__ if isinstance(answer, type) else 'done'] += 1
                gevent.sleep(0)

        clients = [gevent.spawn(client, (store, other)[number % 2], random.Random(number)) for number in range(6)]

        # When both close and read minute after minute
        read: dict[Store, list[Event]] = {store: [], other: []}

        def tick(server: Store) -> None:
            end = NOW + minute * MINUTE
            server.close_minute(end)
            read[server] += server.read(Place.after(end - MINUTE), Place.after(end), 100)

        while minute <= minutes:
            gevent.sleep(0.03)
            at_once(lambda: tick(store), lambda: tick(other))
            minute += 1
        gevent.joinall(clients, raise_error=True)

        # Then both have read the same, which is what the clients were told, and nothing else
        pending = sorted((each for each in known.values() if not each.cancelled), key=lambda each: each.place)
        assert read[store] == read[other] == [each for each in pending if each.time <= NOW + minutes * MINUTE]
        assert all_of(store) == pending
        assert answers['done'] > minutes


class TestChannels:
    """Readers who name channels, against the same questions put to a list."""

    @pytest.fixture
    def log(self, store: Store) -> list[Event]:
        chance = random.Random(9)
        events = [replace(event(chance.choice([1, 2, 3])), channel=chance.choice([None, *'aabc'])) for _ in range(40)]
        add(store, *events)
        return sorted(events, key=lambda each: each.place)

    @pytest.mark.parametrize('names', ['', 'a', 'bc', 'abc', 'x', "'"])
    def test_they_see_these_and_what_has_none(self, store: Store, log: list[Event], names: str) -> None:
        channels = frozenset(names)
        seen = [each for each in log if each.channel is None or each.channel in channels]
        assert store.read(START, END, 100, channels) == seen
        assert (
            store.read(log[5].place, log[30].place, 4, channels)
            == [each for each in seen if log[5].place < each.place <= log[30].place][:4]
        )
        assert store.count(START, END, 100, channels) == len(seen)
        assert store.count(START, END, 3, channels) == min(3, len(seen))
        assert store.before(START, END, 3, channels) == seen[-4].place

    def test_who_names_none_sees_all(self, store: Store, log: list[Event]) -> None:
        assert store.read(START, END, 100) == log


def series(minutes: int, name: str = 'tea', **more: Any) -> Series:
    """A series whose occurrences are made up to that many minutes after NOW."""
    made = NOW + minutes * MINUTE
    return Series(new_id(NOW), name, 'FREQ=MINUTELY', '2027-01-15 08:00', 'Europe/Berlin', made, **more)


class TestSeries:
    @pytest.mark.parametrize(
        'more', [{}, {'revision': 3, 'channel': 'a', 'payload': '{}', 'owner': 'o', 'request': 'r'}]
    )
    def test_what_was_added_is_found_by_every_server(self, store: Store, other: Store, more: dict[str, str]) -> None:
        kept = series(1, **more)
        assert store.add_series(kept) == kept
        assert other.get_series(kept.id) == kept

    def test_an_id_that_is_taken_is_answered_with_its_series(self, store: Store, other: Store) -> None:
        kept = store.add_series(series(1))
        assert other.add_series(replace(kept, name='other')) == kept
        assert store.get_series(kept.id) == kept

    @pytest.mark.parametrize('id', ['', 'x', '0' * 24, '\ud800', '$gt'], ids=ascii)
    def test_any_text_is_a_valid_question(self, store: Store, id: str) -> None:
        store.add_series(series(1))
        assert store.get_series(id) is None

    def test_it_is_replaced_by_who_knows_what_it_is(self, store: Store, other: Store) -> None:
        kept = store.add_series(series(1))
        now = replace(kept, made=kept.made + MINUTE, revision=kept.revision + 1, channel='a')
        other.replace_series(kept, now)
        assert store.get_series(kept.id) == now
        for stale in kept, replace(now, channel=None), replace(now, revision=kept.revision + 2):
            with pytest.raises(Changed):
                store.replace_series(stale, replace(now, ended=True))
        store.replace_series(now, kept)
        assert other.get_series(kept.id) == kept

    def test_several_are_replaced_together_each_by_who_knows_what_it_is(self, store: Store, other: Store) -> None:
        first, second, third = (store.add_series(series(number)) for number in (1, 2, 3))
        store.replace_series(second, replace(second, name='other'))
        changes = [(one, replace(one, made=one.made + MINUTE)) for one in (first, second, third)]
        assert list(other.replace_all_series(changes)) == [True, False, True]
        assert [store.get_series(one.id) for one in (first, second, third)] == [
            changes[0][1],
            replace(second, name='other'),
            changes[2][1],
        ]
        assert list(store.replace_all_series([])) == []

    def test_of_those_who_replace_it_at_once_one_does(self, store: Store, other: Store) -> None:
        kept = store.add_series(series(1))
        wishes = [replace(kept, name=str(number)) for number in range(8)]
        servers = [store, other] * 4
        answers = at_once(
            *(lambda s=s, w=w: outcome(s.replace_series, kept, w) for s, w in zip(servers, wishes, strict=True))
        )
        assert Counter(answers) == {None: 1, Changed: 7}

    def test_those_are_due_that_are_behind_and_have_not_ended(self, store: Store) -> None:
        late, later, latest = (store.add_series(series(minutes)) for minutes in (1, 2, 3))
        ended = store.add_series(series(0))
        store.replace_series(ended, replace(ended, ended=True))
        assert store.series_due(NOW, 10) == []
        assert store.series_due(NOW + 2 * MINUTE, 10) == [late, later]
        assert store.series_due(NOW + 9 * MINUTE, 2) == [late, later]
        assert store.series_due(NOW + 9 * MINUTE, 10) == [late, later, latest]

    def test_they_are_listed_in_the_order_of_their_ids(self, store: Store) -> None:
        kept = [store.add_series(series(9 - number, channel=[None, 'a', 'b'][number % 3])) for number in range(7)]
        store.replace_series(kept[4], replace(kept[4], ended=True))
        listed = [each for each in kept if each is not kept[4]]
        assert store.list_series('', 10) == listed
        assert store.list_series('', 2) == listed[:2]
        assert store.list_series(listed[1].id, 10) == listed[2:]
        assert store.list_series('', 10, frozenset('a')) == [each for each in listed if each.channel != 'b']
        assert store.list_series('', 10, ended=True) == [*kept[:4], replace(kept[4], ended=True), *kept[5:]]

    @pytest.mark.parametrize('portion', [1, 2, 500])
    def test_one_that_has_ended_is_purged_with_its_last_entry(
        self, store: Store, other: Store, portion: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in mongo, sqlite:
            monkeypatch.setattr(module, 'BATCH', portion)
        # Given series that have ended before the minute that is purged, and others
        over = [store.add_series(series(minutes, ended=True)) for minutes in (1, 2, 2)]
        lasting = store.add_series(series(1))
        later = store.add_series(series(3, ended=True))
        with_entries = [store.add_series(series(1, ended=True)) for _ in range(3)]
        pending, _, moving = add(store, *(replace(event(2), series=one.id) for one in with_entries))
        pending = store.replace(pending, moved(pending, 5))
        moving = store.replace(moving, moved(moving, 4))
        store.set_delivered(store.close_minute(NOW + 2 * MINUTE).log, NOW + 2 * MINUTE)

        # When
        store.purge(NOW + 9 * MINUTE)

        # Then
        def kept() -> set[str]:
            return {one.id for one in other.list_series('', 100, ended=True)}

        assert kept() == {lasting.id, later.id, str(pending.series), str(moving.series)}
        assert [one for one in over if other.get_series(one.id)] == []
        store.set_delivered(store.close_minute(NOW + 4 * MINUTE).log, NOW + 4 * MINUTE)
        other.purge(NOW + 4 * MINUTE)
        assert kept() == {lasting.id, str(pending.series)}

    def occurrences(self, store: Store) -> tuple[str, Sequence[Event]]:
        mine = series(0).id
        return mine, add(store, *(replace(event(minutes), series=mine) for minutes in (1, 2, 3, 4)))

    def test_its_occurrences_are_found_in_order(self, store: Store, other: Store) -> None:
        mine, events = self.occurrences(store)
        add(store, event(2), replace(event(2), series=series(0).id))
        assert other.occurrences(mine, NOW, 10) == list(events)
        assert other.occurrences(mine, NOW + MINUTE, 2) == list(events[1:3])
        assert other.occurrences(mine, events[-1].time, 10) == []
        assert other.occurrences('\ud800', NOW, 10) == []

    def test_cancelled_ones_are_left_out_and_moved_ones_found_where_they_are(self, store: Store, other: Store) -> None:
        mine, (first, second, third, fourth) = self.occurrences(store)
        store.replace(second, cancelled(second))
        first = store.replace(first, moved(first, 9))
        fourth = store.replace(fourth, moved(fourth, 2))
        assert other.occurrences(mine, NOW, 10) == [fourth, third, first]
        assert list(map(told, other.read(START, END, 10, cancelled=True))) == [
            *map(told, sorted((cancelled(second), fourth), key=lambda each: each.place)),
            told(third),
            told(first),
        ]


@pytest.mark.parametrize(
    'verb',
    [
        lambda store: store.replace(event(1), event(2)),
        lambda store: store.add_series(series(1)),
        lambda store: store.get_series('x'),
        lambda store: store.replace_series(series(1), series(2)),
        lambda store: store.series_due(NOW, 1),
        lambda store: store.list_series('', 1),
        lambda store: store.occurrences('x', NOW, 1),
    ],
    ids='replace add_series get_series replace_series series_due list_series occurrences'.split(),
)
def test_a_closed_store_is_unavailable(store: Store, verb: Callable[[Store], Any]) -> None:
    store.close()
    with pytest.raises(StoreUnavailable):
        verb(store)


def test_several_are_added_together_with_an_outcome_for_each(store: Store, other: Store) -> None:
    store.close_minute(NOW + MINUTE)
    there = store.add(Event(new_id(NOW), 'there', NOW + 3 * MINUTE))
    late, fresh = (Event(new_id(NOW), name, NOW + time * MINUTE) for name, time in (('late', 1), ('fresh', 2)))
    outcomes = other.add_all([fresh, replace(there, name='again'), late])
    assert list(outcomes[:2]) == [fresh, there]
    assert isinstance(outcomes[2], MinuteClosed)
    assert store.read(Place(0, ''), Place(2**52, ''), 10) == [fresh, there]
    assert list(store.add_all([])) == []

"""Changes in MongoDB, step by step: whatever happens between any two steps, all who read a closed minute agree."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pymongo.database import Database

from reminder.errors import Changed, MinuteClosed
from reminder.models.event import MINUTE, Event, Place
from reminder.models.mongo import MongoStore
from tests.integration import test_store_mongo
from tests.integration.test_store import END, NOW, START, event

connect, database, url = test_store_mongo.connect, test_store_mongo.database, test_store_mongo.url
store = test_store_mongo.store

STEPS = 20
"""More than any change takes."""
BEGIN, EARLIER, LATER = 4, 2, 6
"""Minutes, counted from the first of a round, at which an event is, and to which it is moved."""


class Killed(BaseException):
    """The end of a server."""


class Steps:
    """Stands in for what takes a store's changes to the database: something happens before one of the steps."""

    def __init__(self, store: MongoStore, number: int, happens: Callable[[], object]) -> None:
        self._left = number
        self._happens = happens
        self._changes = store._changes
        self._ways = dict(vars(self._changes))

    def __enter__(self) -> 'Steps':
        self._changes._events = self  # type: ignore[assignment]
        self._changes._record = self._before(self._ways['_record'])
        self._changes._fence = self._before(self._ways['_fence'])
        return self

    def __exit__(self, *_: object) -> None:
        vars(self._changes).update(self._ways)

    @property
    def happened(self) -> bool:
        """Whether there was such a step."""
        return self._left < 0

    def __getattr__(self, name: str) -> Any:
        return self._before(getattr(self._ways['_events'], name))

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any) -> Any:
            self._left -= 1
            if self._left == -1:
                self._happens()
            return call(*args)

        return step


Change = Callable[[Event], Event]
CHANGES: dict[str, Change] = {
    'cancel': lambda event: replace(event, cancelled=True),
    'rename': lambda event: replace(event, name='coffee'),
    'later': lambda event: replace(event, time=event.time + (LATER - BEGIN) * MINUTE),
    'earlier': lambda event: replace(event, time=event.time - (BEGIN - EARLIER) * MINUTE),
}


def plain(event: Event | None) -> Event | None:
    """What an event says, wherever it is kept."""
    return event and replace(event, entry=None)


def read(store: MongoStore, minute: int) -> list[Event]:
    """What a server finds that closes that minute, then reads all up to then."""
    store.close_minute(minute)
    events = list(store.read(START, Place.after(minute), 1_000))
    assert store.count(START, Place.after(minute), 1_000) == len(events)
    assert store.before(START, Place.after(minute), 0) == (events[-1].place if events else START)
    return events


class Rounds:
    """Changes an event, round by round, and has something happen before the first, the second, ... step of that."""

    def __init__(self, connect: Callable[[], MongoStore], change: Change, has_moved: bool) -> None:
        self._store = connect()
        self._change = change
        self._has_moved = has_moved
        self.others = [connect(), connect()]
        self.outcomes: set[Any] = set()
        """What those who changed were told."""

    def play(self, happens: Callable[[int, Event], object]) -> Iterator[tuple[int, Event, Event, Any]]:
        """Yields, for each round, its first minute, the event, what it was to become, and what the caller was told.

        `happens` is told the round's first minute and the event. In the last round it does not happen.
        """
        for number in range(STEPS):
            base = NOW + number * 10 * MINUTE
            old = self._store.add(replace(event(0), time=base + BEGIN * MINUTE))
            if self._has_moved:
                old = self._store.replace(old, replace(old, time=old.time + MINUTE))
                old = self._store.replace(old, replace(old, time=old.time - MINUTE))
            new = self._change(old)
            with Steps(self._store, number, partial(happens, base, old)) as steps:
                try:
                    told: Any = self._store.replace(old, new)
                except (Changed, MinuteClosed, Killed) as error:
                    told = type(error)
            self.outcomes.add(told if isinstance(told, type) else 'done')
            yield base, old, new, told
            if not steps.happened:
                return
        raise AssertionError('it takes more steps')


CASES = [*((name, False) for name in CHANGES), ('rename', True), ('later', True)]


@pytest.fixture(params=CASES, ids=lambda case: f'{case[0]} again' if case[1] else case[0])
def rounds(request: pytest.FixtureRequest, connect: Callable[[], MongoStore]) -> Rounds:
    name, has_moved = request.param
    return Rounds(connect, CHANGES[name], has_moved)


def kill(base: int, event: Event) -> None:
    raise Killed


def test_a_server_that_dies_leaves_the_event_as_it_was_or_as_it_was_to_be(rounds: Rounds) -> None:
    # Given a change whose server dies before any of its steps
    for base, old, new, _ in rounds.play(kill):
        # When others close and read the minutes, each at a time of its own
        first, second = rounds.others
        for minute in range(base + MINUTE, base + 8 * MINUTE, MINUTE):
            found = read(first, minute)
        assert read(second, minute) == found

        # Then they find it once, or not at all where it was to be cancelled, and agree with those who ask for it
        now = first.get(old.id)
        assert now is not None and now == second.get(old.id)
        assert plain(now) in (plain(old), plain(new))
        assert [each for each in found if each.id == old.id] == ([] if now.cancelled else [now])
    assert rounds.outcomes == {Killed, 'done'}


def test_what_a_dead_server_left_stops_nobody(rounds: Rounds) -> None:
    for base, old, _, _ in rounds.play(kill):
        first, second = rounds.others
        now = first.get(old.id)
        assert now is not None
        if not now.cancelled:
            now = first.replace(now, replace(now, name='again', time=base + 5 * MINUTE))
        assert [each for each in read(second, base + 9 * MINUTE) if each.id == old.id] == (
            [] if now.cancelled else [now]
        )


@pytest.mark.parametrize('minutes', [EARLIER, BEGIN, LATER])
def test_who_closes_a_minute_meanwhile_and_who_changed_agree(rounds: Rounds, minutes: int) -> None:
    # Given a change during which another server closes a minute and reads it
    found: list[Event] = []
    first, second = rounds.others

    def close(base: int, event: Event) -> None:
        found[:] = read(first, base + minutes * MINUTE)

    for base, old, new, told in rounds.play(close):
        closed = base + minutes * MINUTE if found else base
        seen = [each for each in found if each.id == old.id]

        # Then what it found is what the caller was told, and what all find later
        now = second.get(old.id)
        assert now is not None
        assert plain(now) == plain(new if isinstance(told, Event) else old)
        assert told in (now, MinuteClosed)
        assert seen == ([now] if now.time <= closed and not now.cancelled else [])
        final = read(second, base + 9 * MINUTE)
        assert [each for each in final if each.id == old.id] == ([] if now.cancelled else [now])
        found.clear()
    assert 'done' in rounds.outcomes


@pytest.mark.parametrize('other_change', [CHANGES['cancel'], CHANGES['earlier']], ids=['cancel', 'earlier'])
def test_of_two_changes_one_is_made(rounds: Rounds, other_change: Change) -> None:
    # Given a change during which another server makes one
    first, second = rounds.others
    answers: list[Any] = []

    def meddle(base: int, event: Event) -> None:
        try:
            answers.append(first.replace(event, other_change(event)))
        except Changed as error:
            answers.append(type(error))

    for base, _, _, told in rounds.play(meddle):
        # Then one of them is told that it is made, and it is, and the other that it is not
        (now,) = [answer for answer in (told, *answers) if isinstance(answer, Event)]
        assert [answer for answer in (told, *answers) if answer is not now] == [Changed] * len(answers)
        assert second.get(now.id) == now
        assert [each for each in read(second, base + 9 * MINUTE) if each.id == now.id] == (
            [] if now.cancelled else [now]
        )
        answers.clear()


def test_what_is_told_is_true_of_an_event_whose_log_is_reopened_meanwhile(rounds: Rounds) -> None:
    # Given a change during which a wrong clock closes the log far ahead, and another server reopens it
    first, second = rounds.others

    is_reopened = False

    def reopen(base: int, event: Event) -> None:
        nonlocal is_reopened
        is_reopened = True
        first.reopen(first.close_minute(base + 60 * MINUTE).log, base)

    for base, old, new, told in rounds.play(reopen):
        # Then the event is as the caller was told, and counts as delivered
        now = second.get(old.id)
        assert plain(now) == plain(new if isinstance(told, Event) else old)
        assert told in (now, Changed, MinuteClosed)
        if is_reopened:
            assert old.id not in [each.id for each in read(second, base + 9 * MINUTE)]
        is_reopened = False


class TestDocuments:
    def test_nothing_is_left_of_a_change_but_what_it_made(
        self, store: MongoStore, database: Database[dict[str, Any]]
    ) -> None:
        kept = store.add(event(1))
        before = database.events.find_one()
        assert before is not None
        store.replace(kept, replace(kept, name='coffee'))
        assert database.events.find_one() == {**before, 'name': 'coffee'}

    def test_an_event_that_moved_is_known_by_its_first_entry_in_one_step(
        self, store: MongoStore, database: Database[dict[str, Any]]
    ) -> None:
        now = store.add(event(1))
        for minutes in 5, 3, 9:
            now = store.replace(now, replace(now, time=NOW + minutes * MINUTE))
        (last,) = database.events.find({'cancelled': None})
        assert database.events.count_documents({'_id': last['entryOf'], 'movedTo': last['_id']}) == 1
        assert last.keys() == {'_id', 'name', 'time', 'localTime', 'timeZone', 'entryOf'}

    def test_an_id_that_is_no_object_id_can_be_changed_and_moved(
        self, store: MongoStore, database: Database[dict[str, Any]]
    ) -> None:
        database.events.insert_one({'_id': 'tea-1', 'name': ['tea'], 'time': test_store_mongo.date(NOW + MINUTE)})
        now = store.get('tea-1')
        assert now is not None
        now = store.replace(now, replace(now, time=NOW + 2 * MINUTE))
        now = store.replace(now, replace(now, name='coffee'))
        assert store.read(START, END, 10) == [now]
        assert now.id == 'tea-1'
        assert now.entry is not None and store.get(now.entry) is None

    def test_other_programs_fields_are_left_alone(self, store: MongoStore, database: Database[dict[str, Any]]) -> None:
        strange = {'claim': 'x', 'channel': 5, 'payload': {}, 'owner': [], '__v': 0}
        id = database.events.insert_one(
            {'name': 'tea', 'time': test_store_mongo.date(NOW + MINUTE), **strange}
        ).inserted_id
        store.close_minute(NOW + MINUTE)
        kept = database.events.find_one()
        assert kept is not None and strange.items() <= kept.items()
        assert store.read(START, END, 10) == [Event(str(id), 'tea', NOW + MINUTE)]

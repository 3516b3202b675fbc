"""Where replays begin at the earliest, and how often the store is asked for that."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.util import wrap_errors

from reminder.errors import StoreUnavailable
from reminder.models.event import Place
from reminder.services.floors import Floors
from reminder.services.gate import Gate
from tests.memory import BASE, Database, MemoryStore, event, minute

LIMIT, SEARCH = 3, 20
END = Place.after(minute(1))
NOBODY: frozenset[str] = frozenset()


class Asked(MemoryStore):
    """Notes what it is asked; gives others a turn before it answers."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.questions: list[tuple[Any, ...]] = []
        self.at_once = self.most_at_once = 0
        self.failures: list[Exception] = []

    def before(self, *question: Any) -> Place:
        self.questions.append(question)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        gevent.sleep(0)
        self.at_once -= 1
        if self.failures:
            raise self.failures.pop()
        return super().before(*question)


@pytest.fixture
def store() -> Asked:
    """Ten events, at minute 1."""
    store = Asked(Database())
    store.open(BASE)
    for number in range(10):
        store.add(event(number, minute(1)))
    return store


@pytest.fixture
def find(store: Asked) -> Callable[..., Place]:
    floors = Floors(store, LIMIT, Gate(1, 3))
    return lambda place, channels=NOBODY: floors.find(place, END, channels, SEARCH)


def place(number: int) -> Place:
    return event(number, minute(1)).place


def test_it_has_as_many_behind_it_as_are_replayed(find: Callable[..., Place]) -> None:
    assert find(Place.after(BASE)) == place(6)


def test_it_is_not_behind_who_has_missed_no_more(find: Callable[..., Place]) -> None:
    for number in (6, 7, 8, 9):
        assert find(place(number), frozenset('a')) <= place(number)


def test_from_however_many_places_somebody_comes_the_store_is_asked_the_same(
    find: Callable[..., Place], store: Asked
) -> None:
    floors = {find(Place(BASE + number, '')) for number in range(500)}
    assert floors == {place(6)}
    assert len(store.questions) == 3


def test_of_those_who_wait_for_the_same_one_asks(find: Callable[..., Place], store: Asked) -> None:
    for channels, number in ((NOBODY, 100), (frozenset('a'), 4)):
        waiting = [gevent.spawn(find, Place.after(BASE), channels) for _ in range(number)]
        assert {greenlet.get() for greenlet in waiting} == {place(6)}
    assert len(store.questions) == len(set(store.questions)) == 4


def test_for_different_channels_it_is_asked_one_by_one_and_by_few(find: Callable[..., Place], store: Asked) -> None:
    # Given many who come back at once, each for a channel of his own
    find(Place.after(BASE))
    ask = wrap_errors(StoreUnavailable, find)
    waiting = [gevent.spawn(ask, Place.after(BASE), frozenset({str(number)})) for number in range(100)]
    answers = [greenlet.get() for greenlet in waiting]
    # Then few of them wait, one after the other, and all others are told to come again
    assert store.most_at_once == 1
    assert answers[:4] == [place(6)] * 4
    assert {type(answer) for answer in answers[4:]} == {StoreUnavailable}


def test_what_failed_is_asked_by_who_comes_next(find: Callable[..., Place], store: Asked) -> None:
    store.failures.append(StoreUnavailable('away'))
    with pytest.raises(StoreUnavailable):
        find(Place.after(BASE))
    assert find(Place.after(BASE)) == place(6)


def test_few_answers_are_kept(find: Callable[..., Place], store: Asked) -> None:
    for number in range(300):
        find(Place.after(BASE), frozenset({str(number)}))
    asked = len(store.questions)
    find(Place.after(BASE), frozenset({'299'}))
    assert len(store.questions) == asked
    find(Place.after(BASE), frozenset({'0'}))
    assert len(store.questions) > asked

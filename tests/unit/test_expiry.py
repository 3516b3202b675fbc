"""When connections end because their tokens expire: by the wall clock, also by one that is put right."""

from collections.abc import Callable
from typing import Any

import pytest

from reminder.websocket.expiry import CHECK_EVERY, Expiry

NOW = 1_800_000_000_000


class Deadlines:
    """Looks that were asked for, which happen when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def after(self, delay: float, function: Callable[[], None]) -> None:
        assert delay == CHECK_EVERY
        self.asked.append(function)


class World:
    """An expiry with its clock, its deadlines, and those whom it has ended."""

    def __init__(self) -> None:
        self.now = NOW
        self.ended: list[str] = []
        self.deadlines = Deadlines()
        deadlines: Any = self.deadlines
        self.expiry = Expiry(deadlines, lambda: self.now, self.end)

    def end(self, sid: str) -> None:
        self.ended.append(sid)
        self.expiry.discard(sid)

    def look(self, now: int) -> None:
        """Lets a second pass, after which the clock shows `now`."""
        self.now = now
        (asked,) = self.deadlines.asked
        self.deadlines.asked.clear()
        asked()


@pytest.fixture
def world() -> World:
    return World()


def test_each_ends_at_its_own_instant_and_once(world: World) -> None:
    world.expiry.add('late', NOW + 3_000)
    world.expiry.add('soon', NOW + 2_000)
    for passed, ended in ((1_000, []), (1_999, []), (2_000, ['soon']), (2_999, ['soon']), (3_000, ['soon', 'late'])):
        world.look(NOW + passed)
        assert world.ended == ended


def test_whoever_left_is_not_ended(world: World) -> None:
    world.expiry.add('gone', NOW + 1_000)
    world.expiry.discard('gone')
    world.expiry.discard('never there')
    world.look(NOW + 1_000)
    assert world.ended == []


def test_a_clock_that_is_put_forward_ends_what_it_has_passed(world: World) -> None:
    world.expiry.add('one', NOW + 3_600_000)
    world.look(NOW + 3_600_000)
    assert world.ended == ['one']


def test_a_clock_that_is_put_back_lets_them_live_until_it_gets_there(world: World) -> None:
    world.expiry.add('one', NOW + 2_000)
    for now in (NOW - 60_000, NOW + 1_999):
        world.look(now)
    assert world.ended == []
    world.look(NOW + 2_000)
    assert world.ended == ['one']


def test_it_looks_once_a_second_however_many_come_and_go_and_not_at_all_for_nobody(world: World) -> None:
    for number in range(100):
        world.expiry.add(str(number), NOW + 1_000)
        world.expiry.discard(str(number))
    world.expiry.add('last', NOW + 1_000)
    assert len(world.deadlines.asked) == 1
    world.look(NOW + 1_000)
    assert world.deadlines.asked == []
    world.expiry.add('another', NOW + 2_000)
    assert len(world.deadlines.asked) == 1

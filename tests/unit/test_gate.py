"""The gate before work that takes the processor for long."""

import gevent
import pytest
from gevent.event import Event

from reminder.errors import InvalidInput
from reminder.services import gate
from reminder.services.gate import REST, Gate


def test_what_was_worked_is_rested_three_times() -> None:
    rests: list[float] = []
    moments = iter([10.0, 10.5])
    with Gate(rests.append, lambda: next(moments)).pass_through():
        pass
    assert rests == [REST * 0.5]


def test_what_fails_rests_too_and_the_next_may_pass() -> None:
    rests: list[float] = []
    one = Gate(rests.append)
    with pytest.raises(InvalidInput, match='mine'), one.pass_through():
        raise InvalidInput('mine')
    with one.pass_through():
        pass
    assert len(rests) == 2


def test_one_is_in_at_a_time_and_more_than_may_wait_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, 'WAITING', 3)
    resting, passed = Event(), []
    one = Gate(lambda seconds: resting.wait())

    def work(number: int) -> None:
        with one.pass_through():
            passed.append(number)

    working = [gevent.spawn(work, number) for number in range(3)]
    gevent.sleep(0)
    assert passed == [0]
    with pytest.raises(InvalidInput, match='try again'), one.pass_through():
        pass
    resting.set()
    gevent.joinall(working, timeout=5)
    assert passed == [0, 1, 2]

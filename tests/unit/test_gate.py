"""Gates before work that takes long."""

import gevent
import pytest
from gevent.event import Event

from reminder.errors import InvalidInput
from reminder.services.gate import Gate


def test_the_next_waits_as_long_as_a_place_has_to_rest() -> None:
    # Given a place that was taken from 10.0 to 10.5
    slept: list[float] = []
    moments = iter([9.0, 10.0, 10.5, 11.25, 11.5, 12.0, 20.0, 20.0, 21.0])
    gate = Gate(1, 0, 3, slept.append, lambda: next(moments))
    with gate.pass_through():
        pass
    assert slept == []

    # When the next comes at 11.25, it sleeps what is left of three times that; it stays from 11.5 to 12.0
    with gate.pass_through():
        pass
    assert slept == [0.75]

    # Then who comes long after does not
    with gate.pass_through():
        pass
    assert slept == [0.75]


def test_what_fails_has_the_place_rest_too_and_the_next_may_pass() -> None:
    slept: list[float] = []
    moments = iter([0.0, 0.0, 2.0, 2.0, 4.0, 5.0])
    gate = Gate(1, 0, 1, slept.append, lambda: next(moments))
    with pytest.raises(InvalidInput, match='mine'), gate.pass_through():
        raise InvalidInput('mine')
    with gate.pass_through():
        pass
    assert slept == [2.0]


@pytest.mark.parametrize(('inside', 'waiting'), [(1, 2), (2, 1), (3, 0)])
def test_a_few_are_in_at_a_time_and_more_than_may_wait_are_turned_away(inside: int, waiting: int) -> None:
    let_go, passed = Event(), []
    gate = Gate(inside, waiting)

    def work(number: int) -> None:
        with gate.pass_through():
            passed.append(number)
            let_go.wait()

    working = [gevent.spawn(work, number) for number in range(3)]
    gevent.sleep(0)
    assert passed == list(range(inside))
    with pytest.raises(InvalidInput, match='try again'), gate.pass_through():
        pass
    let_go.set()
    gevent.joinall(working, timeout=5)
    assert passed == [0, 1, 2]
    with gate.pass_through():
        pass

"""Gates before work that takes long."""

import gevent
import pytest
from gevent.event import Event

from reminder.errors import InvalidInput
from reminder.services.gate import Gate


def test_a_rest_follows_that_knows_how_long_the_work_took() -> None:
    rests: list[float] = []
    moments = iter([10.0, 10.5])
    with Gate(1, 0, rests.append, lambda: next(moments)).pass_through():
        pass
    assert rests == [0.5]


def test_what_fails_rests_too_and_the_next_may_pass() -> None:
    rests: list[float] = []
    gate = Gate(1, 0, rests.append)
    with pytest.raises(InvalidInput, match='mine'), gate.pass_through():
        raise InvalidInput('mine')
    with gate.pass_through():
        pass
    assert len(rests) == 2


@pytest.mark.parametrize(('inside', 'waiting'), [(1, 2), (2, 1), (3, 0)])
def test_a_few_are_in_at_a_time_and_more_than_may_wait_are_turned_away(inside: int, waiting: int) -> None:
    resting, passed = Event(), []
    gate = Gate(inside, waiting, lambda seconds: resting.wait())

    def work(number: int) -> None:
        with gate.pass_through():
            passed.append(number)

    working = [gevent.spawn(work, number) for number in range(3)]
    gevent.sleep(0)
    assert passed == list(range(inside))
    with pytest.raises(InvalidInput, match='try again'), gate.pass_through():
        pass
    resting.set()
    gevent.joinall(working, timeout=5)
    assert passed == [0, 1, 2]
    with gate.pass_through():
        pass

"""Gates before work that takes long."""

import gevent
import pytest
from gevent.event import Event

from reminder.errors import Busy, InvalidInput
from reminder.services.gate import CLIENT, Gate


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


class Crowd:
    """Clients who come to a gate, and how it ends for each of them."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.go_on = Event()
        self.passed: list[str] = []
        self.refused: list[str] = []
        self.comers: list[gevent.Greenlet] = []

    def come(self, *names: str, patient: bool = False) -> None:
        """Clients come one after the other; a name is that of a client, and what else tells its calls apart."""
        for name in names:
            self.comers.append(gevent.spawn(self._pass_through, name, patient))
            for _ in range(3):  # whoever gives way hears of it later
                gevent.sleep(0)

    def end(self) -> None:
        self.go_on.set()
        gevent.joinall(self.comers, timeout=5)

    def _pass_through(self, name: str, patient: bool) -> None:
        CLIENT.set(name[0])
        try:
            with self.gate.pass_through(patient):
                self.go_on.wait()
                self.passed.append(name)
        except Busy:
            self.refused.append(name)


def test_clients_take_turns() -> None:
    crowd = Crowd(Gate(1, 9))
    crowd.come('a0', 'a1', 'a2', 'a3', 'b1', 'b2', 'c1')
    crowd.end()
    assert crowd.passed == ['a0', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3']


def test_who_waits_most_gives_way() -> None:
    crowd = Crowd(Gate(1, 4))
    crowd.come('a0', 'a1', 'a2', 'a3', 'b1')
    assert crowd.refused == []
    crowd.come('c1')
    assert crowd.refused == ['a3']
    crowd.come('b2', 'a3')  # nobody has two more than them
    assert crowd.refused == ['a3', 'b2', 'a3']
    assert crowd.gate.refused == 3
    crowd.end()
    assert crowd.passed == ['a0', 'a1', 'b1', 'c1', 'a2']


def test_who_is_patient_is_neither_refused_nor_kept_waiting() -> None:
    crowd = Crowd(Gate(1, 1))
    crowd.come('a0', 'b1')
    crowd.come('c1', 'c2', 'c3', patient=True)
    crowd.come('d1')
    crowd.end()
    assert (crowd.passed, crowd.refused) == (['a0', 'c1', 'c2', 'c3', 'b1'], ['d1'])


def test_who_is_killed_leaves_the_place_to_others() -> None:
    crowd = Crowd(Gate(1, 3))
    with crowd.gate.pass_through():
        crowd.come('a1', 'b1', 'c1')
        waits, is_let_in, last = crowd.comers
        waits.kill()
        is_let_in.kill(block=False)  # which reaches him after the place did
    crowd.end()
    assert crowd.passed == ['c1'] and last.successful()
    with crowd.gate.pass_through():
        pass

"""Greenlets that are used again: in which order calls begin, and that they do not stand in the way of others."""

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from reminder.websocket.workers import MAX_RUNNING, Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


def settle() -> None:
    """Has all calls run that nothing keeps."""
    for _ in range(3 * MAX_RUNNING):
        gevent.sleep(0)


def noting(seen: list[object], what: object) -> Callable[[], None]:
    return lambda: seen.append(what)


def test_calls_begin_in_their_order(workers: Workers) -> None:
    seen: list[object] = []
    for number in (3, 1, 2, 1.5):
        workers.run(noting(seen, number), number)
    assert workers.waiting == 4
    settle()
    assert seen == [1, 1.5, 2, 3]
    assert (workers.busy, workers.waiting) == (0, 0)


def test_a_call_that_goes_on_does_not_wait_for_those_that_have_yet_to_begin(workers: Workers) -> None:
    # Given one that waits for an answer, which another one has, and many more behind them
    answer, seen = Event(), list[object]()

    def ask() -> None:
        answer.wait()
        seen.append('answered')

    workers.run(ask, 0)
    workers.run(answer.set, 1)
    for number in range(100):
        workers.run(noting(seen, number), 2 + number)
    # Then it goes on when it has the answer
    settle()
    assert 'answered' in seen[:5]
    assert len(seen) == 101


def test_only_so_many_are_under_way(workers: Workers) -> None:
    go_on, seen = Event(), list[object]()
    for _ in range(MAX_RUNNING + 2):
        workers.run(go_on.wait, 1)
    workers.run(noting(seen, 'last'), 2)
    workers.run(noting(seen, 'first'), 0)
    settle()
    assert (workers.busy, workers.waiting) == (MAX_RUNNING, 3)
    assert seen == ['first']  # before there were so many
    go_on.set()
    settle()
    assert seen == ['first', 'last']
    assert (workers.busy, workers.waiting) == (0, 0)


def test_a_call_that_fails_takes_no_worker_with_it(workers: Workers) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    for _ in range(2 * MAX_RUNNING):
        workers.run(fail, 0)
    with pytest.raises(ZeroDivisionError):
        workers.call(fail, 0)
    assert workers.call(lambda: 'done', 1) == 'done'
    assert workers.busy == 0


def test_what_waits_when_they_are_closed_is_never_called(workers: Workers) -> None:
    seen: list[object] = []
    workers.run(noting(seen, 1), 0)
    workers.close()
    settle()
    assert seen == []

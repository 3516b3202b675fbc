"""Deadlines, in virtual time: to wait moves the clock."""

import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import pytest

from reminder.websocket import deadlines as module
from reminder.websocket.deadlines import RESOLUTION, SPARE, Deadlines

ROUNDING = 1e-9


class Time:
    """A clock that moves when its `Event` is waited for, and lets others act before it does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = 0
        self.while_waiting: Callable[[], object] | None = None
        time = self

        class Event(gevent.event.Event):  # type: ignore[misc]
            def wait(self, timeout: float | None = None) -> Any:
                time.waits += 1
                action, time.while_waiting = time.while_waiting, None
                if action is not None:
                    action()
                if timeout is None:
                    return super().wait()
                if not self.is_set():
                    time.now += timeout
                gevent.sleep(0)
                return self.is_set()

        self.Event = Event

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, 'time', time)
    monkeypatch.setattr(module, 'Event', time.Event)
    return time


@pytest.fixture
def deadlines(time: Time) -> Iterator[Deadlines]:
    deadlines = Deadlines()
    yield deadlines
    deadlines.close()


def let_run() -> None:
    """Until nothing is left to be done."""
    for _ in range(1000):
        gevent.sleep(0)


class Log:
    """What was called, and when."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self.calls: list[tuple[float, Any]] = []

    def __call__(self, name: Any) -> None:
        self.calls.append((self._time.now, name))

    @property
    def names(self) -> list[Any]:
        return [name for _, name in self.calls]


@pytest.fixture
def log(time: Time) -> Log:
    return Log(time)


def assert_on_time(log: Log, *expected: tuple[float, Any]) -> None:
    """Never early, and no later than the resolution."""
    assert log.names == [name for _, name in expected]
    for (called, name), (due, _) in zip(log.calls, expected, strict=True):
        assert due - ROUNDING <= called <= due + RESOLUTION + ROUNDING, name


def test_a_function_is_called_with_its_arguments_when_its_time_has_come(deadlines: Deadlines, log: Log) -> None:
    deadlines.after(0.3, log, 'ping')
    let_run()
    assert_on_time(log, (0.3, 'ping'))


def test_each_is_called_once(deadlines: Deadlines, log: Log) -> None:
    deadlines.after(1, log, 'a')
    deadlines.after(2, log, 'b')
    let_run()
    let_run()
    assert log.names == ['a', 'b']


def test_different_delays_come_in_the_order_of_their_times(deadlines: Deadlines, log: Log) -> None:
    for delay in (25.0, 0.3, 20.0, 45.0, 0.3, 1.0):
        deadlines.after(delay, log, delay)
    let_run()
    assert_on_time(log, *((delay, delay) for delay in (0.3, 0.3, 1.0, 20.0, 25.0, 45.0)))


def test_one_that_is_set_while_a_later_one_is_waited_for_comes_first(
    deadlines: Deadlines, log: Log, time: Time
) -> None:
    deadlines.after(20, log, 'later')
    time.while_waiting = lambda: deadlines.after(0.3, log, 'first')
    let_run()
    assert_on_time(log, (0.3, 'first'), (20, 'later'))


def test_one_may_set_the_next(deadlines: Deadlines, log: Log) -> None:
    def ping(number: int) -> None:
        log(number)
        if number < 5:
            deadlines.after(0.3, ping, number + 1)

    deadlines.after(0.3, ping, 1)
    let_run()
    assert log.names == [1, 2, 3, 4, 5]
    for number, (called, _) in enumerate(log.calls, 1):
        assert number * 0.3 - ROUNDING <= called <= number * (0.3 + RESOLUTION)


def test_one_that_sets_a_shorter_one_does_not_delay_it(deadlines: Deadlines, log: Log) -> None:
    def set_a_shorter_one() -> None:
        deadlines.after(0.2, log, 'pong')

    deadlines.after(25, log, 'next ping')
    deadlines.after(1, set_a_shorter_one)
    let_run()
    assert_on_time(log, (1.2, 'pong'), (25, 'next ping'))


def test_one_that_fails_is_logged_and_the_others_come(
    deadlines: Deadlines, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError('made up')

    deadlines.after(1, fail)
    deadlines.after(1, log, 'same time')
    deadlines.after(2, log, 'later')
    let_run()
    assert log.names == ['same time', 'later']
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_ten_thousand_close_together_share_few_wake_ups(deadlines: Deadlines, log: Log, time: Time) -> None:
    for number in range(10_000):
        deadlines.after(25, log, number)
        time.now += 0.000_001
    let_run()
    assert log.names == list(range(10_000))
    assert time.waits < 10


def test_one_that_is_cancelled_is_not_called_and_the_others_are(deadlines: Deadlines, log: Log) -> None:
    cancelled = deadlines.after(1, log, 'cancelled')
    deadlines.after(1, log, 'same time')
    deadlines.after(2, log, 'later')
    cancelled.cancel()
    cancelled.cancel()
    let_run()
    assert_on_time(log, (1, 'same time'), (2, 'later'))


def test_one_may_cancel_the_next(deadlines: Deadlines, log: Log) -> None:
    following = [deadlines.after(2, log, number) for number in range(200)]

    def cancel_them() -> None:
        for one in following:
            one.cancel()

    deadlines.after(1, cancel_them)
    deadlines.after(3, log, 'last')
    let_run()
    assert_on_time(log, (3, 'last'))


def test_to_cancel_one_that_is_over_does_nothing(deadlines: Deadlines, log: Log) -> None:
    over = [deadlines.after(1, log, number) for number in range(200)]
    let_run()
    for one in over:
        one.cancel()
    deadlines.after(1, log, 'next')
    let_run()
    assert log.names[-1] == 'next'


def test_those_that_were_cancelled_are_not_kept(deadlines: Deadlines, log: Log) -> None:
    kept = [deadlines.after(25 + number % 20, log, number) for number in range(100)]
    for number in range(10_000):
        deadlines.after(number % 45, log, 'ended').cancel()
        assert len(deadlines._heap) <= 2 * (len(kept) + SPARE) + 1
    let_run()
    assert sorted(log.names) == list(range(100))


def test_what_one_was_for_is_let_go_at_once(deadlines: Deadlines) -> None:
    class Client:
        def end(self) -> None:
            """Nothing."""

    over, cancelled = Client(), Client()
    ended = [weakref.ref(over), weakref.ref(cancelled)]
    deadlines.after(0.3, over.end)
    deadlines.after(25, cancelled.end).cancel()
    let_run()
    del over, cancelled
    assert [reference() for reference in ended] == [None, None]


def test_nothing_is_called_once_it_is_closed(deadlines: Deadlines, log: Log) -> None:
    deadlines.after(0.3, log, 'a')
    deadlines.close()
    let_run()
    deadlines.after(0.3, log, 'b')
    let_run()
    assert log.calls == []


def test_one_may_close_them(deadlines: Deadlines, log: Log) -> None:
    deadlines.after(1, deadlines.close)
    deadlines.after(2, log, 'never')
    let_run()
    assert log.calls == []


def test_without_deadlines_nothing_wakes_up(deadlines: Deadlines, log: Log, time: Time) -> None:
    deadlines.after(1, log, 'a')
    let_run()
    waits = time.waits
    let_run()
    assert (log.names, time.waits) == (['a'], waits)


def test_some_that_were_never_used_can_be_closed(deadlines: Deadlines) -> None:
    deadlines.close()

"""The handlers of the jobs, in virtual time: sleeping moves the clock, and so does waiting for a store."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, iso
from reminder.scheduler.clock import Clock
from reminder.scheduler.handlers import Context, deliver, purge, subscribe
from reminder.scheduler.handlers.deliver import TURN, Deliver
from reminder.services.delivery import Batch
from reminder.services.events import LEAD, closing

NOON = 1_800_014_400_000
"""A minute's begin (ms, UTC)."""
SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000


class FakeClock(Clock):
    def __init__(self, now: int) -> None:
        super().__init__()
        self.time: float = now
        self.on_sleep: Callable[[], None] | None = None

    def machine(self) -> int:
        return int(self.time)

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 1
        # A timer is up to a millisecond late and more; a turn of the others takes a little.
        self.time += seconds * 1000 + 1.3 if seconds > TURN else 0.02
        action, self.on_sleep = self.on_sleep, None
        if action is not None:
            action()


class World:
    """The log, the delivery and the store, as far as a handler sees them, and what was done when."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOON - SECOND)
        self.done: list[tuple[int, str, int]] = []
        self.closed = self.published = NOON - MINUTE
        self.record: object | None = object()
        self.away = False
        self.settle_fails = False
        self.offset = 0
        self.takes = 0
        self.purged: list[int] = []

    def _answer(self) -> None:
        self.clock.time += self.takes
        if self.away:
            raise StoreUnavailable('made up')

    # Store

    def clock_offset(self, now: int) -> int:
        assert now == self.clock.machine()
        self._answer()
        return self.offset

    def purge(self, before: int) -> int:
        self._answer()
        self.purged.append(before)
        return 7

    # Log

    def due(self, now: int) -> bool:
        return closing(now) > self.published

    def settle(self) -> None:
        if self.settle_fails:
            raise StoreUnavailable('made up')
        self.note('settle', self.published)

    # Delivery

    def close(self, minute: int, now: Callable[[], int]) -> None:
        assert now() == self.clock.now()
        self._answer()
        self.closed = max(self.closed, minute)
        self.note('close', minute)

    def publish(self) -> Batch:
        self.published = self.closed
        self.note('publish', self.published)
        return Batch(self.published, 3, 2)

    def note(self, what: str, minute: int) -> None:
        self.done.append((self.clock.now(), what, minute))

    def take_notes(self) -> list[tuple[int, str, int]]:
        done, self.done = self.done, []
        return done


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def context(world: World) -> Context:
    fake: Any = world
    return Context(fake, fake, fake, world.clock, world.clock.sleep, None)


@pytest.fixture
def handler(context: Context) -> Deliver:
    return Deliver(context)


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


@pytest.fixture(autouse=True)
def _log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


class TestMinute:
    def test_it_is_closed_a_moment_before_it_begins_and_published_when_it_begins(
        self, world: World, handler: Deliver
    ) -> None:
        handler.minute()
        assert world.done == [(NOON - LEAD, 'close', NOON), (NOON, 'publish', NOON), (NOON, 'settle', NOON)]

    def test_a_store_that_is_slow_to_close_delays_only_that(self, world: World, handler: Deliver) -> None:
        world.takes = 50
        handler.minute()
        assert [(time, what) for time, what, _ in world.done] == [
            (NOON - LEAD + 50, 'close'),
            (NOON, 'publish'),
            (NOON, 'settle'),
        ]

    def test_a_store_that_takes_longer_than_there_is_time_is_late_and_no_more(
        self, world: World, handler: Deliver
    ) -> None:
        world.takes = 3_000
        handler.minute()
        (closed, _, _), (published, _, _), _ = world.done
        assert NOON < closed == published < NOON + 6_000

    def test_ten_in_a_row_are_all_on_time(self, world: World, handler: Deliver) -> None:
        for number in range(10):
            world.clock.time = NOON + number * MINUTE - SECOND + number * 10
            handler.minute()
        assert [minute for time, what, minute in world.done if what == 'publish' and time == minute] == [
            NOON + number * MINUTE for number in range(10)
        ]

    def test_it_is_not_a_timers_millisecond_late(self, world: World, handler: Deliver) -> None:
        handler.minute()
        assert 0 <= world.clock.time - NOON < 0.1

    def test_it_says_what_was_written(self, handler: Deliver, caplog: pytest.LogCaptureFixture) -> None:
        handler.minute()
        assert messages(caplog) == ['3 reminders to 2 clients, written 0 ms after the minute']
        expected = {'event': 'batch', 'minute': iso(NOON), 'reminders': 3, 'clients': 2, 'lateness_ms': 0}
        assert caplog.records[0].args == expected

    def test_a_minute_without_reminders_is_not_worth_a_line(
        self, world: World, handler: Deliver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(world, 'publish', lambda: Batch(NOON, 0, 2))
        handler.minute()
        assert messages(caplog) == []

    @pytest.mark.parametrize('late', [0, 1, 400, 30 * SECOND, 58 * SECOND])
    def test_one_that_began_already_is_closed_and_published_at_once(
        self, world: World, handler: Deliver, late: int
    ) -> None:
        world.clock.time = NOON + late
        handler.minute()
        assert world.done == [(NOON + late, what, NOON) for what in ('close', 'publish', 'settle')]


class TestSecond:
    def test_there_is_nothing_to_do_where_all_was_delivered(self, world: World, handler: Deliver) -> None:
        for second in range(60):
            world.clock.time = NOON - MINUTE + second * SECOND
            if world.clock.time < NOON - LEAD:
                handler.second()
        assert world.done == []

    @pytest.mark.parametrize('late', [400, 30 * SECOND, 2 * HOUR, 2 * HOUR + 59 * SECOND])
    def test_what_was_missed_is_delivered_at_once_up_to_the_minute_that_began(
        self, world: World, handler: Deliver, late: int
    ) -> None:
        """A start at second 0.4, a minute that was missed, a machine that was suspended."""
        world.clock.time = NOON + late
        handler.second()
        last = NOON + late // MINUTE * MINUTE
        assert world.done == [(NOON + late, what, last) for what in ('close', 'publish', 'settle')]
        handler.second()
        assert len(world.done) == 3

    def test_a_start_within_the_last_moment_of_a_minute_waits_for_it(self, world: World, handler: Deliver) -> None:
        world.clock.time = NOON - 100
        handler.second()
        assert world.done == [(NOON - 100, 'close', NOON), (NOON, 'publish', NOON), (NOON, 'settle', NOON)]

    def test_the_clock_is_not_asked_for_where_nothing_is_due(self, world: World, handler: Deliver) -> None:
        world.offset = HOUR
        handler.second()
        assert world.clock.now() == world.clock.machine()


class TestStoreThatIsAway:
    def test_it_is_asked_again_each_second_and_that_is_said_once(
        self, world: World, handler: Deliver, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.away = True
        handler.minute()
        for second in range(1, 30):
            world.clock.time = NOON + second * SECOND
            handler.second()
        assert world.done == []
        assert messages(caplog) == [
            'reminders wait for the database, which is asked again each second: made up',
        ]
        world.away = False
        world.clock.time = NOON + 30 * SECOND
        handler.second()
        assert world.done == [(NOON + 30 * SECOND, what, NOON) for what in ('close', 'publish', 'settle')]
        assert messages(caplog)[1:] == [
            'the database is back',
            '3 reminders to 2 clients, written 30000 ms after the minute',
        ]

    def test_each_time_it_goes_away_is_said(
        self, world: World, handler: Deliver, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(6):
            world.away = number % 2 == 0
            world.clock.time = NOON + number * MINUTE
            handler.second()
        assert [record.levelname for record in caplog.records if 'database' in record.getMessage()] == [
            'ERROR',
            'INFO',
        ] * 3

    def test_one_that_fails_after_the_publication_has_not_kept_a_reminder_back(
        self, world: World, handler: Deliver
    ) -> None:
        world.settle_fails = True
        handler.minute()
        assert world.done == [(NOON - LEAD, 'close', NOON), (NOON, 'publish', NOON)]
        world.clock.time = NOON + SECOND
        handler.second()
        assert len(world.done) == 2


class TestClockThatIsSet:
    def test_back_before_the_minute_was_closed_leaves_it_open(self, world: World, handler: Deliver) -> None:
        def set_back() -> None:
            world.clock.time -= HOUR

        world.clock.on_sleep = set_back
        handler.minute()
        assert world.done == []

    def test_back_after_the_minute_was_closed_publishes_it_all_the_same(self, world: World, handler: Deliver) -> None:
        def set_back_once_closed() -> None:
            if world.done:
                world.clock.time = NOON - HOUR
            else:
                world.clock.on_sleep = set_back_once_closed

        world.clock.on_sleep = set_back_once_closed
        handler.minute()
        assert [(what, minute) for _, what, minute in world.done] == [
            ('close', NOON),
            ('publish', NOON),
            ('settle', NOON),
        ]

    def test_back_by_less_than_a_second_only_waits_longer(self, world: World, handler: Deliver) -> None:
        def set_back() -> None:
            world.clock.time -= 500

        world.clock.on_sleep = set_back
        handler.minute()
        assert world.done == [(NOON - LEAD, 'close', NOON), (NOON, 'publish', NOON), (NOON, 'settle', NOON)]

    def test_forward_while_waiting_publishes_at_once(self, world: World, handler: Deliver) -> None:
        def set_forward() -> None:
            world.clock.time += HOUR

        world.clock.on_sleep = set_forward
        handler.minute()
        assert [(what, minute) for _, what, minute in world.done] == [
            ('close', NOON),
            ('publish', NOON),
            ('settle', NOON),
        ]
        world.take_notes()
        handler.second()
        assert {minute for _, _, minute in world.done} == {world.clock.now() // MINUTE * MINUTE}


class TestDatabaseClock:
    @pytest.mark.parametrize('job', ['minute', 'second'])
    def test_it_is_followed_before_anything_is_closed(self, world: World, handler: Deliver, job: str) -> None:
        """This machine's clock is an hour ahead: its minutes are still to come."""
        world.clock.time = NOON + HOUR + 10 * SECOND
        world.offset = -HOUR
        getattr(handler, job)()
        assert {minute for _, _, minute in world.done} == {NOON}

    def test_one_that_does_not_answer_is_left_as_it_was(self, world: World, handler: Deliver) -> None:
        world.offset = 10 * SECOND
        handler.minute()
        world.away = True
        handler.minute()
        assert world.clock.now() - world.clock.machine() == 10 * SECOND


class TestPurge:
    @pytest.fixture
    def job(self, context: Context) -> Callable[[], None]:
        scheduler = FakeScheduler()
        purge.subscribe(scheduler, Context(**{**vars(context), 'retention_days': 30}))  # type: ignore[arg-type]
        return scheduler.handlers['day'][0]

    def test_what_was_delivered_longer_ago_is_deleted(
        self, world: World, job: Callable[[], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        job()
        assert world.purged == [NOON - SECOND - 30 * DAY]
        assert messages(caplog) == ['deleted 7 events that were delivered more than 30 days ago']

    def test_it_is_left_for_tomorrow_where_the_store_is_away(
        self, world: World, job: Callable[[], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        world.away = True
        job()
        assert messages(caplog, logging.WARNING) == ['old events are kept until tomorrow: made up']
        world.away = False
        job()
        assert len(world.purged) == 1


class FakeScheduler:
    def __init__(self) -> None:
        self.handlers: dict[str, list[Callable[[], None]]] = {}

    def on(self, name: str, handler: Callable[[], None]) -> None:
        self.handlers.setdefault(name, []).append(handler)


@pytest.mark.parametrize(
    ('days', 'jobs'),
    [(None, {'minute': 1, 'second': 1, 'half': 2}), (1, {'minute': 1, 'second': 1, 'half': 2, 'day': 1})],
)
def test_who_listens_to_what(context: Context, days: int | None, jobs: dict[str, int]) -> None:
    scheduler = FakeScheduler()
    subscribe(scheduler, Context(**{**vars(context), 'retention_days': days}))  # type: ignore[arg-type]
    assert {name: len(handlers) for name, handlers in scheduler.handlers.items()} == jobs


def test_delivering_subscribes_one_object_so_that_an_outage_is_said_once(
    world: World, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = FakeScheduler()
    deliver.subscribe(scheduler, context)  # type: ignore[arg-type]
    world.away = True
    scheduler.handlers['minute'][0]()
    world.clock.time = NOON
    scheduler.handlers['second'][0]()
    assert len(messages(caplog, logging.ERROR)) == 1

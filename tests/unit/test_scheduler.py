"""The scheduler on a clock of its own, which sleeping moves; and what it takes to add a job."""

import datetime as standard
import json
import logging
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
import schedule

import reminder
from reminder import scheduler as module
from reminder.scheduler import MAX_SLEEP, Scheduler, load_jobs

START = datetime(2026, 11, 29, 22, 30, 10, 250_000)
JOBS = [
    {'name': 'minute', 'every': 1, 'unit': 'minute', 'at': ':59'},
    {'name': 'second', 'every': 1, 'unit': 'second', 'at_start': True},
    {'name': 'day', 'every': 1, 'unit': 'day', 'at': '03:30'},
]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class World:
    """The machine's clock, as `schedule` and the scheduler see it, and what was emitted when."""

    def __init__(self) -> None:
        self.now = START
        self.emitted: list[tuple[datetime, str]] = []

    def times(self, name: str) -> list[datetime]:
        return [time for time, emitted in self.emitted if emitted == name]

    def note(self, name: str) -> Callable[[], None]:
        """A handler."""
        return lambda: self.emitted.append((self.now, name))

    def run(self, scheduler: Scheduler, duration: timedelta) -> None:
        """Has the scheduler run for that long by a monotonic timer, whatever is done to the clock meanwhile."""
        left = duration

        def wait(seconds: float) -> bool:
            nonlocal left
            assert 0 <= seconds <= MAX_SLEEP
            # A timer never fires early, and a little late.
            slept = timedelta(seconds=seconds) + timedelta(microseconds=300)
            self.now += slept
            left -= slept
            return left <= timedelta()

        scheduler.run(wait)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: standard.tzinfo | None = None) -> Any:
            assert tz is None
            return world.now

        @classmethod
        def fromtimestamp(cls, *_: object) -> Self:
            raise AssertionError('reads a clock of its own')

    monkeypatch.setattr(module, 'datetime', Datetime)
    names = {name: getattr(standard, name) for name in ('timedelta', 'time', 'date', 'timezone', 'tzinfo')}
    monkeypatch.setattr(schedule, 'datetime', types.SimpleNamespace(datetime=Datetime, **names))
    return world


@pytest.fixture
def scheduler(world: World) -> Scheduler:
    scheduler = Scheduler(JOBS)
    for job in JOBS:
        scheduler.on(str(job['name']), world.note(str(job['name'])))
    return scheduler


def assert_each_minute(times: list[datetime], minutes: int) -> None:
    assert len(times) == minutes
    for time in times:
        assert time.second == 59
        assert time.microsecond < 2_000


class TestLoop:
    def test_a_minute_job_comes_at_its_second_of_each_minute(self, world: World, scheduler: Scheduler) -> None:
        world.run(scheduler, 10 * MINUTE)
        assert_each_minute(world.times('minute'), 10)

    def test_a_second_job_comes_each_second(self, world: World, scheduler: Scheduler) -> None:
        world.run(scheduler, MINUTE)
        times = world.times('second')
        assert 58 <= len(times) <= 61
        assert max(later - earlier for earlier, later in pairwise(times)) < 1.1 * SECOND

    def test_a_day_job_comes_once_a_day_at_its_time(self, world: World) -> None:
        scheduler = Scheduler([{'name': 'day', 'every': 1, 'unit': 'day', 'at': '03:30'}])
        scheduler.on('day', world.note('day'))
        world.run(scheduler, 49 * HOUR)
        assert [time.replace(microsecond=0) for time in world.times('day')] == [
            datetime(2026, 11, 30, 3, 30),
            datetime(2026, 12, 1, 3, 30),
        ]

    def test_only_what_says_so_comes_at_the_start(self, world: World, scheduler: Scheduler) -> None:
        scheduler.run(lambda seconds: True)
        assert world.emitted == [(START, 'second')]

    def test_it_ends_when_the_wait_says_so(self, scheduler: Scheduler) -> None:
        waits: list[float] = []

        def wait(seconds: float) -> bool:
            if len(waits) == 3:
                return True
            waits.append(seconds)
            return False

        scheduler.run(wait)
        assert len(waits) == 3

    def test_a_tick_says_how_long_there_is_nothing_to_do(self, world: World) -> None:
        scheduler = Scheduler([{'name': 'minute', 'every': 1, 'unit': 'minute', 'at': ':59'}])
        assert scheduler.tick() == MAX_SLEEP
        world.now = START.replace(second=58, microsecond=400_000)
        assert scheduler.tick() == pytest.approx(0.6)

    def test_without_jobs_it_only_looks_at_the_clock(self) -> None:
        assert 0 <= Scheduler([]).tick() <= MAX_SLEEP

    def test_what_was_missed_comes_once(self, world: World, scheduler: Scheduler) -> None:
        scheduler.tick()
        world.now += 10 * MINUTE
        scheduler.tick()
        scheduler.tick()
        assert len(world.times('minute')) == 1


class TestHandlers:
    def test_several_of_one_job_come_in_the_order_of_their_subscription(self, world: World) -> None:
        scheduler = Scheduler(JOBS)
        for name in 'abc':
            scheduler.on('second', world.note(name))
        world.run(scheduler, SECOND / 2)
        assert [name for _, name in world.emitted] == ['a', 'b', 'c']

    def test_a_job_that_nobody_listens_to_harms_nobody(self, world: World) -> None:
        scheduler = Scheduler(JOBS)
        scheduler.on('second', world.note('second'))
        world.run(scheduler, 2 * MINUTE)
        assert len(world.emitted) >= 118

    def test_one_that_fails_is_logged_and_everything_goes_on(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            raise RuntimeError('made up')

        scheduler = Scheduler(JOBS)
        for name in ('minute', 'second'):
            scheduler.on(name, fail)
            scheduler.on(name, world.note(name))
        world.run(scheduler, 3 * MINUTE)
        assert_each_minute(world.times('minute'), 3)
        assert len(world.times('second')) >= 177
        assert len(caplog.records) == len(world.emitted)
        assert {record.getMessage() for record in caplog.records} == {"job 'minute' failed", "job 'second' failed"}
        assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)

    def test_a_name_that_no_job_has_is_an_error(self, scheduler: Scheduler) -> None:
        with pytest.raises(KeyError):
            scheduler.on('fortnight', lambda: None)

    @pytest.mark.parametrize(
        'job',
        [
            {'name': 'x', 'every': 1, 'unit': 'fortnight'},
            {'name': 'x', 'every': 2, 'unit': 'minute'},
            {'name': 'x', 'every': 1, 'unit': 'minute', 'at': '59'},
            {'name': 'x', 'every': 1, 'unit': 'day', 'at': '25:00'},
            {'name': 'x', 'every': 1, 'unit': 'second', 'at': ':00'},
            {'name': 'x', 'every': 1, 'unit': 'do'},
        ],
    )
    def test_a_job_that_the_library_does_not_understand_is_an_error(self, job: dict[str, Any]) -> None:
        with pytest.raises((schedule.ScheduleError, AttributeError)):
            Scheduler([job])


class TestClockThatIsSet:
    def test_forward_by_an_hour(self, world: World, scheduler: Scheduler) -> None:
        world.run(scheduler, 2 * MINUTE)
        world.now += HOUR
        world.emitted.clear()
        world.run(scheduler, 3 * MINUTE)
        late, *regular = world.times('minute')
        assert late - START < HOUR + 2 * MINUTE + 2 * SECOND  # what was missed meanwhile, once and at once
        assert_each_minute(regular, 3)
        assert len(world.times('second')) >= 178

    @pytest.mark.parametrize('step', [HOUR, 24 * HOUR, 2 * SECOND, MINUTE])
    def test_back(self, world: World, scheduler: Scheduler, step: timedelta, caplog: pytest.LogCaptureFixture) -> None:
        world.run(scheduler, 2 * MINUTE)
        world.now -= step
        world.emitted.clear()
        world.run(scheduler, 3 * MINUTE)
        assert_each_minute(world.times('minute'), 3)
        assert len(world.times('second')) >= 178
        assert [record.getMessage() for record in caplog.records] == ['the clock was set back']

    @pytest.mark.parametrize('name', ['minute', 'second'])
    def test_back_while_a_handler_is_at_work(self, world: World, scheduler: Scheduler, name: str) -> None:
        step = HOUR

        def set_back() -> None:
            nonlocal step
            world.now -= step
            step = timedelta()

        scheduler.on(name, set_back)
        world.run(scheduler, MINUTE)
        world.emitted.clear()
        world.run(scheduler, 3 * MINUTE)
        assert_each_minute(world.times('minute'), 3)
        assert len(world.times('second')) >= 178

    def test_back_before_the_first_tick(self, world: World, scheduler: Scheduler) -> None:
        world.now -= HOUR
        world.run(scheduler, 3 * MINUTE)
        assert_each_minute(world.times('minute'), 3)
        assert len(world.times('second')) >= 178


class TestJobs:
    def test_the_jobs_are_ones_that_the_library_understands(self) -> None:
        Scheduler(load_jobs())

    def test_their_names_are_different(self) -> None:
        names = [job['name'] for job in load_jobs()]
        assert len(names) == len(set(names))

    def test_all_that_a_new_one_takes_is_an_entry_a_module_and_a_line(self, tmp_path: Path) -> None:
        package = tmp_path / 'reminder'
        shutil.copytree(Path(reminder.__file__).parent, package, ignore=shutil.ignore_patterns('__pycache__'))
        folder = package / 'scheduler'

        jobs = json.loads((folder / 'jobs.json').read_text())
        jobs.append({'name': 'hour', 'every': 1, 'unit': 'hour', 'at_start': True})
        (folder / 'jobs.json').write_text(json.dumps(jobs))

        (folder / 'handlers' / 'chime.py').write_text(
            'def subscribe(scheduler, context):\n    scheduler.on("hour", lambda: print(context.clock))\n'
        )

        handlers = folder / 'handlers' / '__init__.py'
        source = handlers.read_text()
        handlers.write_text(source.replace("    'purge',\n", "    'purge',\n    'chime',\n"))
        assert handlers.read_text() != source

        program = (
            'from reminder.scheduler import Scheduler, load_jobs\n'
            'from reminder.scheduler.handlers import Context, subscribe\n'
            'scheduler = Scheduler([job for job in load_jobs() if job["name"] != "second"] + '
            '[{"name": "second", "every": 1, "unit": "second"}])\n'
            'subscribe(scheduler, Context(None, None, None, "ding dong", None, None))\n'
            'scheduler.run(lambda seconds: True)\n'
        )
        answer = subprocess.run(
            [sys.executable, '-c', program],
            cwd=tmp_path,
            env=os.environ | {'PYTHONPATH': str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (answer.stdout, answer.returncode) == ('ding dong\n', 0), answer.stderr

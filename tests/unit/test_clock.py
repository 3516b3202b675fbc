"""The server's clock, and how far it follows the database's."""

import logging
import time

import pytest

from reminder.scheduler.clock import TOLERANCE, Clock

NOW = 1_800_000_000_123


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(time, 'time_ns', lambda: NOW * 1_000_000 + 999_999)
    return Clock()


def test_it_is_this_machines_clock_in_whole_milliseconds(clock: Clock) -> None:
    assert (clock.now(), clock.machine()) == (NOW, NOW)


@pytest.mark.parametrize('offset', [0, 1, -1, TOLERANCE, -TOLERANCE])
def test_a_database_that_is_about_right_changes_nothing(clock: Clock, offset: int) -> None:
    clock.correct(offset)
    assert clock.now() == NOW


@pytest.mark.parametrize('offset', [TOLERANCE + 1, -TOLERANCE - 1, 3_600_000, -86_400_000])
def test_a_database_that_is_elsewhere_is_followed_and_that_is_said_once(
    clock: Clock, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        clock.correct(offset)
    assert (clock.now(), clock.machine()) == (NOW + offset, NOW)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f'{offset / 1000:+.1f} s' in record.getMessage()


@pytest.mark.parametrize('jitter', [1, -1, TOLERANCE, -TOLERANCE])
def test_it_does_not_tremble_with_the_measurement(clock: Clock, jitter: int, caplog: pytest.LogCaptureFixture) -> None:
    clock.correct(60_000)
    clock.correct(60_000 + jitter)
    assert clock.now() == NOW + 60_000
    assert len(caplog.records) == 1


def test_a_correction_that_changes_is_followed_again(clock: Clock) -> None:
    clock.correct(60_000)
    clock.correct(90_000)
    assert clock.now() == NOW + 90_000


@pytest.mark.parametrize('before', [60_000, TOLERANCE + 1])
def test_it_is_given_up_once_the_clocks_agree(clock: Clock, before: int) -> None:
    clock.correct(before)
    clock.correct(200)
    assert clock.now() == NOW

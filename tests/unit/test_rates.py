"""How often somebody may ask for something, by a clock that the test sets."""

import math

import pytest

from reminder.services import rates
from reminder.services.rates import Rates


def take(rates: Rates, who: str, now: float, times: int) -> int:
    """How many of so many are within the rate."""
    return sum(rates.take(who, now).wait == 0 for _ in range(times))


def test_who_keeps_to_the_rate_never_waits() -> None:
    rates = Rates(2, 0)
    assert all(rates.take('ann', now / 2).wait == 0 for now in range(100))


def test_a_burst_is_let_in_and_no_more_than_the_rate_then() -> None:
    rates = Rates(2, 10)
    assert take(rates, 'ann', 1000, 50) == 21  # who is just as far ahead as is allowed may once more
    assert take(rates, 'ann', 1005, 50) == 10
    assert take(rates, 'ann', 2000, 50) == 21


def test_the_wait_is_as_long_as_is_said() -> None:
    rates = Rates(2, 10)
    take(rates, 'ann', 0, 50)
    wait = rates.take('ann', 0).wait
    assert 0 < wait <= 0.5
    assert rates.take('ann', wait - 0.01).wait > 0
    assert rates.take('ann', wait).wait == 0


def test_each_has_a_rate_of_their_own() -> None:
    rates = Rates(1, 0)
    assert (take(rates, 'ann', 0, 9), take(rates, 'bob', 0, 9)) == (1, 1)


def test_who_has_asked_for_less_is_first() -> None:
    rates = Rates(100, math.inf)
    assert take(rates, 'ann', 5, 1_000) == 1_000
    assert rates.take('bob', 5).order == 5 < rates.take('ann', 5).order == pytest.approx(15)


def test_no_more_are_remembered_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, 'KEPT', 2)
    limited = Rates(1, 0)
    for who in ('ann', 'bob', 'cid'):
        assert take(limited, who, 0, 2) == 1
    assert [take(limited, who, 0, 1) for who in ('cid', 'bob', 'ann')] == [0, 0, 1]

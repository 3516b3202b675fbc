"""The promise, by thousands of interleavings: what was acked is received, once, in order, whatever fails meanwhile.

What happens in a run stands on a tape of bytes, which hypothesis makes up, and shortens when it finds a fault. They
are always the same tapes, unless `MODEL_RUNS=100000 pytest -n0 -s tests/model` asks for as many new ones.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.clocks import ClockWorld
from tests.model.world import World

pytestmark = pytest.mark.long

RUNS = os.environ.get('MODEL_RUNS')
TAPES = st.binary(min_size=200, max_size=600)


@pytest.mark.parametrize(('world', 'runs'), [(World, 400), (ClockWorld, 200)])
def test_nothing_is_lost_and_nothing_comes_twice(world: type[World], runs: int) -> None:
    # Given as many tapes as there is time for
    runs = int(RUNS or runs)
    figures: Counter[str] = Counter()

    @settings(
        max_examples=runs,
        derandomize=not RUNS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(TAPES)
    def play(tape: bytes) -> None:
        figures.update(world(tape).run().figures)

    # When they are played / Then no run finds a fault, and enough happened to find one
    play()
    print(f'{runs} runs:', ', '.join(f'{count} {name}' for name, count in figures.items()))
    assert figures['reminders written'] > 20 * runs
    assert figures['events acked'] > 5 * runs
    assert figures['events refused'] > runs
    assert figures['changes acked'] > runs

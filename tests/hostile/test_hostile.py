"""Under each attack a well-behaved client notices nothing, and after it nothing is left of it."""

import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from types import ModuleType

import pytest

from tests.hostile import changes, commands, crowds, frames, hypertext, packets, streams
from tests.hostile.fortress import Canary, Fortress, wait_until
from tests.hostile.raw import Target
from tests.wire import SocketIO

pytestmark = [
    pytest.mark.long,
    pytest.mark.measures,
    pytest.mark.skipif(sys.platform != 'linux', reason='the system has no /proc, or lacks 127.0.0.2'),
]

SETTINGS = {
    'PING_INTERVAL': '1',
    'PING_TIMEOUT': '1',
    'MAX_CONNECTIONS': '2000',
    'TRUSTED_PROXIES': '1',
    'RECOVERY_WINDOW': '0',
}
"""Sessions whose client is gone without a word end soon, so that it can be seen that nothing is left of them."""
WORST = 250
"""ms within which a well-behaved client is answered, whatever others do."""
GROWTH = 60
"""MiB that attacks may cost."""
REMAINS = 40
"""MiB that may remain of all attacks together: what the allocator keeps for the next time, once and for all."""
LOG = 5_000
"""Bytes that attackers may have the server write into its log."""
LONGEST = 15
"""Seconds after which the last deadline of what has ended is over."""
ATTEMPTS = 3
"""A machine that is busy with something else is late by chance; a server that stalls under an attack always does."""


def attacks(*modules: ModuleType) -> list[Callable[[Target], None]]:
    """The attacks of these modules: their public functions that take nothing but a target."""
    return [
        function
        for module in modules
        for name, function in vars(module).items()
        if getattr(function, '__module__', '') == module.__name__
        and getattr(function, '__annotations__', {}) == {'target': Target, 'return': None}
    ]


def give_it_a_past(fortress: Fortress) -> None:
    """Puts 10,000 reminders with long names behind the log's end, for who wants it all."""
    rows = [(number, f'{number:024x}', 'x' * 900) for number in range(10_000)]
    with closing(sqlite3.connect(fortress.folder / 'events.db')) as database, database:
        database.executemany('INSERT INTO events (time, id, name) VALUES (?, ?, ?)', rows)


@pytest.fixture(scope='module')
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """A server that has served before, so that what it makes once is there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Fortress(tmp_path_factory.mktemp('fortress'), **SETTINGS) as fortress:
        fortress.start()
        fortress.terminate()
        give_it_a_past(fortress)
        fortress.start()
        files = fortress.files()
        with Canary(fortress):
            client = SocketIO(fortress.url, '40{"since":"1970-01-01T00:00Z"}')
            while not client.read().startswith('42["replayed"'):
                continue
            client.close()
        wait_until(lambda: fortress.files() <= files, 'the canary is still there')
        yield fortress
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope='module')
def calm(fortress: Fortress) -> tuple[float, int, dict[str, int]]:
    """The memory, the open files and the census before the first attack."""
    return fortress.memory(), fortress.files(), fortress.census()


@pytest.mark.parametrize(
    'attack',
    attacks(frames, packets, hypertext, commands, changes, crowds, streams),
    ids=lambda attack: attack.__name__,
)
def test_an_attack_harms_nobody(
    attack: Callable[[Target], None], fortress: Fortress, calm: tuple[float, int, dict[str, int]]
) -> None:
    memory, files, census = calm
    for _ in range(ATTEMPTS):
        target, canary = Target(fortress.port), Canary(fortress)
        fortress.forget_peak()
        begin = time.monotonic()
        try:
            with canary:
                attack(target)
        finally:
            target.close()
        seconds, seen = time.monotonic() - begin, canary.report
        print(f'{attack.__name__:40} {seconds:5.1f} s  {seen}  {fortress.peak() - memory:+.1f} MiB at the peak', end='')
        wait_until(lambda: fortress.files() <= files, 'descriptors are left')
        wait_until(lambda: fortress.census()['greenlet'] <= census['greenlet'], 'greenlets are left')
        print(f', {fortress.memory() - memory:+.1f} after it, {time.monotonic() - begin - seconds:.1f} s later')
        assert fortress.peak() - memory < GROWTH
        assert fortress.memory() - memory < REMAINS
        assert fortress.complaints() == []
        assert fortress.status('/readyz') == 200
        assert seen['answered'] == seen['asked'] and seen['refused'] == 0
        if seen['worst'] < WORST:
            break
    assert seen['worst'] < WORST


def test_nothing_is_left_of_all_attacks(fortress: Fortress, calm: tuple[float, int, dict[str, int]]) -> None:
    _, files, census = calm
    end = time.monotonic() + LONGEST
    while (left := more_than(census, fortress.census())) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == {}
    assert fortress.files() <= files
    assert len(fortress.log()) < LOG


def more_than(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """How many more there are of what there are more of."""
    return {kind: number - before[kind] for kind, number in after.items() if number > before[kind]}

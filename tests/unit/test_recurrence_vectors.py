"""Repeating events compared with an independent source: Node's rrule on the wall clock, resolved by moment-timezone.

Where the two differ, the letter of RFC 5545 (tests/rfc5545.py) decides, and each difference is of a kind that is named.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytz

from reminder.errors import InvalidInput
from reminder.models import event
from reminder.services import timezones
from reminder.services.recurrence import Occurrence, Rule
from tests import rfc5545

VECTORS = Path(__file__).parent.parent / 'data' / 'recurrences.json.gz'
RELEASE: str = pytz.OLSON_VERSION  # type: ignore[attr-defined]
MINUTE = 60_000

KINDS = {
    # What a rule does not say is taken from the start, here the weekday. rrule takes the whole week.
    'BYWEEKNO alone': r'(?=.*BYWEEKNO)(?!.*(BYDAY|BYMONTHDAY|BYYEARDAY))',
    # BYSETPOS chooses of all that the rule names in a week, also before the start. rrule's week begins at the start.
    'BYSETPOS in the first week': r'(?=.*FREQ=WEEKLY).*BYSETPOS',
    # A position that the set does not have names nothing. rrule counts it from the other end.
    'BYSETPOS beyond the set': r'BYSETPOS=([^;]*,)?-2',
    # Two positions of one time name it once. rrule counts it twice.
    'BYSETPOS twice the same': r'(?=.*COUNT=).*BYSETPOS=[^;]*,',
    # rrule leaves out hours, or goes on from a wrong minute, where it leaps over the rest of a day or an hour.
    'minutes in some hours': r'(?=.*FREQ=MINUTELY).*(BYHOUR|BYMONTH|BYDAY|BYYEARDAY)',
}


class Case(NamedTuple):
    rule: str
    zone: Any
    start: datetime
    walls: list[datetime]
    occurrences: list[Occurrence]
    ends: bool


def in_order(times: Iterable[tuple[int, datetime]]) -> list[Occurrence]:
    """By instants; of two times at one instant, the later is the one that clocks show."""
    shown = dict(sorted(times, key=lambda time: time[1]))
    return [Occurrence(at, local.isoformat(' ', 'minutes')) for at, local in sorted(shown.items())]


def as_utc(local_time: str) -> int:
    return event.instant(datetime.fromisoformat(local_time).replace(tzinfo=UTC))


def case(rule: str, zone: str, start: str, steps: list[int], west: list[int], ends: bool) -> Case:
    begin = datetime.fromisoformat(start)
    walls = [begin + timedelta(minutes=step) for step in accumulate(steps)]
    times = [
        (event.instant(wall.replace(tzinfo=UTC)) + minutes * MINUTE, wall)
        for wall, minutes in zip(walls, west, strict=True)
    ]
    return Case(rule, timezones.find(zone), begin, walls, in_order(times), ends)


def fired(case: Case, most: int) -> list[Occurrence]:
    """What the server would fire; nothing if it refuses the rule."""
    try:
        rule = Rule.parse(case.rule, case.start, case.zone)
    except InvalidInput as error:
        assert re.search('names no time|is not reached', str(error))
        return []
    return list(islice(rule.occurrences(0), most))


def by_the_letter(case: Case, end: datetime) -> list[Occurrence]:
    """What RFC 5545 says, up to `end` (wall-clock)."""
    text = re.sub(r';(COUNT|UNTIL)=[^;]*', '', case.rule)
    given = dict(part.split('=') for part in case.rule.split(';'))
    count = int(given['COUNT']) if 'COUNT' in given else None
    walls = islice(rfc5545.times(text, case.start, end + timedelta(minutes=1)), count)
    times = in_order((timezones.resolve(wall, case.zone).instant, wall) for wall in walls)
    until = datetime.fromisoformat(given.get('UNTIL', '99990101T000000'))
    if until.tzinfo is None:
        return [one for one in times if datetime.fromisoformat(one.local_time) <= until]
    return [one for one in times if one.time <= event.instant(until)]


@pytest.fixture(scope='module')
def vectors() -> Any:
    """What rrule and moment-timezone answer; made by scripts/recurrence_vectors."""
    return json.loads(gzip.decompress(VECTORS.read_bytes()))


@pytest.fixture(scope='module')
def cases(vectors: Any) -> list[Case]:
    return [case(*fields) for fields in vectors['cases']]


@pytest.fixture(scope='module')
def different(vectors: Any, cases: list[Case]) -> list[Case]:
    """The cases in which the server would fire anything else than rrule says."""
    if vectors['release'] != RELEASE:
        pytest.skip(f'moment-timezone had tz {vectors["release"]}, pytz has {RELEASE}')
    return [case for case in cases if fired(case, len(case.occurrences) + case.ends) != case.occurrences]


def test_the_vectors_are_many_and_of_all_sorts(cases: list[Case]) -> None:
    frequencies = Counter(re.findall(r'FREQ=(\w+)', ' '.join(case.rule for case in cases)))
    assert len(cases) >= 500
    assert len(frequencies) == 6
    assert min(frequencies.values()) > 50
    assert len({case.zone.zone for case in cases}) > 100
    shifted = [case for case in cases if len({one.time - as_utc(one.local_time) for one in case.occurrences}) > 1]
    assert len(shifted) > 150  # over a change of the zone
    assert sum(len(case.occurrences) < len(case.walls) for case in cases) > 10  # two times at one instant
    assert sum(case.ends for case in cases) > 100


def test_rrule_agrees_but_for_differences_of_a_kind_that_is_named(cases: list[Case], different: list[Case]) -> None:
    assert len(different) < len(cases) / 10
    kinds = [[kind for kind, form in KINDS.items() if re.search(form, case.rule)] for case in different]
    assert [case.rule for case, found in zip(different, kinds, strict=True) if not found] == []
    assert {kind for found in kinds for kind in found} == KINDS.keys()


def test_where_rrule_differs_the_letter_of_the_rfc_decides(different: list[Case]) -> None:
    for case in different:
        end = case.walls[-1]
        expected = by_the_letter(case, end)
        found = fired(case, len(expected) + 1)
        assert [one for one in found if datetime.fromisoformat(one.local_time) <= end] == expected, case.rule

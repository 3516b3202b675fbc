"""Time zones: what wall-clock times mean, compared with moment-timezone and by hand."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytz
from hypothesis import given, settings
from hypothesis import strategies as st

from reminder.models.event import iso
from reminder.services import timezones

VECTORS = Path(__file__).parent.parent / 'data' / 'timezones.json.gz'
EPOCH = datetime(1970, 1, 1)
MINUTE = 60_000
RELEASE: str = pytz.OLSON_VERSION  # type: ignore[attr-defined]


@pytest.fixture(scope='module')
def vectors() -> Any:
    """What moment-timezone answers; made by scripts/timezone_vectors."""
    return json.loads(gzip.decompress(VECTORS.read_bytes()))


def resolve(local: str, zone: str) -> tuple[str, str, str | None]:
    """The instant, what the clocks show then, and how it was adjusted, as texts."""
    found = timezones.find(zone)
    assert found is not None
    resolved = timezones.resolve(datetime.fromisoformat(local), found)
    return iso(resolved.instant), resolved.local.isoformat(' ', 'minutes'), resolved.adjusted


def differences(zone: str, cases: list[list[int]]) -> Iterator[str]:
    found = timezones.find(zone)
    if found is None:
        yield f'{zone} is unknown'
        return
    for wall, west in cases:
        local = EPOCH + timedelta(minutes=wall)
        resolved = timezones.resolve(local, found)
        if resolved.instant != (wall + west) * MINUTE:
            yield f'{local} {zone}: {iso(resolved.instant)}, by moment-timezone {iso((wall + west) * MINUTE)}'


@pytest.fixture(scope='module')
def allowed(vectors: Any) -> int:
    """How many zones may differ: none, or a few that got other rules if pytz has another release of the tz data."""
    return 0 if vectors['release'] == RELEASE else 20


def test_every_zone_and_change_is_resolved_as_by_moment_timezone(vectors: Any, allowed: int) -> None:
    wrong = {
        zone: found
        for group in vectors['groups']
        for zone in group['zones']
        if (found := list(differences(zone, group['cases'])))
    }
    assert len(wrong) <= allowed, [found[0] for found in wrong.values()]


def test_the_vectors_hold_every_zone_and_thousands_of_changes(vectors: Any, allowed: int) -> None:
    zones = [zone for group in vectors['groups'] for zone in group['zones']]
    assert len(set(zones)) == len(zones) > 590
    assert len(set(zones) ^ set(pytz.all_timezones)) <= allowed
    cases = {zone: group['cases'] for group in vectors['groups'] for zone in group['zones']}
    assert sum(map(len, cases.values())) > 150_000
    assert len(cases['America/New_York']) > 36 * 20  # two changes in each of 18 years


def test_a_wrong_vector_would_be_noticed() -> None:
    assert list(differences('Europe/Berlin', [[0, -60]])) == []
    assert list(differences('Europe/Berlin', [[0, 0]]))
    assert list(differences('Europe/Atlantis', [[0, 0]]))


def test_names_are_complete_and_sorted() -> None:
    names = timezones.names()
    assert set(names) == set(pytz.all_timezones)
    assert names == sorted(names)
    assert {'UTC', 'Etc/GMT+12', 'America/Argentina/ComodRivadavia', 'Asia/Kolkata'} <= set(names)


@pytest.mark.parametrize('change', [str.lower, str.upper, str.swapcase, str])
def test_a_zone_is_found_in_any_letter_case(change: Any) -> None:
    for name in timezones.names():
        found = timezones.find(change(name))
        assert found is not None
        assert found.zone == name


@pytest.mark.parametrize(
    'name',
    [
        '',
        ' ',
        'Mars/Olympus',
        'Europe/Berlin ',
        ' Europe/Berlin',
        'Europe/Berlin\n',
        'Europe/Berlin\0',
        'Europe',
        'Europe/',
        '../zoneinfo/UTC',
        'zone.tab',
        'UTC+1',
        'Zürich',
        'Europe/Ber\ud800lin',
        'x' * 100_000,
    ],
)
def test_an_unknown_zone_is_none(name: str) -> None:
    assert timezones.find(name) is None


@pytest.mark.parametrize(
    ('local', 'zone', 'expected'),
    [
        # An ordinary time, and zones without changes.
        ('2020-11-30 04:00', 'Asia/Kolkata', ('2020-11-29T22:30:00.000Z', '2020-11-30 04:00', None)),
        ('2030-07-01 12:00', 'UTC', ('2030-07-01T12:00:00.000Z', '2030-07-01 12:00', None)),
        ('2030-07-01 12:00', 'Etc/GMT+12', ('2030-07-02T00:00:00.000Z', '2030-07-01 12:00', None)),
        # A spring gap: as far after the change.
        ('2021-03-14 01:59', 'America/New_York', ('2021-03-14T06:59:00.000Z', '2021-03-14 01:59', None)),
        ('2021-03-14 02:00', 'America/New_York', ('2021-03-14T07:00:00.000Z', '2021-03-14 03:00', 'gap')),
        ('2021-03-14 02:30', 'America/New_York', ('2021-03-14T07:30:00.000Z', '2021-03-14 03:30', 'gap')),
        ('2021-03-14 02:59', 'America/New_York', ('2021-03-14T07:59:00.000Z', '2021-03-14 03:59', 'gap')),
        ('2021-03-14 03:00', 'America/New_York', ('2021-03-14T07:00:00.000Z', '2021-03-14 03:00', None)),
        # An autumn fold: the first.
        ('2021-11-07 00:59', 'America/New_York', ('2021-11-07T04:59:00.000Z', '2021-11-07 00:59', None)),
        ('2021-11-07 01:00', 'America/New_York', ('2021-11-07T05:00:00.000Z', '2021-11-07 01:00', 'fold')),
        ('2021-11-07 01:59', 'America/New_York', ('2021-11-07T05:59:00.000Z', '2021-11-07 01:59', 'fold')),
        ('2021-11-07 02:00', 'America/New_York', ('2021-11-07T07:00:00.000Z', '2021-11-07 02:00', None)),
        # Half an hour, in the south.
        ('2025-10-05 02:15', 'Australia/Lord_Howe', ('2025-10-04T15:45:00.000Z', '2025-10-05 02:45', 'gap')),
        ('2025-04-06 01:45', 'Australia/Lord_Howe', ('2025-04-05T14:45:00.000Z', '2025-04-06 01:45', 'fold')),
        # At midnight: the day begins at one.
        ('2025-09-07 00:30', 'America/Santiago', ('2025-09-07T04:30:00.000Z', '2025-09-07 01:30', 'gap')),
        # Two changes within six weeks (Ramadan).
        ('2025-02-23 02:30', 'Africa/Casablanca', ('2025-02-23T01:30:00.000Z', '2025-02-23 02:30', 'fold')),
        ('2025-04-06 02:30', 'Africa/Casablanca', ('2025-04-06T02:30:00.000Z', '2025-04-06 03:30', 'gap')),
        # The change itself is of the standard offset, without daylight saving.
        ('2024-03-01 00:00', 'Asia/Almaty', ('2024-02-29T19:00:00.000Z', '2024-03-01 00:00', None)),
        ('2024-02-29 23:30', 'Asia/Almaty', ('2024-02-29T17:30:00.000Z', '2024-02-29 23:30', 'fold')),
        # A whole day was skipped, and nearly a whole day was repeated.
        ('2011-12-30 00:00', 'Pacific/Apia', ('2011-12-30T10:00:00.000Z', '2011-12-31 00:00', 'gap')),
        ('2011-12-30 23:59', 'Pacific/Apia', ('2011-12-31T09:59:00.000Z', '2011-12-31 23:59', 'gap')),
        ('2011-12-31 00:00', 'Pacific/Apia', ('2011-12-30T10:00:00.000Z', '2011-12-31 00:00', None)),
        ('1969-09-30 12:00', 'Pacific/Kwajalein', ('1969-09-30T01:00:00.000Z', '1969-09-30 12:00', 'fold')),
        # Behind the end of the tz data the last offset stays.
        ('2500-07-01 12:00', 'America/New_York', ('2500-07-01T17:00:00.000Z', '2500-07-01 12:00', None)),
        ('9999-12-31 23:59', 'UTC', ('9999-12-31T23:59:00.000Z', '9999-12-31 23:59', None)),
        ('9999-12-31 23:59', 'Asia/Tokyo', ('9999-12-31T14:59:00.000Z', '9999-12-31 23:59', None)),
    ],
)
def test_a_wall_clock_time_means_an_instant(local: str, zone: str, expected: tuple[str, str, str | None]) -> None:
    assert resolve(local, zone) == expected


@pytest.mark.parametrize(('local', 'zone'), [('9999-12-31 23:59', 'America/New_York'), ('0001-01-01 12:00', 'UTC')])
def test_beyond_the_years_1_to_9999_is_an_overflow(local: str, zone: str) -> None:
    with pytest.raises(OverflowError):
        resolve(local, zone)


@settings(deadline=None)
@given(
    zone=st.sampled_from(pytz.all_timezones),
    local=st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)),
)
def test_clocks_in_the_zone_show_the_answer(zone: str, local: datetime) -> None:
    """Given any time, when it is resolved, then that zone's clocks show at the instant what the answer says."""
    local = local.replace(second=0, microsecond=0)
    found = timezones.find(zone)
    assert found is not None
    resolved = timezones.resolve(local, found)
    shown = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=resolved.instant)).astimezone(found)
    assert shown.replace(tzinfo=None) == resolved.local
    assert (resolved.local != local) == (resolved.adjusted == 'gap')


def test_no_zone_changes_twice_within_two_days() -> None:
    """`resolve` looks at the offsets a day before and a day after only."""
    for name in pytz.all_timezones:
        changes = getattr(pytz.timezone(name), '_utc_transition_times', [])
        assert all(later - earlier > timedelta(days=2) for earlier, later in pairwise(changes)), name

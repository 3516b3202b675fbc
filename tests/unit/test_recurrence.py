"""Repeating events in their zones: changes of the clocks, where a series ends, what is refused, and the work it is."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reminder.errors import InvalidInput
from reminder.models import event
from reminder.services import expansion, timezones
from reminder.services.recurrence import Occurrence, Rule

NEW_YORK = 'America/New_York'
HOUR = 60 * event.MINUTE


def rule(text: str, start: str, zone: str = 'UTC') -> Rule:
    found = timezones.find(zone)
    assert found is not None
    return Rule.parse(text, datetime.fromisoformat(start), found)


def ms(iso: str) -> int:
    return event.instant(datetime.fromisoformat(iso).replace(tzinfo=UTC))


def times(occurrences: Iterator[Occurrence], most: int = 100) -> list[tuple[str, str]]:
    """Instants and wall-clock times, both as 'YYYY-MM-DD HH:mm'."""
    return [(event.iso(one.time)[:16].replace('T', ' '), one.local_time) for one in islice(occurrences, most)]


def instants(text: str, start: str, zone: str, most: int = 100) -> list[str]:
    return [instant for instant, _ in times(rule(text, start, zone).occurrences(0), most)]


def test_an_occurrence_is_an_instant_and_the_time_that_clocks_show() -> None:
    weekly = rule('FREQ=WEEKLY;COUNT=2', '2026-10-30 09:00', NEW_YORK)
    assert list(weekly.occurrences(0)) == [
        Occurrence(ms('2026-10-30 13:00'), '2026-10-30 09:00'),
        Occurrence(ms('2026-11-06 14:00'), '2026-11-06 09:00'),
    ]


def test_those_after_an_instant_are_strictly_after_it() -> None:
    daily = rule('FREQ=DAILY', '2026-06-01 09:00')
    at = ms('2026-06-05 09:00')
    for after, expected in ((at - 1, at), (at, at + 24 * HOUR), (at + 1, at + 24 * HOUR), (0, ms('2026-06-01 09:00'))):
        assert next(daily.occurrences(after)).time == expected
    assert next(daily.occurrences(-(10**15))).time == ms('2026-06-01 09:00')
    assert list(daily.occurrences(10**15)) == []


@pytest.mark.parametrize(
    ('text', 'start', 'zone', 'expected'),
    [
        # Clocks are put forward: what is skipped comes as long after the change.
        (
            'FREQ=DAILY;COUNT=3',
            '2021-03-13 02:30',
            NEW_YORK,
            [
                ('2021-03-13 07:30', '2021-03-13 02:30'),
                ('2021-03-14 07:30', '2021-03-14 02:30'),
                ('2021-03-15 06:30', '2021-03-15 02:30'),
            ],
        ),
        # Two times that mean one instant are one occurrence, and the later of both is the true one.
        (
            'FREQ=MINUTELY;INTERVAL=30;COUNT=7',
            '2021-03-14 01:30',
            NEW_YORK,
            [
                ('2021-03-14 06:30', '2021-03-14 01:30'),
                ('2021-03-14 07:00', '2021-03-14 03:00'),
                ('2021-03-14 07:30', '2021-03-14 03:30'),
                ('2021-03-14 08:00', '2021-03-14 04:00'),
                ('2021-03-14 08:30', '2021-03-14 04:30'),
            ],
        ),
        # What is skipped comes after what was named behind it.
        (
            'FREQ=DAILY;BYHOUR=2,3;BYMINUTE=15,45;COUNT=4',
            '2021-03-14 02:30',
            NEW_YORK,
            [
                ('2021-03-14 07:45', '2021-03-14 03:45'),
                ('2021-03-15 06:15', '2021-03-15 02:15'),
            ],
        ),
        (
            'FREQ=HOURLY;INTERVAL=2;BYMINUTE=40,50;UNTIL=20210314T050000',
            '2021-03-14 00:00',
            NEW_YORK,
            [
                ('2021-03-14 05:40', '2021-03-14 00:40'),
                ('2021-03-14 05:50', '2021-03-14 00:50'),
                ('2021-03-14 07:40', '2021-03-14 02:40'),
                ('2021-03-14 07:50', '2021-03-14 02:50'),
                ('2021-03-14 08:40', '2021-03-14 04:40'),
                ('2021-03-14 08:50', '2021-03-14 04:50'),
            ],
        ),
        # Clocks are put back: what is repeated comes the first time only.
        (
            'FREQ=DAILY;COUNT=3',
            '2021-11-06 01:30',
            NEW_YORK,
            [
                ('2021-11-06 05:30', '2021-11-06 01:30'),
                ('2021-11-07 05:30', '2021-11-07 01:30'),
                ('2021-11-08 06:30', '2021-11-08 01:30'),
            ],
        ),
        (
            'FREQ=MINUTELY;INTERVAL=30;COUNT=4',
            '2021-11-07 01:00',
            NEW_YORK,
            [
                ('2021-11-07 05:00', '2021-11-07 01:00'),
                ('2021-11-07 05:30', '2021-11-07 01:30'),
                ('2021-11-07 07:00', '2021-11-07 02:00'),
                ('2021-11-07 07:30', '2021-11-07 02:30'),
            ],
        ),
        # Half an hour, in the south.
        (
            'FREQ=MINUTELY;INTERVAL=15;COUNT=5',
            '2025-10-05 01:45',
            'Australia/Lord_Howe',
            [
                ('2025-10-04 15:15', '2025-10-05 01:45'),
                ('2025-10-04 15:30', '2025-10-05 02:30'),
                ('2025-10-04 15:45', '2025-10-05 02:45'),
            ],
        ),
        # At midnight, so a day begins at one.
        (
            'FREQ=DAILY;BYHOUR=0;BYMINUTE=0,30;COUNT=3',
            '2025-09-06 00:30',
            'America/Santiago',
            [
                ('2025-09-06 04:30', '2025-09-06 00:30'),
                ('2025-09-07 04:00', '2025-09-07 00:00'),
                ('2025-09-07 04:30', '2025-09-07 00:30'),
            ],
        ),
        # A whole day was skipped: 30 December 2011 came with the 31st.
        (
            'FREQ=DAILY;COUNT=4',
            '2011-12-29 09:00',
            'Pacific/Apia',
            [
                ('2011-12-29 19:00', '2011-12-29 09:00'),
                ('2011-12-30 19:00', '2011-12-31 09:00'),
                ('2011-12-31 19:00', '2012-01-01 09:00'),
            ],
        ),
    ],
)
def test_changes_of_the_clocks(text: str, start: str, zone: str, expected: list[tuple[str, str]]) -> None:
    series = rule(text, start, zone)
    assert times(series.occurrences(0)) == expected
    for n, (instant, _) in enumerate(expected):
        assert times(series.occurrences(ms(instant))) == expected[n + 1 :]
        assert times(series.occurrences(ms(instant) - 1)) == expected[n:]


@pytest.mark.parametrize(
    ('zone', 'change'),
    [
        (NEW_YORK, '2027-03-14 07:00'),
        (NEW_YORK, '2027-11-07 06:00'),
        ('Europe/London', '2027-03-28 01:00'),
        ('Europe/Dublin', '2027-10-31 01:00'),
        ('Australia/Lord_Howe', '2027-10-02 15:30'),
        ('Australia/Lord_Howe', '2027-04-03 15:00'),
        ('Africa/Casablanca', '2027-02-07 02:00'),
        ('Africa/Casablanca', '2027-03-14 02:00'),
        ('Pacific/Apia', '2011-12-30 10:00'),
    ],
)
def test_each_minute_comes_once_but_for_those_that_clocks_repeat(zone: str, change: str) -> None:
    found = timezones.find(zone)
    assert found is not None
    before, after = ms(change) - 3 * HOUR, ms(change) + 3 * HOUR
    start = found.fromutc(datetime.fromisoformat(change) - timedelta(hours=3)).replace(tzinfo=None)
    minutely = Rule.parse('FREQ=MINUTELY', start, found)
    expected = []
    for instant in range(before, after, event.MINUTE):
        local = found.fromutc(datetime(1970, 1, 1) + timedelta(milliseconds=instant)).replace(tzinfo=None)
        if timezones.resolve(local, found).instant == instant:
            expected.append(Occurrence(instant, local.isoformat(' ', 'minutes')))
    assert list(islice(minutely.occurrences(0), len(expected))) == expected
    for one, following in list(pairwise(expected))[::17]:
        assert next(minutely.occurrences(one.time)) == following


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(['FREQ=MINUTELY;INTERVAL=7', 'FREQ=HOURLY;BYMINUTE=0,20', 'FREQ=DAILY;BYHOUR=1,2,3', 'FREQ=DAILY']),
    st.sampled_from(timezones.names()),
    st.datetimes(datetime(2024, 1, 1), datetime(2036, 1, 1)),
    st.integers(0, 400 * 24 * 60),
)
def test_in_any_zone_they_are_the_resolved_times_in_order(text: str, name: str, start: datetime, later: int) -> None:
    start = start.replace(second=0, microsecond=0)
    zone = timezones.find(name)
    assert zone is not None
    series = Rule.parse(text, start, zone)
    after = timezones.resolve(start, zone).instant + later * event.MINUTE
    found = list(islice(series.occurrences(after), 30))

    # a day more at both ends, as no time is moved by more
    first = expansion.minutes(start + timedelta(minutes=later - 2 * 24 * 60))
    walls = islice(series.expansion.since(first), 1000)
    resolved = {timezones.resolve(expansion.moment(wall), zone).instant for wall in walls}
    assert [one.time for one in found] == sorted(at for at in resolved if at > after)[:30]
    assert all(timezones.resolve(datetime.fromisoformat(one.local_time), zone).instant == one.time for one in found)


def test_it_is_one_series_however_it_is_read() -> None:
    text = 'FREQ=HOURLY;INTERVAL=5;BYDAY=MO,TU,SU;COUNT=500'
    whole = list(rule(text, '2026-02-01 00:10', NEW_YORK).occurrences(0))
    read, after = [], 0
    while page := list(islice(rule(text, '2026-02-01 00:10', NEW_YORK).occurrences(after), 7)):
        read += page
        after = page[-1].time
    assert read == whole
    assert len(whole) == 500


@pytest.mark.parametrize(
    ('text', 'start', 'zone', 'expected'),
    [
        # In UTC it is an instant, to the second.
        ('FREQ=DAILY;UNTIL=20260603T130000Z', '2026-06-01 09:00', NEW_YORK, 3),
        ('FREQ=DAILY;UNTIL=20260603T125959Z', '2026-06-01 09:00', NEW_YORK, 2),
        # Without Z it is the zone's time.
        ('FREQ=DAILY;UNTIL=20260603T090000', '2026-06-01 09:00', NEW_YORK, 3),
        ('FREQ=DAILY;UNTIL=20260603T085959', '2026-06-01 09:00', NEW_YORK, 2),
        # A day is a whole one.
        ('FREQ=DAILY;UNTIL=20260603', '2026-06-01 23:59', NEW_YORK, 3),
        ('FREQ=DAILY;UNTIL=20260603', '2026-06-01 00:00', 'Pacific/Auckland', 3),
        # The first passing of 01:30 is before the second of 01:10, which is 06:10 UTC.
        ('FREQ=MINUTELY;INTERVAL=10;UNTIL=20211107T061000Z', '2021-11-07 01:00', NEW_YORK, 6),
        # What is skipped, 02:10 to 02:50, is as late as 03:10 to 03:50: after 03:05, which is 07:05 UTC.
        ('FREQ=MINUTELY;INTERVAL=10;UNTIL=20210314T070500Z', '2021-03-14 01:50', NEW_YORK, 2),
        # The RFC's erratum 3883: 17:00 in New York is 21:00 in UTC.
        ('FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z', '1997-09-02 09:00', NEW_YORK, 3),
        ('FREQ=DAILY;UNTIL=19971224T000000Z', '1997-09-02 09:00', NEW_YORK, 113),
        ('FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH', '1997-09-02 09:00', NEW_YORK, 10),
    ],
)
def test_until(text: str, start: str, zone: str, expected: int) -> None:
    assert len(instants(text, start, zone, most=1000)) == expected


def test_count_begins_with_the_first_time_that_fits() -> None:
    assert instants('FREQ=WEEKLY;BYDAY=FR;COUNT=2', '2026-06-01 09:00', 'UTC') == [
        '2026-06-05 09:00',
        '2026-06-12 09:00',
    ]


def test_nothing_comes_before_the_start_that_was_skipped() -> None:
    assert instants('FREQ=MINUTELY;INTERVAL=10;COUNT=5', '2021-03-14 02:30', NEW_YORK) == [
        '2021-03-14 07:30',
        '2021-03-14 07:40',
        '2021-03-14 07:50',
    ]


def test_at_the_end_of_the_calendar_it_ends() -> None:
    for zone in (NEW_YORK, 'UTC', 'Pacific/Auckland'):
        assert 0 < len(instants('FREQ=HOURLY', '9999-12-31 17:00', zone)) <= 7


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('every monday', 'one RRULE'),
        ('FREQ=SECONDLY', 'finer than a minute'),
        ('FREQ=DAILY;BYHOUR=25', 'BYHOUR'),
        ('FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30', 'it names no time from 2026-06-01 09:00 on, in 50 years'),
        ('FREQ=DAILY;UNTIL=20260531', 'names no time'),
        ('FREQ=DAILY;UNTIL=20260601T085959Z', 'names no time'),
        ('FREQ=DAILY;INTERVAL=2;BYMONTHDAY=2;BYMONTH=6;UNTIL=20260603', 'names no time'),
        ('FREQ=YEARLY;COUNT=52', 'COUNT=52 is not reached in 50 years'),
        ('\ud800\n' * 1000, 'longer than 500'),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        rule(text, '2026-06-01 09:00')
    message = str(raised.value)
    assert message.startswith("repeat='")
    assert why in message
    assert len(message) < 1000
    assert message.isprintable()
    assert message.encode()


class TooMuch(Exception):
    """More work was done than allowed."""


def work(do: Callable[[], object], most: int) -> int:
    """How many functions `do` calls; `TooMuch` if it is more than `most`, so that a test does not hang."""
    calls = 0

    def count(frame: FrameType, what: str, argument: object) -> None:
        nonlocal calls
        calls += what in ('call', 'c_call')
        if calls > most:
            raise TooMuch

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(before)
    return calls


def tried(text: str, start: datetime, zone: Any) -> Rule | None:
    try:
        return Rule.parse(text, start, zone)
    except InvalidInput:
        return None


def row(least: int, greatest: int) -> str:
    return ','.join(map(str, range(least, greatest + 1)))


HOSTILE = [
    'FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30',
    'FREQ=MINUTELY;BYHOUR=0;BYMINUTE=0;BYMONTH=2;BYMONTHDAY=30',
    f'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;BYHOUR={row(0, 23)}',
    'FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1',
    'FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29',
    'FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO,TU,WE,TH,FR,SA,SU;COUNT=10000',
    f'FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR={row(0, 23)};BYMINUTE={row(0, 59)};BYSETPOS=-1;COUNT=10000',
    'FREQ=MONTHLY;COUNT=10000;BYDAY=MO,1TU,2TU,-1TU,3WE',
    f'FREQ=MONTHLY;BYMONTHDAY={row(1, 31)};BYDAY=MO,TU,WE,TH,FR,SA,SU;COUNT=10000',
    f'FREQ=MONTHLY;BYDAY=MO;BYSETPOS={row(6, 120)}',
    f'FREQ=WEEKLY;BYDAY=MO;BYHOUR={row(0, 23)};BYSETPOS={row(25, 115)}',
    f'FREQ=WEEKLY;BYDAY=MO;BYHOUR={row(0, 23)};BYSETPOS=1,{row(25, 105)};COUNT=10000',
    'FREQ=WEEKLY;COUNT=10000',
    'FREQ=DAILY;COUNT=10000',
    'FREQ=DAILY;INTERVAL=1000000;COUNT=2',
    'FREQ=DAILY;INTERVAL=7;BYDAY=TU',
    'FREQ=DAILY;BYHOUR=1;BYSETPOS=2',
    f'FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30;BYYEARDAY={row(1, 99)}',
    'FREQ=HOURLY;INTERVAL=24;BYHOUR=3',
    f'FREQ=MINUTELY;INTERVAL=2;BYMINUTE={",".join(map(str, range(1, 60, 2)))}',
    'FREQ=MINUTELY;INTERVAL=999983;COUNT=10000',
    'FREQ=MINUTELY;INTERVAL=1441;BYHOUR=0;BYMINUTE=0;BYDAY=MO;BYMONTH=1;BYMONTHDAY=1',
    'FREQ=MINUTELY;COUNT=10000',
]
"""Each is slow in some way: it names no time, or few, or many."""

MOST = 150_000
"""How many calls a rule may cost to be checked; that takes 15 to 40 ms."""


@pytest.mark.parametrize('text', HOSTILE)
def test_a_hostile_rule_costs_little(text: str) -> None:
    assert len(text) <= 500
    expansion._days.cache_clear()
    work(lambda: tried(text, datetime(2027, 6, 1, 9), timezones.find('Europe/Berlin')), MOST)
    assert expansion._days.cache_info().misses <= 28 * 12


@settings(deadline=None)
@given(st.text() | st.from_regex(r'(RRULE:)?FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY|MINUTELY)(;[A-Z]+=[-+0-9A-Z,]+)*'))
def test_any_text_is_a_rule_or_invalid_input_and_costs_little(text: str) -> None:
    def read() -> None:
        series = tried(text, datetime(2027, 6, 1, 9), timezones.find(NEW_YORK))
        assert series is None or next(series.occurrences(0)).time >= series.start

    work(read, 2 * MOST)


@pytest.mark.parametrize('text', ['FREQ=MINUTELY', 'FREQ=MINUTELY;INTERVAL=7;BYHOUR=1,2', 'FREQ=DAILY', 'FREQ=YEARLY'])
def test_the_next_one_costs_the_same_however_long_the_series_has_run(text: str) -> None:
    series = rule(text, '2000-01-31 09:00', NEW_YORK)
    fresh, old = (ms(f'{year}-02-01 12:00') for year in (2000, 2035))

    def next_after(instant: int) -> int:
        return work(lambda: next(series.occurrences(instant)), 10_000)

    for instant in (fresh, old):
        next(series.occurrences(instant))  # both kinds of years are known then
    assert next_after(old) <= next_after(fresh) * 2 + 100
    assert next_after(old) < 3_000


def test_work_is_counted_and_stopped() -> None:
    assert 100 <= work(lambda: [abs(n) for n in range(100)], 1000) < 110
    with pytest.raises(TooMuch):
        work(lambda: [abs(n) for n in range(10_000_000)], 1000)

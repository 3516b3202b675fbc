"""What rules name on the wall clock: by RFC 5545's examples, by its letter, and by python-dateutil."""

from datetime import datetime, timedelta
from itertools import chain, islice, takewhile
from typing import Any

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reminder.services import rrule
from reminder.services.expansion import Expansion, minutes, moment
from tests import rfc5545

DAYS = rfc5545.DAYS


def expansion(rule: str, start: datetime) -> Expansion:
    return Expansion(rrule.parse(rule), start)


def first(rule: str, start: datetime, most: int, since: datetime = datetime.min) -> list[datetime]:
    return [moment(wall) for wall in islice(expansion(rule, start).since(minutes(since)), most)]


def dates(text: str, hour: int = 9) -> list[datetime]:
    """'1997-9: 2 3; 10: 1' as the datetimes of these days: year and month, or the month of the same year."""
    found = []
    year = ''
    for group in text.split('; '):
        month, days = group.split(': ')
        if '-' in month:
            year, month = month.split('-')
        found += [datetime(int(year), int(month), int(day), hour) for day in days.split()]
    return found


EXAMPLES = [
    # 3.8.5.3, all that start at 09:00, without COUNT and UNTIL: these do not concern the wall clock alone
    ('FREQ=DAILY', '1997-9: 2 3 4 5 6 7 8 9 10 11'),
    ('FREQ=DAILY;INTERVAL=2', '1997-9: 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30; 10: 2 4 6'),
    ('FREQ=DAILY;INTERVAL=10', '1997-9: 2 12 22; 10: 2 12'),
    ('FREQ=WEEKLY', '1997-9: 2 9 16 23 30; 10: 7 14 21 28; 11: 4'),
    ('FREQ=WEEKLY;INTERVAL=2;WKST=SU', '1997-9: 2 16 30; 10: 14 28; 11: 11 25; 12: 9 23; 1998-1: 6 20; 2: 3 17'),
    ('FREQ=WEEKLY;WKST=SU;BYDAY=TU,TH', '1997-9: 2 4 9 11 16 18 23 25 30; 10: 2'),
    (
        'FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=MO,WE,FR',
        '1997-9: 1 3 5 15 17 19 29; 10: 1 3 13 15 17 27 29 31; 11: 10 12 14 24 26 28; 12: 8 10 12 22',
    ),
    ('FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,TH', '1997-9: 2 4 16 18 30; 10: 2 14 16'),
    ('FREQ=MONTHLY;BYDAY=1FR', '1997-9: 5; 10: 3; 11: 7; 12: 5; 1998-1: 2; 2: 6; 3: 6; 4: 3; 5: 1; 6: 5'),
    ('FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU,-1SU', '1997-9: 7 28; 11: 2 30; 1998-1: 4 25; 3: 1 29; 5: 3 31'),
    ('FREQ=MONTHLY;BYDAY=-2MO', '1997-9: 22; 10: 20; 11: 17; 12: 22; 1998-1: 19; 2: 16'),
    ('FREQ=MONTHLY;BYMONTHDAY=-3', '1997-9: 28; 10: 29; 11: 28; 12: 29; 1998-1: 29; 2: 26'),
    ('FREQ=MONTHLY;BYMONTHDAY=2,15', '1997-9: 2 15; 10: 2 15; 11: 2 15; 12: 2 15; 1998-1: 2 15'),
    ('FREQ=MONTHLY;BYMONTHDAY=1,-1', '1997-9: 30; 10: 1 31; 11: 1 30; 12: 1 31; 1998-1: 1 31; 2: 1'),
    ('FREQ=MONTHLY;INTERVAL=18;BYMONTHDAY=10,11,12,13,14,15', '1997-9: 10 11 12 13 14 15; 1999-3: 10 11 12 13'),
    ('FREQ=MONTHLY;INTERVAL=2;BYDAY=TU', '1997-9: 2 9 16 23 30; 11: 4 11 18 25; 1998-1: 6 13 20 27; 3: 3 10 17 24 31'),
    ('FREQ=YEARLY;BYMONTH=6,7', '1997-6: 10; 7: 10; 1998-6: 10; 7: 10; 1999-6: 10; 7: 10; 2000-6: 10; 7: 10'),
    ('FREQ=YEARLY;INTERVAL=2;BYMONTH=1,2,3', '1997-3: 10; 1999-1: 10; 2: 10; 3: 10; 2001-1: 10; 2: 10; 3: 10'),
    (
        'FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,200',
        '1997-1: 1; 4: 10; 7: 19; 2000-1: 1; 4: 9; 7: 18; 2003-1: 1; 4: 10; 7: 19; 2006-1: 1',
    ),
    ('FREQ=YEARLY;BYDAY=20MO', '1997-5: 19; 1998-5: 18; 1999-5: 17'),
    ('FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO', '1997-5: 12; 1998-5: 11; 1999-5: 17'),
    ('FREQ=YEARLY;BYMONTH=3;BYDAY=TH', '1997-3: 13 20 27; 1998-3: 5 12 19 26; 1999-3: 4 11 18 25'),
    (
        'FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8',
        '1997-6: 5 12 19 26; 7: 3 10 17 24 31; 8: 7 14 21 28; 1998-6: 4 11 18 25; 7: 2 9 16 23 30; 8: 6 13 20 27',
    ),
    ('FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13', '1998-2: 13; 3: 13; 11: 13; 1999-8: 13; 2000-10: 13'),
    (
        'FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13',
        '1997-9: 13; 10: 11; 11: 8; 12: 13; 1998-1: 10; 2: 7; 3: 7; 4: 11; 5: 9; 6: 13',
    ),
    (
        'FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8',
        '1996-11: 5; 2000-11: 7; 2004-11: 2',
    ),
    ('FREQ=MONTHLY;BYDAY=TU,WE,TH;BYSETPOS=3', '1997-9: 4; 10: 7; 11: 6'),
    (
        'FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2',
        '1997-9: 29; 10: 30; 11: 27; 12: 30; 1998-1: 29; 2: 26; 3: 30',
    ),
    ('FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO', '1997-8: 5 10 19 24'),
    ('FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU', '1997-8: 5 17 19 31'),
    ('FREQ=MONTHLY;BYMONTHDAY=15,30', '2007-1: 15 30; 2: 15; 3: 15 30'),
]
WITHIN_DAYS = [
    ('FREQ=HOURLY;INTERVAL=3', '09:00 12:00 15:00'),
    ('FREQ=MINUTELY;INTERVAL=15', '09:00 09:15 09:30 09:45 10:00 10:15'),
    ('FREQ=MINUTELY;INTERVAL=90', '09:00 10:30 12:00 13:30'),
    ('FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,20,40', '09:00 09:20 09:40 10:00 10:20 10:40'),
    ('FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10', '09:00 09:20 09:40 10:00 10:20 10:40'),
]


@pytest.mark.parametrize(('rule', 'expected'), EXAMPLES)
def test_the_examples_of_the_rfc(rule: str, expected: str) -> None:
    times = dates(expected)
    start = datetime(1997, 9, 2, 9) if rule.endswith('BYMONTHDAY=13') else times[0]
    assert first(rule, start, len(times)) == times


@pytest.mark.parametrize(('rule', 'expected'), WITHIN_DAYS)
def test_the_examples_of_the_rfc_within_days(rule: str, expected: str) -> None:
    times = [datetime.fromisoformat(f'1997-09-02 {time}') for time in expected.split()]
    assert first(rule, times[0], len(times)) == times


def test_two_ways_to_say_every_day_of_january() -> None:
    start, end = datetime(1998, 1, 1, 9), minutes(datetime(2000, 1, 31, 9))
    rules = ['FREQ=YEARLY;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA', 'FREQ=DAILY;BYMONTH=1']
    found = [list(takewhile(lambda wall: wall <= end, expansion(rule, start).since(0))) for rule in rules]
    assert found[0] == found[1]
    assert len(found[0]) == 3 * 31


def some(name: str, each: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[str]:
    items = st.lists(each.map(str), min_size=1, max_size=most, unique=True)
    return items.map(lambda found: f'{name}={",".join(found)}')


def signed(greatest: int) -> st.SearchStrategy[int]:
    return st.integers(1, greatest) | st.integers(-greatest, -1)


def numbered(greatest: int) -> st.SearchStrategy[str]:
    return st.tuples(signed(greatest), st.sampled_from(DAYS)).map(lambda pair: f'{pair[0]}{pair[1]}')


@st.composite
def rules(draw: Any) -> str:
    freq = draw(st.sampled_from('YEARLY MONTHLY WEEKLY DAILY HOURLY MINUTELY'.split()))
    names = 'INTERVAL WKST BYMONTH BYMONTHDAY BYYEARDAY BYWEEKNO BYDAY BYHOUR BYMINUTE BYSETPOS'.split()
    chosen = draw(st.sets(st.sampled_from(names)))
    chosen -= {
        'YEARLY': set(),
        'MONTHLY': {'BYYEARDAY', 'BYWEEKNO'},
        'WEEKLY': {'BYYEARDAY', 'BYWEEKNO', 'BYMONTHDAY'},
        'DAILY': {'BYYEARDAY', 'BYWEEKNO'},
    }.get(freq, {'BYWEEKNO'})
    if not any(name.startswith('BY') for name in chosen - {'BYSETPOS'}):
        chosen -= {'BYSETPOS'}
    weekday: st.SearchStrategy[str] = st.sampled_from(DAYS)
    if freq in ('YEARLY', 'MONTHLY') and 'BYWEEKNO' not in chosen:
        weekday |= numbered(5 if freq == 'MONTHLY' or 'BYMONTH' in chosen else 53)
    parts = {
        'INTERVAL': some('INTERVAL', st.integers(1, {'HOURLY': 60, 'MINUTELY': 200}.get(freq, 5)), most=1),
        'WKST': some('WKST', st.sampled_from(DAYS), most=1),
        'BYMONTH': some('BYMONTH', st.integers(1, 12)),
        'BYMONTHDAY': some('BYMONTHDAY', signed(31)),
        'BYYEARDAY': some('BYYEARDAY', signed(366), most=12),
        'BYWEEKNO': some('BYWEEKNO', signed(53) | st.sampled_from([1, 52, 53, -1, -52, -53])),
        'BYDAY': some('BYDAY', weekday),
        'BYHOUR': some('BYHOUR', st.integers(0, 23)),
        'BYMINUTE': some('BYMINUTE', st.integers(0, 59)),
        'BYSETPOS': some('BYSETPOS', signed(6)),
    }
    return ';'.join([f'FREQ={freq}', *(draw(parts[name]) for name in sorted(chosen))])


starts = st.datetimes(datetime(2023, 1, 1), datetime(2030, 1, 1)).map(
    lambda time: time.replace(second=0, microsecond=0)
)
YEARS = timedelta(days=2 * 366)
MOST = 100


@settings(deadline=None, max_examples=30)
@given(rules(), starts, st.data())
def test_any_rule_is_read_as_by_the_letter_of_the_rfc_and_can_be_entered_anywhere(
    rule: str, start: datetime, data: Any
) -> None:
    expected = list(islice(rfc5545.times(rule, start, start + YEARS), MOST))
    end = expected[-1] if len(expected) == MOST else start + YEARS - timedelta(minutes=1)
    found = [time for time in first(rule, start, MOST) if time <= end]
    assert found == expected

    since = start + timedelta(minutes=data.draw(st.integers(0, (end - start) // timedelta(minutes=1))))
    rest = [time for time in first(rule, start, MOST, since) if time <= end]
    assert rest == [time for time in expected if time >= since]


def is_read_otherwise_by_dateutil(rule: str) -> bool:
    """The four differences that the module's docstring names."""
    given = dict(part.split('=') for part in rule.split(';'))
    by_day = given.get('BYDAY', '').split(',')
    by_week = 'BYWEEKNO' in given
    return (
        (by_week and any(week in ('1', '52', '53', '-1', '-52', '-53') for week in given['BYWEEKNO'].split(',')))
        or (by_week and not {'BYDAY', 'BYMONTHDAY', 'BYYEARDAY'} & given.keys())
        or (len({len(day) > 2 for day in by_day}) > 1)
        or (given['FREQ'] == 'WEEKLY' and 'BYSETPOS' in given)
    )


@settings(deadline=None, max_examples=30)
@given(rules(), starts)
def test_dateutil_agrees_but_for_what_is_named(rule: str, start: datetime) -> None:
    assume(not is_read_otherwise_by_dateutil(rule))
    expected = [time for time in first(rule, start, 20) if time < start + YEARS]
    assume(expected)  # else dateutil would search for long
    monday = '' if 'WKST' in rule else ';WKST=MO'
    assert list(islice(rrulestr(rule + monday, dtstart=start), len(expected))) == expected


@pytest.mark.parametrize(
    ('rule', 'start', 'expected'),
    [
        # Week 53 of 2026 goes on to 3 January; 1 January 2028 is in week 52 of 2027.
        ('FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO,SU', '2026-06-01 09:00', '2026-12: 28; 2027-1: 3'),
        ('FREQ=YEARLY;BYWEEKNO=52;BYDAY=SA', '2027-06-01 09:00', '2028-1: 1; 12: 30'),
        ('FREQ=YEARLY;BYWEEKNO=-1;BYDAY=SA', '2027-06-01 09:00', '2028-1: 1; 12: 30'),
        ('FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO,FR', '2024-06-01 09:00', '2024-12: 30; 2025-1: 3; 12: 29; 2026-1: 2'),
        # The start is a Wednesday.
        ('FREQ=YEARLY;BYWEEKNO=20', '2026-01-07 09:00', '2026-5: 13; 2027-5: 19'),
        ('FREQ=MONTHLY;BYDAY=MO,-1FR', '2026-06-01 09:00', '2026-6: 1 8 15 22 26 29; 7: 6'),
        ('FREQ=YEARLY;BYDAY=MO,1TU', '2026-12-21 09:00', '2026-12: 21 28; 2027-1: 4 5 11'),
        # The start is the third of its week's seven days.
        ('FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1,4', '2026-06-03 09:00', '2026-6: 4 8 11 15'),
        ('FREQ=WEEKLY;BYDAY=SA,MO;BYSETPOS=1', '2026-06-01 09:00', '2026-6: 1 8 15'),
        ('FREQ=WEEKLY;WKST=SU;BYDAY=SU,MO;BYSETPOS=1', '2026-06-01 09:00', '2026-6: 7 14 21'),
        # The start does not fit.
        ('FREQ=WEEKLY;BYDAY=FR', '2026-06-03 09:00', '2026-6: 5 12'),
        ('FREQ=MONTHLY', '2026-01-31 09:00', '2026-1: 31; 3: 31; 5: 31'),
        ('FREQ=YEARLY', '2024-02-29 09:00', '2024-2: 29; 2028-2: 29'),
        ('FREQ=YEARLY', '2096-02-29 09:00', '2096-2: 29; 2104-2: 29'),
    ],
)
def test_the_letter_of_the_rfc_where_libraries_differ(rule: str, start: str, expected: str) -> None:
    times = dates(expected)
    assert first(rule, datetime.fromisoformat(start), len(times)) == times


def test_a_rare_day_is_found_and_an_impossible_one_is_not() -> None:
    start = datetime(2072, 2, 29, 9)
    monday = 'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO'
    assert first(monday, start, 1) == [start]
    assert first(monday, start, 1, since=datetime(2072, 3, 1)) == [datetime(2112, 2, 29, 9)]
    assert first('FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30', start, 1) == []


def test_it_ends_with_the_calendar() -> None:
    for rule in ('FREQ=YEARLY', 'FREQ=MONTHLY', 'FREQ=WEEKLY', 'FREQ=DAILY', 'FREQ=YEARLY;BYWEEKNO=52;BYDAY=FR'):
        last = list(chain([0], expansion(rule, datetime(9990, 12, 31, 9)).since(0)))[-1]
        assert moment(last).year == 9999, rule

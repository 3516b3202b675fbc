"""Recurrence rules by the letter of RFC 5545, 3.3.10: every day is looked at. Slow, for comparing."""

from calendar import isleap, monthrange
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby

DAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU']
DAY = timedelta(days=1)
NUMBERS = ['BYSETPOS', 'BYMONTH', 'BYMONTHDAY', 'BYYEARDAY', 'BYWEEKNO', 'BYHOUR', 'BYMINUTE']
UNITS = {'DAILY': DAY, 'HOURLY': timedelta(hours=1), 'MINUTELY': timedelta(minutes=1)}


def times(rule: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """The times of `rule` from `start` on and before `end`, whatever its COUNT and UNTIL. All wall-clock."""
    given = dict(part.split('=') for part in rule.split(';'))
    freq, interval = given['FREQ'], int(given.get('INTERVAL', 1))
    wkst = DAYS.index(given.get('WKST', 'MO'))
    numbers = {name: [int(item) for item in given[name].split(',')] for name in given if name in NUMBERS}
    hours = numbers.get('BYHOUR', range(24) if freq in ('HOURLY', 'MINUTELY') else [start.hour])
    minutes = numbers.get('BYMINUTE', range(60) if freq == 'MINUTELY' else [start.minute])

    def period(time: datetime) -> int:
        if freq == 'YEARLY':
            return time.year - start.year
        if freq == 'MONTHLY':
            return time.year * 12 + time.month - start.year * 12 - start.month
        if freq == 'WEEKLY':
            return (week(time.date(), wkst) - week(start.date(), wkst)).days // 7
        unit = UNITS[freq]
        origin = datetime(start.year, start.month, start.day)
        return (time - origin) // unit - (start - origin) // unit

    # whole years and weeks, as BYSETPOS counts in them
    first, last = date(start.year, 1, 1) - 7 * DAY, date(end.year, 12, 31) + 7 * DAY
    days = (first + n * DAY for n in range((last - first).days + 1))
    fitting = (day for day in days if fits(day, given, numbers, start, wkst))
    candidates = (
        datetime(day.year, day.month, day.day, hour, minute)
        for day in fitting
        for hour in sorted(hours)
        for minute in sorted(minutes)
    )
    for number, group in groupby(candidates, period):
        if number % interval == 0:
            yield from (time for time in chosen(list(group), numbers.get('BYSETPOS')) if start <= time < end)


def chosen(candidates: list[datetime], positions: list[int] | None) -> Iterable[datetime]:
    if positions is None:
        return candidates
    size = len(candidates)
    return [time for n, time in enumerate(candidates) if n + 1 in positions or n - size in positions]


def fits(day: date, given: dict[str, str], numbers: dict[str, list[int]], start: datetime, wkst: int) -> bool:
    freq = given['FREQ']
    in_month, in_year = monthrange(day.year, day.month)[1], 365 + isleap(day.year)
    yearday = day.timetuple().tm_yday
    tests = {
        'BYMONTH': {day.month},
        'BYMONTHDAY': {day.day, day.day - in_month - 1},
        'BYYEARDAY': {yearday, yearday - in_year - 1},
        'BYWEEKNO': week_numbers(day, wkst),
    }
    if not all(tests[name] & set(numbers[name]) for name in tests if name in numbers):
        return False
    if 'BYDAY' in given:
        by_month = freq == 'MONTHLY' or 'BYMONTH' in given
        n, size = (day.day, in_month) if by_month else (yearday, in_year)
        name = DAYS[day.weekday()]
        names = {name, f'{(n - 1) // 7 + 1}{name}', f'+{(n - 1) // 7 + 1}{name}', f'{-((size - n) // 7) - 1}{name}'}
        return bool(names & set(given['BYDAY'].split(',')))
    # What the rule does not say is taken from the start.
    if 'BYMONTHDAY' in given or 'BYYEARDAY' in given:
        return True
    if freq == 'WEEKLY' or 'BYWEEKNO' in given:
        return day.weekday() == start.weekday()
    if freq == 'MONTHLY' or (freq == 'YEARLY' and 'BYMONTH' in given):
        return day.day == start.day
    return freq != 'YEARLY' or (day.month, day.day) == (start.month, start.day)


def week(day: date, wkst: int) -> date:
    """The first day of the week of `day`."""
    return day - (day.weekday() - wkst) % 7 * DAY


def week_numbers(day: date, wkst: int) -> set[int]:
    """The number of the week of `day`, counted from both ends: its year is the one that has four of its days."""
    middle = week(day, wkst) + 3 * DAY
    number = (middle.timetuple().tm_yday - 1) // 7 + 1
    weeks = 1 + (365 + isleap(middle.year) - middle.timetuple().tm_yday) // 7
    return {number, -weeks}

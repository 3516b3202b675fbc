"""VTIMEZONEs (RFC 5545, 3.6.5): what clocks show in a zone whose name somebody may not know, be it others or we."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import icalendar
import pytz
from icalendar import Component, Timezone, TimezoneDaylight, TimezoneStandard
from pytz.tzinfo import BaseTzInfo

from reminder.models.event import instant
from reminder.services.rrule import WEEKDAYS

ZONES = 100
"""Zones of which is kept what took long to find."""
_BEGIN, KNOWN_UNTIL = datetime(1970, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
"""Between these the tz data of pytz tells changes."""
_COMPARED = range(-400, 1_500, 3)
"""Days from now on which clocks are compared."""
REGULAR = 3
"""Years in a row by one rule, from which on it is told as one."""
_PORTION = 400
"""Days that are looked at between two turns of others."""
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


class _Clock(NamedTuple):
    """What the clocks of a zone are like for a while."""

    offset: timedelta
    name: str
    is_daylight: bool


class _Rule(NamedTuple):
    """The day of a year, as a recurrence rule names it."""

    BYMONTH: int
    BYDAY: str


def vtimezone(zone: BaseTzInfo, pause: Callable[[], None] = lambda: None) -> Timezone:
    """The VTIMEZONE of a zone, by pytz's data, so that others' clocks agree with ours. `pause` gives others a turn."""
    timezone = Timezone()
    timezone.add('TZID', zone.zone)
    first = _clock(zone, _BEGIN)
    timezone.add_component(_observance(first.offset, first, (_BEGIN + first.offset).replace(tzinfo=None)))
    kinds: defaultdict[tuple[timedelta, _Clock], list[datetime]] = defaultdict(list)
    for moment in _changes(zone, pause):
        kinds[_clock(zone, moment - _SECOND).offset, _clock(zone, moment)].append(moment)
    for (before, clock), moments in kinds.items():
        for observance in _observances(before, clock, moments):
            timezone.add_component(observance)
    return timezone


def unclear(zone: BaseTzInfo, pause: Callable[[], None]) -> Iterator[tuple[int, int]]:
    """The spans of instants `[begin, end)` (ms, UTC) of times that clocks skip or show twice (see `timezones`)."""
    for moment in _changes(zone, pause):
        forward = _clock(zone, moment).offset - _clock(zone, moment - _SECOND).offset
        if forward:
            yield instant(min(moment, moment + forward)), instant(max(moment, moment + forward))


def alike(text: str, first: BaseTzInfo, now: datetime) -> BaseTzInfo | None:
    """The zone whose clocks show what a VTIMEZONE says, for some years around `now`; None where there is none.

    Of several it is `first`, or else one whose city the VTIMEZONE names.
    """
    today = datetime(now.year, now.month, now.day, 12)
    noons = [today + day * _DAY for day in _COMPARED]
    try:
        told: Any = icalendar.Timezone.from_ical(text)
        clocks = told.to_tz(lookup_tzid=False)
        shown = [(noon - clocks.utcoffset(noon), noon) for noon in noons]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):  # what icalendar raises for odd ones
        return None
    names = sorted(pytz.common_timezones, key=lambda name: name.rpartition('/')[2] not in text)
    zones = (first, *map(pytz.timezone, names))
    return next(
        (zone for zone in zones if all(zone.fromutc(utc).replace(tzinfo=None) == noon for utc, noon in shown)), None
    )


def _observances(before: timedelta, clock: _Clock, moments: list[datetime]) -> Iterator[Component]:
    """What clocks are like from these moments on, each of which is told as clocks had it before.

    Some programs know clocks by yearly rules alone, so that is how they are told wherever they keep one.
    """
    others = []
    for local, rule in _years([(moment + before).replace(tzinfo=None) for moment in moments]):
        if len(local) < REGULAR:
            others += local
        else:
            observance = _observance(before, clock, local[0])
            # A day more, as some programs take UNTIL for local time.
            until = local[-1].replace(tzinfo=UTC) - before + _DAY
            observance.add('RRULE', {'FREQ': 'YEARLY', 'UNTIL': until, **rule._asdict()})
            yield observance
    if others:
        observance = _observance(before, clock, others[0])
        # ical.js looks at the first time of each line alone, and where there are such lines, not at DTSTART.
        for time in others if len(others) > 1 else ():
            observance.add('RDATE', time)
        yield observance


def _observance(before: timedelta, clock: _Clock, begin: datetime) -> Component:
    observance = TimezoneDaylight() if clock.is_daylight else TimezoneStandard()
    observance.add('DTSTART', begin)
    observance.add('TZOFFSETFROM', before)
    observance.add('TZOFFSETTO', clock.offset)
    observance.add('TZNAME', clock.name)
    return observance


def _years(times: Iterable[datetime]) -> Iterator[tuple[list[datetime], _Rule]]:
    """These times in runs, each of which has one in each of some years by one rule."""
    run: list[datetime] = []
    shared: set[_Rule] = set()
    for time in times:
        rules = _rules(time)
        follows = run and run[-1].year + 1 == time.year and run[-1].time() == time.time() and shared & rules
        if run and not follows:
            yield run, min(shared)
            run = []
        shared = shared & rules if run else rules
        run.append(time)
    yield run, min(shared)


def _rules(time: datetime) -> set[_Rule]:
    """The rules by which it may be then: by weeks from the begin of its month, or as the last such day of it."""
    day = WEEKDAYS[time.weekday()]
    is_last = (time + timedelta(weeks=1)).month != time.month
    numbers = {(time.day - 1) // 7 + 1, *([-1] if is_last else ())}
    return {_Rule(time.month, f'{number}{day}') for number in numbers}


@lru_cache(ZONES)
def _changes(zone: BaseTzInfo, pause: Callable[[], None]) -> Sequence[datetime]:
    """When clocks change; no zone does so twice within two days."""
    found = []
    days = (_BEGIN + number * _DAY for number in range((KNOWN_UNTIL - _BEGIN).days + 1))
    for number, ((begin, clock), (end, changed)) in enumerate(pairwise((day, _clock(zone, day)) for day in days)):
        if number % _PORTION == 0:
            pause()
        if clock != changed:
            while end - begin > _SECOND:
                middle = begin + (end - begin) // _SECOND // 2 * _SECOND
                begin, end = (begin, middle) if _clock(zone, middle) == changed else (middle, end)
            found.append(end)
    return found


def _clock(zone: BaseTzInfo, moment: datetime) -> _Clock:
    there = moment.astimezone(zone)
    return _Clock(there.utcoffset() or timedelta(), there.tzname() or '', bool(there.dst()))

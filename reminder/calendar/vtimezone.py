"""VTIMEZONEs (RFC 5545, 3.6.5): what clocks show in a zone whose name somebody may not know, be it others or we."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import icalendar
import pytz
from icalendar import Timezone, TimezoneDaylight, TimezoneStandard
from pytz.tzinfo import BaseTzInfo

from reminder.models.event import instant

ZONES = 100
"""Zones of which is kept what took long to find."""
_BEGIN, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
"""Between these the tz data of pytz tells changes."""
_COMPARED = range(-400, 1_500, 3)
"""Days from now on which clocks are compared."""
_PORTION = 400
"""Days that are looked at between two turns of others."""
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


class _Clock(NamedTuple):
    """What the clocks of a zone are like for a while."""

    offset: timedelta
    name: str
    is_daylight: bool


def vtimezone(zone: BaseTzInfo, pause: Callable[[], None] = lambda: None) -> Timezone:
    """The VTIMEZONE of a zone, by pytz's data, so that others' clocks agree with ours. `pause` gives others a turn."""
    timezone = Timezone()
    timezone.add('TZID', zone.zone)
    timezone.add_component(_observance(_clock(zone, _BEGIN).offset, _clock(zone, _BEGIN), [_BEGIN]))
    kinds: defaultdict[tuple[timedelta, _Clock], list[datetime]] = defaultdict(list)
    for moment in _changes(zone, pause):
        kinds[_clock(zone, moment - _SECOND).offset, _clock(zone, moment)].append(moment)
    for (before, clock), moments in kinds.items():
        timezone.add_component(_observance(before, clock, moments))
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


def _observance(before: timedelta, clock: _Clock, moments: list[datetime]) -> TimezoneStandard | TimezoneDaylight:
    """What clocks are like from these moments on, each of which is told as clocks had it before."""
    local = [(moment + before).replace(tzinfo=None) for moment in moments]
    observance = TimezoneDaylight() if clock.is_daylight else TimezoneStandard()
    observance.add('DTSTART', local[0])
    observance.add('TZOFFSETFROM', before)
    observance.add('TZOFFSETTO', clock.offset)
    observance.add('TZNAME', clock.name)
    # ical.js looks at the first time of each line alone, and where there are such lines, not at DTSTART.
    for time in local if len(local) > 1 else ():
        observance.add('RDATE', time)
    return observance


@lru_cache(ZONES)
def _changes(zone: BaseTzInfo, pause: Callable[[], None]) -> Sequence[datetime]:
    """When clocks change; no zone does so twice within two days."""
    found = []
    days = (_BEGIN + number * _DAY for number in range((_END - _BEGIN).days + 1))
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

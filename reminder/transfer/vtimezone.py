"""VTIMEZONEs (RFC 5545, 3.6.5): what a zone's clocks show, for programs that do not know its name."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from icalendar import Timezone, TimezoneDaylight, TimezoneStandard
from pytz.tzinfo import BaseTzInfo

_BEGIN, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
"""Between these the tz data of pytz tells changes."""
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


class _Clock(NamedTuple):
    """What the clocks of a zone are like for a while."""

    offset: timedelta
    name: str
    is_daylight: bool


def vtimezone(zone: BaseTzInfo) -> Timezone:
    """The VTIMEZONE of a zone, by pytz's data, so that others' clocks agree with ours."""
    timezone = Timezone()
    timezone.add('TZID', zone.zone)
    timezone.add_component(_observance(_clock(zone, _BEGIN).offset, _clock(zone, _BEGIN), [_BEGIN]))
    changes: defaultdict[tuple[timedelta, _Clock], list[datetime]] = defaultdict(list)
    for moment in _changes(zone):
        changes[_clock(zone, moment - _SECOND).offset, _clock(zone, moment)].append(moment)
    for (before, clock), moments in changes.items():
        timezone.add_component(_observance(before, clock, moments))
    return timezone


def _observance(before: timedelta, clock: _Clock, moments: list[datetime]) -> TimezoneStandard | TimezoneDaylight:
    """What clocks are like from these moments on, each of which is told as clocks had it before."""
    first, *others = [(moment + before).replace(tzinfo=None) for moment in moments]
    observance = TimezoneDaylight() if clock.is_daylight else TimezoneStandard()
    observance.add('DTSTART', first)
    observance.add('TZOFFSETFROM', before)
    observance.add('TZOFFSETTO', clock.offset)
    observance.add('TZNAME', clock.name)
    if others:
        observance.add('RDATE', others)
    return observance


def _changes(zone: BaseTzInfo) -> Iterator[datetime]:
    """When clocks change; no zone does so twice within two days."""
    days = (_BEGIN + number * _DAY for number in range((_END - _BEGIN).days + 1))
    for begin, end in pairwise(days):
        if _clock(zone, begin) != (changed := _clock(zone, end)):
            while end - begin > _SECOND:
                middle = begin + (end - begin) // _SECOND // 2 * _SECOND
                begin, end = (begin, middle) if _clock(zone, middle) == changed else (middle, end)
            yield end


def _clock(zone: BaseTzInfo, moment: datetime) -> _Clock:
    there = moment.astimezone(zone)
    return _Clock(there.utcoffset() or timedelta(), there.tzname() or '', bool(there.dst()))

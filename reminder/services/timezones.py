"""Time zones: their names, and the instant that a wall-clock time in one of them means. By pytz's copy of the tz data.

The tz data ends in 2037; after that each zone keeps its last offset. moment-timezone does the same.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple

import pytz
from pytz.tzinfo import BaseTzInfo

from reminder.models import event

_DAY = timedelta(days=1)
_LAST_SAMPLE = datetime.max - _DAY


class Resolved(NamedTuple):
    """What a wall-clock time means: the instant (ms, UTC), and what that zone's clocks show then (naive).

    `local` differs from what was asked for only in a 'gap', a time that the zone skips. A 'fold' is one it repeats.
    """

    instant: int
    local: datetime
    adjusted: Literal['gap', 'fold'] | None


@cache
def names() -> list[str]:
    """The names of all zones, sorted. One list for all callers: not to be changed."""
    return sorted(pytz.all_timezones)


def find(name: str) -> BaseTzInfo | None:
    """The zone of that name in any letter case, or None. Its `zone` is the name as it stands in `names()`."""
    try:
        return pytz.timezone(name)
    except pytz.UnknownTimeZoneError:
        return None


def resolve(local: datetime, zone: BaseTzInfo) -> Resolved:
    """The instant at which clocks in `zone` show `local` (naive).

    Where they show it twice it is the first time. Where they never do, because they were put forward, it is the
    instant as long after the change: with 02:00 becoming 03:00, 02:30 means 03:30. Raises `OverflowError` where the
    instant lies after the year 9999, and for the first day of the year 1.
    """
    # No offset is longer than a day, so a change that concerns `local` lies between these two samples. There is one
    # such change at most as long as no zone changes twice within two days, which a test watches over.
    before = _offset(zone, local - _DAY)
    after = _offset(zone, min(local, _LAST_SAMPLE - _DAY) + _DAY)
    if before == after:
        return Resolved(_instant(local - before), local, None)
    is_before_change = _offset(zone, local - before) == before
    is_after_change = _offset(zone, local - after) == after
    if is_before_change:
        return Resolved(_instant(local - before), local, 'fold' if is_after_change else None)
    if is_after_change:
        return Resolved(_instant(local - after), local, None)
    return Resolved(_instant(local - before), local - before + after, 'gap')


def _offset(zone: BaseTzInfo, moment: datetime) -> timedelta:
    """How far `zone` is ahead of UTC at `moment` (naive, UTC)."""
    return zone.fromutc(moment).utcoffset() or timedelta()


def _instant(moment: datetime) -> int:
    return event.instant(moment.replace(tzinfo=UTC))

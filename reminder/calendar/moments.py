"""The times of a calendar (RFC 5545, 3.3.5): wall-clock times in zones that pytz knows."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytz
from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.models.event import MINUTE
from reminder.services import timezones

_EPOCH = datetime(1970, 1, 1)


class Moment(NamedTuple):
    """A wall-clock time (naive) in a zone; a whole day begins at midnight."""

    local: datetime
    zone: BaseTzInfo
    is_day: bool = False

    @property
    def instant(self) -> int:
        """ms, UTC."""
        try:
            return timezones.resolve(self.local, self.zone).instant
        except OverflowError:
            raise InvalidInput(f'{self.local} is no time that can be reckoned with') from None

    @property
    def text(self) -> str:
        """To the minute: 'YYYY-MM-DD HH:mm'."""
        return self.local.isoformat(' ', 'minutes')


def at(instant: int, zone: BaseTzInfo) -> Moment:
    """What clocks in `zone` show at an instant (ms, UTC), to the minute; in UTC where that would mean another one."""
    instant = instant // MINUTE * MINUTE
    moment = utc(instant)
    there = Moment(zone.fromutc(moment.replace(tzinfo=None)).replace(tzinfo=None), zone)
    if there.instant == instant:
        return there
    return Moment(moment.replace(tzinfo=None), pytz.utc)


def utc(instant: int) -> datetime:
    """An instant (ms, UTC) as an aware datetime."""
    return (_EPOCH + timedelta(milliseconds=instant)).replace(tzinfo=UTC)

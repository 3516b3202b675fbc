"""The times of a calendar (RFC 5545, 3.3.4, 3.3.5, 3.8.2): wall-clock times in zones that pytz knows."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from icalendar import Component
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON
from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.models.event import MINUTE
from reminder.services import timezones
from reminder.transfer.vtimezone import alike

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class Zones:
    """The zones of a calendar's times: by IANA name, as the end of a longer one, by the name that Windows has for it,
    or as the one whose clocks show what the calendar's own VTIMEZONE says; the default where a time names none."""

    def __init__(self, default: BaseTzInfo, now: int) -> None:
        """`now`: ms, UTC."""
        self._default = default
        self._now = _EPOCH + timedelta(milliseconds=now)
        self._told: dict[str, str] = {}
        self._found: dict[str, BaseTzInfo | None] = {}

    def learn(self, text: str) -> None:
        """Notes the text of a VTIMEZONE."""
        tzid = next((line.partition(':')[2] for line in text.splitlines() if line.startswith('TZID')), '')
        self._told[tzid] = text

    def moment(self, value: object, parameters: Mapping[str, Any]) -> Moment:
        """The meaning of a DATE or DATE-TIME. Raises InvalidInput for what is none, or in a zone that is not known."""
        if not isinstance(value, date):
            raise InvalidInput(f'{str(value)[:100]} is no date or time')
        if not isinstance(value, datetime):
            return Moment(datetime.combine(value, time()), self._default, is_day=True)
        tzid = parameters.get('TZID')
        if tzid is not None and str(tzid) != 'UTC':
            zone = self._find(str(tzid))
        elif value.tzinfo is not None:
            zone = timezones.find('UTC') or self._default
        else:
            zone = self._default
        return Moment(value.replace(tzinfo=None, second=0, microsecond=0), zone)

    def _find(self, tzid: str) -> BaseTzInfo:
        if tzid not in self._found:
            parts = tzid.split('/')
            names = ['/'.join(parts[begin:]) for begin in range(len(parts))]
            known = (timezones.find(name) for name in (*names, WINDOWS_TO_OLSON.get(tzid, '')))
            told = self._told.get(tzid)
            self._found[tzid] = next(filter(None, known), None) or (
                None if told is None else alike(told, self._default, self._now)
            )
        found = self._found[tzid]
        if found is None:
            raise InvalidInput(f'TZID={tzid[:100]!a} is no zone that is known')
        return found


def at(instant: int, zone: BaseTzInfo) -> Moment:
    """What clocks in `zone` show at an instant (ms, UTC), to the minute; in UTC where that would mean another one."""
    instant = instant // MINUTE * MINUTE
    utc = timezones.find('UTC')
    assert utc is not None
    moment = _EPOCH.replace(tzinfo=None) + timedelta(milliseconds=instant)
    there = Moment(zone.fromutc(moment).replace(tzinfo=None), zone)
    return there if there.instant == instant else Moment(moment, utc)


def later(moment: Moment, shift: timedelta) -> Moment:
    """`shift` after `moment`: days are of the wall clock, what is left is exact (RFC 5545, 3.3.6)."""
    days, rest = divmod(abs(shift), timedelta(days=1))
    sign = 1 if shift >= timedelta() else -1
    begin = moment._replace(local=moment.local + sign * timedelta(days=days), is_day=False)
    return begin if not rest else at(begin.instant + sign * (rest // timedelta(milliseconds=1)), moment.zone)


def get(component: Component, name: str) -> Any:
    """A property, of the kind that its name has; None where there is none."""
    return component.get(name)


def moment_of(component: Component, name: str, zones: Zones) -> Moment:
    """A property that is one DATE or DATE-TIME. Raises InvalidInput."""
    value = get(component, name)
    if isinstance(value, list):
        raise InvalidInput(f'it has more than one {name}')
    return zones.moment(getattr(value, 'dt', None), value.params)

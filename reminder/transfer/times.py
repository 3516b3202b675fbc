"""The times that calendars of others name (RFC 5545, 3.3.4, 3.3.5, 3.8.2), in zones that pytz knows."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from icalendar import Component
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON
from pytz.tzinfo import BaseTzInfo

from reminder.calendar.moments import Moment, at, utc
from reminder.calendar.vtimezone import alike
from reminder.errors import InvalidInput
from reminder.services import timezones


class UnknownZone(InvalidInput):
    """A time names a zone that is not known, or not yet: a VTIMEZONE may tell of it further on."""

    def __init__(self, tzid: str) -> None:
        super().__init__(f'TZID={tzid[:100]!a} is no zone that is known')
        self.tzid = tzid


class Zones:
    """The zones of a calendar's times: by IANA name, as the end of a longer one, by the name that Windows has for it,
    or as the one whose clocks show what the calendar's own VTIMEZONE says; the default where a time names none."""

    def __init__(self, default: BaseTzInfo, now: int) -> None:
        """`now`: ms, UTC."""
        self._default = default
        self._now = utc(now)
        self._told: dict[str, str] = {}
        self._found: dict[str, BaseTzInfo | None] = {}

    def learn(self, text: str) -> str:
        """Notes the text of a VTIMEZONE, and returns its TZID."""
        tzid = next((line.partition(':')[2] for line in text.splitlines() if line.startswith('TZID')), '')
        self._told[tzid] = text
        self._found.pop(tzid, None)
        return tzid

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
            raise UnknownZone(tzid)
        return found


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

"""The rules of scheduling: what a valid event is, what its time means, and when its minute is closed."""

import re
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.models.event import MINUTE, Event, iso, new_id
from reminder.services import timezones
from reminder.services.timezones import Resolved

LEAD = 200
"""How long before it begins a minute is closed (ms)."""

NAME_LENGTH = 1000
"""How many characters a name may have."""

_SHOWN_LENGTH = 100
_TIME = re.compile(r'(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d)', re.ASCII)
_TIME_FORMAT = '%Y-%m-%d %H:%M'
_GREGORIAN_CYCLE = 400


class Scheduled(NamedTuple):
    """A new event, and in plain words what its time became where the zone skips or repeats the one asked for."""

    event: Event
    warning: str | None


def closing(now: int) -> int:
    """The latest minute (ms, UTC) that is closed at `now` (ms, UTC)."""
    return (now + LEAD) // MINUTE * MINUTE


def schedule(data: object, now: int) -> Scheduled:
    """The event that `data` of the command `scheduleEvent` asks for at `now` (ms, UTC).

    `data` is any JSON value. Raises `InvalidInput` with the first of the failures that existing clients know:
    name, zone, time missing or invalid, time not after the minute that is closed at `now`.
    """
    fields = data if isinstance(data, dict) else {}
    name = _name(fields.get('eventName'))
    zone = _zone(fields.get('timeZone'))
    time = fields.get('time')
    if not isinstance(time, str):
        raise InvalidInput("'time' is required")
    meaning = _meaning(time, zone)
    event = Event(id=new_id(now), name=name, time=meaning.instant, local_time=time, zone=zone.zone)
    if event.time <= closing(now):
        raise too_late(event)
    return Scheduled(event, meaning.adjusted and _warning(time, zone, meaning))


def too_late(event: Event) -> InvalidInput:
    """The failure of an event whose minute is closed."""
    return InvalidInput(f"time='{event.local_time}' should be in future")


def _name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput("'eventName' is required")
    if len(value) > NAME_LENGTH:
        raise InvalidInput(f"'eventName' is longer than {NAME_LENGTH} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput("'eventName' holds half of a surrogate pair, which is not a character") from None
    return value


def _zone(value: object) -> BaseTzInfo:
    if not isinstance(value, str):
        raise InvalidInput("'timeZone' is required")
    zone = timezones.find(value)
    if zone is None:
        raise InvalidInput(
            f"timeZone='{_shown(value)}' is invalid: 'timeZone' is required to be one that getAllTimeZones names"
        )
    return zone


@lru_cache(maxsize=10_000)
def _meaning(time: str, zone: BaseTzInfo) -> Resolved:
    """What `time` ('YYYY-MM-DD HH:mm') means in `zone`. Kept, as many events share their minute."""
    parts = _TIME.fullmatch(time)
    if parts is None:
        raise _invalid_time(time)
    year, month, day, hour, minute = map(int, parts.groups())
    if year < _GREGORIAN_CYCLE:
        year += _GREGORIAN_CYCLE  # datetime lacks the year 0; the days of both years are the same, and as long past
    try:
        return timezones.resolve(datetime(year, month, day, hour, minute), zone)
    except (ValueError, OverflowError):
        raise _invalid_time(time) from None


def _invalid_time(time: str) -> InvalidInput:
    return InvalidInput(
        f"time='{_shown(time)}' is invalid: 'time' is required in format 'YYYY-MM-DD HH:mm', and to exist"
    )


def _warning(time: str, zone: BaseTzInfo, meaning: Resolved) -> str:
    if meaning.adjusted == 'fold':
        return (
            f'{time} comes twice in {zone.zone}, where clocks are put back then; '
            f'the reminder comes at the first, {iso(meaning.instant)}'
        )
    return (
        f'{time} does not exist in {zone.zone}, where clocks are put forward then; '
        f'the reminder comes at {meaning.local.strftime(_TIME_FORMAT)} there, {iso(meaning.instant)}'
    )


def _shown(value: str) -> str:
    """`value` as it can be shown in any error: not too long, and without surrogates, which UTF-8 cannot hold."""
    cut = value if len(value) <= _SHOWN_LENGTH else f'{value[:_SHOWN_LENGTH]}…'
    return cut.encode(errors='replace').decode()

"""The fields of a command's data, as clients send them: any JSON value in, what it means out, or `InvalidInput`."""

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput, shown
from reminder.models.event import Place, iso
from reminder.services import timezones
from reminder.services.offsets import parse_instant, parse_offset
from reminder.services.recurrence import Rule
from reminder.services.timezones import Resolved

NAME_LENGTH = 1000
"""How many characters a name may have."""

KEY_LENGTH = 255
"""How many characters a key may have."""
PAYLOAD_BYTES = 4_096
"""How long the JSON of a payload may be, in UTF-8."""
PAYLOAD_DEPTH = 32
"""How deep lists and objects may be nested in a payload."""
LIMIT, MAX_LIMIT = 100, 1_000
"""Entries of a list that are answered at once: unless told otherwise, and at most."""

_TIME = re.compile(r'(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d)', re.ASCII)
_TIME_FORMAT = '%Y-%m-%d %H:%M'
_GREGORIAN_CYCLE = 400


class Fields:
    """What came with a command, and its fields that are the same in several commands. Each raises InvalidInput."""

    def __init__(self, value: object) -> None:
        self.value = value
        self.all: dict[str, Any] = value if isinstance(value, dict) else {}
        """The fields as they came; none where the data is no object."""

    def id(self) -> str:
        """The `_id` of an event or a series."""
        id = self.all.get('_id')
        if not isinstance(id, str) or not id:
            raise InvalidInput("'_id' is required")
        return id

    def limit(self) -> int:
        """How many entries are wanted at once."""
        limit = self.all.get('limit', LIMIT)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MAX_LIMIT:
            raise InvalidInput(f"'limit' has to be a whole number from 1 to {MAX_LIMIT}")
        return limit

    def instant(self, name: str, default: int) -> int:
        """An ISO 8601 time with its zone, as an instant (ms, UTC)."""
        value = self.all.get(name)
        if value is None:
            return default
        found = parse_instant(value)
        if found is None:
            raise InvalidInput(f"'{name}' has to be an ISO 8601 time with its zone")
        return found

    def place(self, name: str) -> Place:
        """Where a list is to go on; before everything where that is not said."""
        value = self.all.get(name)
        if value is None:
            return Place(0, '')
        since = parse_offset(value)
        if since is None:
            raise InvalidInput(f"'{name}' has to be what 'next' was")
        return since.place


def name_of(value: object) -> str:
    """A valid name. Raises InvalidInput."""
    if not isinstance(value, str) or not value:
        raise InvalidInput("'eventName' is required")
    if len(value) > NAME_LENGTH:
        raise InvalidInput(f"'eventName' is longer than {NAME_LENGTH} characters")
    if not _encodable(value):
        raise InvalidInput("'eventName' holds half of a surrogate pair, which is not a character")
    return value


def _encodable(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def zone_of(value: object) -> BaseTzInfo:
    """The zone of that name, in any letter case. Raises InvalidInput."""
    if not isinstance(value, str):
        raise InvalidInput("'timeZone' is required")
    zone = timezones.find(value)
    if zone is None:
        raise InvalidInput(
            f"timeZone='{shown(value)}' is invalid: 'timeZone' is required to be one that getAllTimeZones names"
        )
    return zone


def payload_of(value: object) -> str | None:
    """Any JSON value as compact text; None for none. Raises InvalidInput where it is too long or too deep."""
    if value is None:
        return None
    if _is_deeper(value, PAYLOAD_DEPTH):
        raise InvalidInput(f"'payload' is nested more than {PAYLOAD_DEPTH} levels deep")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':'))
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput("'payload' holds half of a surrogate pair, which is not a character") from None
    except ValueError:  # 1e999 is infinite for Python
        raise InvalidInput("'payload' holds a number that is too large") from None
    except TypeError:
        raise InvalidInput("'payload' holds binary data, which is no JSON") from None
    if size > PAYLOAD_BYTES:
        raise InvalidInput(f"'payload' is longer than {PAYLOAD_BYTES} bytes of JSON")
    return text


def _is_deeper(value: object, depth: int) -> bool:
    """Whether lists and objects are nested more than so deep. Without recursion, which itself has an end."""
    level = [value]
    for _ in range(depth + 1):
        containers = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        if not containers:
            return False
        level = [inner for container in containers for inner in container]
    return True


def key_of(value: object) -> str | None:
    """A valid key; None for none. Raises InvalidInput."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= KEY_LENGTH or not _encodable(value):
        raise InvalidInput(f"'key' has to be a text of 1 to {KEY_LENGTH} characters")
    return value


@lru_cache(maxsize=1_000)  # a series' rule is asked for each time that it is due
def _rule(repeat: str, time: str, zone: BaseTzInfo) -> Rule:
    return Rule.parse(repeat, datetime.strptime(time, _TIME_FORMAT), zone)


def rule_of(repeat: object, time: object, zone: BaseTzInfo) -> Rule:
    """The rule `repeat` of a series that begins at the wall-clock time `time` in `zone`. Raises InvalidInput."""
    if not isinstance(repeat, str) or not repeat:
        raise InvalidInput("'repeat' has to be an RRULE, such as FREQ=DAILY")
    meaning_of(time, zone)
    try:
        return _rule(repeat, str(time), zone)
    except ValueError:  # a year that only `meaning_of` can reckon with
        raise _invalid_time(str(time)) from None


def meaning_of(time: object, zone: BaseTzInfo) -> Resolved:
    """What the wall-clock time `time` ('YYYY-MM-DD HH:mm') means in `zone`. Raises InvalidInput."""
    if not isinstance(time, str):
        raise InvalidInput("'time' is required")
    return _meaning(time, zone)


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
        f"time='{shown(time)}' is invalid: 'time' is required in format 'YYYY-MM-DD HH:mm', and to exist"
    )


def warning_of(time: str, zone: BaseTzInfo, meaning: Resolved) -> str | None:
    """What to say of a wall-clock time that the zone skips or repeats; None of any other."""
    if meaning.adjusted is None:
        return None
    if meaning.adjusted == 'fold':
        return (
            f'{time} comes twice in {zone.zone}, where clocks are put back then; '
            f'the reminder comes at the first, {iso(meaning.instant)}'
        )
    return (
        f'{time} does not exist in {zone.zone}, where clocks are put forward then; '
        f'the reminder comes at {meaning.local.strftime(_TIME_FORMAT)} there, {iso(meaning.instant)}'
    )

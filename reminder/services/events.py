"""The rules of scheduling: what a valid event is, what its time means, and when its minute is closed."""

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput, shown
from reminder.models.event import MINUTE, Event, Series, derived_id, iso, new_id
from reminder.services import timezones
from reminder.services.channels import channel
from reminder.services.recurrence import Rule
from reminder.services.timezones import Resolved

LEAD = 200
"""How long before it begins a minute is closed (ms)."""

NAME_LENGTH = 1000
"""How many characters a name may have."""

KEY_LENGTH = 255
"""How many characters a key may have."""
PAYLOAD_BYTES = 4_096
"""How long the JSON of a payload may be, in UTF-8."""
PAYLOAD_DEPTH = 32
"""How deep lists and objects may be nested in a payload."""

_TIME = re.compile(r'(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d)', re.ASCII)
_TIME_FORMAT = '%Y-%m-%d %H:%M'
_GREGORIAN_CYCLE = 400


class Scheduled(NamedTuple):
    """A new event, and in plain words what its time became where the zone skips or repeats the one asked for."""

    event: Event
    warning: str | None


@dataclass(slots=True)  # not frozen, as that takes three times as long to make
class Wanted:
    """What somebody wants to be reminded of, checked but for its time's being in the future.

    `payload` is JSON text. `rule` is there where it is to be repeated, `key` where it may be asked for again.
    """

    name: str
    zone: BaseTzInfo
    time: str
    meaning: Resolved
    repeat: str | None = None
    rule: Rule | None = None
    channel: str | None = None
    payload: str | None = None
    key: str | None = None

    def id(self, now: int, owner: str | None) -> str:
        """A fresh id; under a key always the same one, which is no other owner's."""
        return new_id(now) if self.key is None else derived_id('key', owner or '', self.key)

    @property
    def request(self) -> str | None:
        """A digest of what is asked for under a key."""
        if self.key is None:
            return None
        return derived_id(
            'request',
            *(str(part) for part in (self.name, self.zone.zone, self.time, self.repeat)),
            str(self.channel),
            str(self.payload),
        )


def closing(now: int) -> int:
    """The latest minute (ms, UTC) that is closed at `now` (ms, UTC)."""
    return (now + LEAD) // MINUTE * MINUTE


def wanted(data: object) -> Wanted:
    """What `data` of the command `scheduleEvent`, any JSON value, asks for.

    Raises `InvalidInput` with the first of the failures that existing clients know: name, zone, time missing or
    invalid; then for what they do not know.
    """
    fields = data if isinstance(data, dict) else {}
    name = name_of(fields.get('eventName'))
    zone = zone_of(fields.get('timeZone'))
    time: Any = fields.get('time')
    meaning = meaning_of(time, zone)
    repeat = fields.get('repeat')
    return Wanted(
        name=name,
        zone=zone,
        time=time,
        meaning=meaning,
        repeat=repeat,
        rule=None if repeat is None else rule_of(repeat, time, zone),
        channel=channel(fields.get('channel')),
        payload=payload_of(fields.get('payload')),
        key=_key(fields.get('key')),
    )


def schedule(wanted: Wanted, now: int, owner: str | None = None) -> Scheduled:
    """The event that is wanted at `now` (ms, UTC). Raises `InvalidInput` where its minute is closed."""
    event = Event(
        id=wanted.id(now, owner),
        name=wanted.name,
        time=wanted.meaning.instant,
        local_time=wanted.time,
        zone=wanted.zone.zone,
        channel=wanted.channel,
        payload=wanted.payload,
        owner=owner,
        request=wanted.request,
    )
    if event.time <= closing(now):
        raise too_late(event)
    return Scheduled(event, warning_of(wanted.time, wanted.zone, wanted.meaning))


def begin_series(wanted: Wanted, now: int, owner: str | None = None) -> Series:
    """The series that is wanted at `now` (ms, UTC), of which nothing is made yet. It may have begun in the past."""
    assert wanted.repeat is not None and wanted.zone.zone is not None
    return Series(
        id=wanted.id(now, owner),
        name=wanted.name,
        repeat=wanted.repeat,
        local_time=wanted.time,
        zone=wanted.zone.zone,
        made=closing(now),
        channel=wanted.channel,
        payload=wanted.payload,
        owner=owner,
        request=wanted.request,
    )


def change(event: Event, data: dict[str, object], now: int) -> Scheduled:
    """`event` with what `data` of the command `updateEvent` changes of it. Raises `InvalidInput`.

    A `null` takes a channel or a payload away. `time` without `timeZone` is in the zone that the event has, and the
    other way round.
    """
    changed = replace(event, **changes(data))
    if 'time' not in data and 'timeZone' not in data:
        return Scheduled(changed, None)
    time, zone = _when(data, event.local_time, event.zone)
    meaning = meaning_of(time, zone)
    changed = replace(changed, time=meaning.instant, local_time=time, zone=zone.zone)
    if changed.time <= closing(now):
        raise too_late(changed)
    return Scheduled(changed, warning_of(time, zone, meaning))


def change_series(series: Series, data: dict[str, object], now: int) -> Series:
    """`series` with what `data` of the command `updateEvent` changes of it, from `now` (ms, UTC) on.

    Raises `InvalidInput`, also where nothing is to come of it any more.
    """
    time, zone = _when(data, series.local_time, series.zone)
    repeat: Any = data.get('repeat', series.repeat)
    rule_of(repeat, time, zone)
    when = {'repeat': repeat, 'local_time': time, 'zone': zone.zone}
    return replace(series, **changes(data), **when, made=closing(now), revision=series.revision + 1)


def changes(data: dict[str, object]) -> dict[str, Any]:
    """The new values of the fields that mean the same in an event and in a series."""
    found: dict[str, Any] = {}
    if 'eventName' in data:
        found['name'] = name_of(data['eventName'])
    if 'channel' in data:
        found['channel'] = channel(data['channel'])
    if 'payload' in data:
        found['payload'] = payload_of(data['payload'])
    return found


def _when(data: dict[str, object], local_time: str | None, zone: str | None) -> tuple[Any, BaseTzInfo]:
    """The wall-clock time, not checked yet, and the zone, each as before where `data` does not say it."""
    return data.get('time', local_time), zone_of(data.get('timeZone', zone))


def too_late(event: Event) -> InvalidInput:
    """The failure of an event whose minute is closed."""
    return InvalidInput(f"time='{event.local_time}' should be in future")


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


def _key(value: object) -> str | None:
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

"""The rules of scheduling: what a valid event is, what its time means, and when its minute is closed."""

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.models.event import MINUTE, Event, Series, derived_id, new_id
from reminder.services.channels import channel
from reminder.services.fields import key_of, meaning_of, name_of, payload_of, rule_of, warning_of, zone_of
from reminder.services.recurrence import Rule
from reminder.services.timezones import Resolved

LEAD = 200
"""How long before it begins a minute is closed (ms)."""
CHANGE_LEAD = 2_000
"""How long before a minute is closed a change of a series leaves it alone (ms): to take back what was made of it, and
to make what is to come instead, are several steps, between which no minute should be closed."""


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
        if self.key is None:
            return new_id(now)
        event, series = keyed_ids(self.key, owner)
        return event if self.rule is None else series

    @property
    def request(self) -> str | None:
        """A digest of what is asked for under a key."""
        if self.key is None:
            return None
        payload = self.payload and json.dumps(json.loads(self.payload), sort_keys=True)
        parts = (self.name, self.zone.zone, self.time, self.repeat, self.channel, payload)
        return derived_id('request', *map(str, parts))

    @property
    def warning(self) -> str | None:
        """In plain words what its time becomes where the zone skips or repeats the one asked for."""
        return warning_of(self.time, self.zone, self.meaning)


def keyed_ids(key: str, owner: str | None) -> tuple[str, str]:
    """The ids that an event and a series have under a key of that owner. Not the same, so that where both are asked for
    at one moment, neither hides the other."""
    return derived_id('key', owner or '', key), derived_id('key of a series', owner or '', key)


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
        key=key_of(fields.get('key')),
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
    return Scheduled(event, wanted.warning)


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
    """`series` with what `data` of the command `updateEvent` changes of it, from about `now` (ms, UTC) on; itself where
    that is nothing. Raises `InvalidInput`.
    """
    time, zone = _when(data, series.local_time, series.zone)
    repeat: Any = data.get('repeat', series.repeat)
    rule_of(repeat, time, zone)
    when = {'repeat': repeat, 'local_time': time, 'zone': zone.zone}
    changed = replace(series, **changes(data), **when)
    if changed == series:
        return series
    return replace(changed, made=closing(now + CHANGE_LEAD) + 1, revision=series.revision + 1)


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

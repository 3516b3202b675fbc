"""JSON lines: an event or a series a line, with all that is kept of it, so that the same comes out again."""

import json
import re
from typing import Any

from reminder.errors import InvalidInput
from reminder.models.event import Event, Series, extras, iso
from reminder.services.channels import channel
from reminder.services.fields import meaning_of, name_of, payload_of, rule_of, zone_of
from reminder.services.offsets import parse_instant

ID = re.compile(r'[0-9a-f]{24}', re.ASCII)
"""What the id of an event or a series looks like."""


def to_line(entry: Event | Series) -> str:
    """The line, without its end. What it says beside an answer of `listEvents` or `listSeries` is for a store."""
    fields: dict[str, Any] = {'_id': entry.id, 'name': entry.name}
    if isinstance(entry, Event):
        fields['time'] = iso(entry.time)
    else:
        fields |= {'repeat': entry.repeat, 'made': iso(entry.made), 'revision': entry.revision}
    fields |= {'localTime': entry.local_time, 'timeZone': entry.zone, **extras(entry)}
    fields |= {'owner': entry.owner, 'request': entry.request}
    flags = {'cancelled': True} if isinstance(entry, Event) and entry.cancelled else {}
    if isinstance(entry, Series) and entry.ended:
        flags = {'ended': True}
    return json.dumps({name: value for name, value in fields.items() if value is not None} | flags, ensure_ascii=False)


def from_line(line: str) -> Event | Series:
    """What a line says; one with `repeat` is of a series. Raises InvalidInput."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput('it is no JSON') from None
    if not isinstance(fields, dict):
        raise InvalidInput('it is no JSON object')
    return _series(fields) if 'repeat' in fields else _event(fields)


def _event(fields: dict[str, Any]) -> Event:
    local_time, zone = fields.get('localTime'), fields.get('timeZone')
    if local_time is not None or zone is not None:
        meaning_of(local_time, zone_of(zone))
    series = fields.get('series')
    return Event(
        id=_id('_id', fields.get('_id')),
        name=name_of(fields.get('name')),
        time=_instant('time', fields.get('time')),
        local_time=local_time,
        zone=zone,
        channel=channel(fields.get('channel')),
        payload=payload_of(fields.get('payload')),
        series=None if series is None else _id('series', series),
        owner=_text('owner', fields.get('owner')),
        request=_text('request', fields.get('request')),
        cancelled=fields.get('cancelled') is True,
    )


def _series(fields: dict[str, Any]) -> Series:
    revision = fields.get('revision')
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
        raise InvalidInput("'revision' has to be a number from 0 on")
    zone = zone_of(fields.get('timeZone'))
    rule_of(fields['repeat'], fields.get('localTime'), zone)
    return Series(
        id=_id('_id', fields.get('_id')),
        name=name_of(fields.get('name')),
        repeat=fields['repeat'],
        local_time=fields['localTime'],
        zone=fields['timeZone'],
        made=_instant('made', fields.get('made')),
        revision=revision,
        channel=channel(fields.get('channel')),
        payload=payload_of(fields.get('payload')),
        owner=_text('owner', fields.get('owner')),
        request=_text('request', fields.get('request')),
        ended=fields.get('ended') is True,
    )


def _id(name: str, value: object) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise InvalidInput(f"'{name}' has to be 24 hexadecimal digits")
    return value


def _instant(name: str, value: object) -> int:
    instant = parse_instant(value)
    if instant is None:
        raise InvalidInput(f"'{name}' has to be an ISO 8601 time with its zone")
    return instant


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value.encode(errors='replace').decode() != value:
        raise InvalidInput(f"'{name}' has to be a text")
    return value

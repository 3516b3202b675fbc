"""VEVENTs of a calendar (RFC 5545, 3.6.1) as what is kept of them: events and series.

Each of an entry's alarms is a reminder of its own, at the alarm's time; an entry without alarms is one at its begin.
An alarm of a repeated entry repeats by the wall clock. What the entry's UID and the alarm say makes the id, so that
the same calendar gives the same ids again; a UID that is an id, as in calendars that were exported here, stays it.
"""

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import icalendar
from icalendar import Component

from reminder.calendar.moments import Moment, at
from reminder.calendar.writer import CHANNEL, NAME, PAYLOAD
from reminder.errors import InvalidInput
from reminder.models import event
from reminder.models.event import Event, derived_id
from reminder.services import events
from reminder.services.channels import channel
from reminder.services.fields import name_of, payload_of
from reminder.services.recurrence import Occurrence
from reminder.services.series import occurrence
from reminder.transfer.alarms import AT_ONCE, absolute, length, shifts
from reminder.transfer.lines import ID
from reminder.transfer.shifting import shift_rule
from reminder.transfer.target import Repeated
from reminder.transfer.times import Zones, get, later, moment_of

_READ = {'DTSTART', 'DTEND', 'DURATION', 'RRULE', 'RDATE', 'EXDATE', 'RECURRENCE-ID', 'TRIGGER', 'REPEAT'}


@dataclass(frozen=True, slots=True)
class Entry:
    """A VEVENT, read but for its dates of recurrence. `recurs_at` is there in one that changes an occurrence."""

    component: Component
    uid: str
    name: str
    start: Moment
    length: timedelta
    recurs_at: Moment | None
    is_cancelled: bool

    @property
    def repeats(self) -> bool:
        return self.recurs_at is None and ('RRULE' in self.component or 'RDATE' in self.component)


def parse(text: str, zones: Zones) -> Entry:
    """The entry of a VEVENT's text. Raises InvalidInput."""
    try:
        text.encode()  # what was no UTF-8 in the file fails here
        with warnings.catch_warnings(action='ignore'):  # of zones that are looked up here anyway
            component = icalendar.Event.from_ical(text)
    except ValueError as error:
        raise InvalidInput(f'it is no VEVENT: {error}') from None
    for one in (component, *component.walk('VALARM')):
        for name, reason in one.errors:
            line = re.search("'([A-Za-z-]+)", reason)  # of a line without form the name is in the reason
            if (name or (line[1] if line else 'DTSTART')).upper() in _READ:
                raise InvalidInput(f'{name or "a line"} is invalid: {reason}')
    if 'DTSTART' not in component:
        raise InvalidInput('it has no DTSTART')
    recurs_at = moment_of(component, 'RECURRENCE-ID', zones) if 'RECURRENCE-ID' in component else None
    if recurs_at is not None and 'RANGE' in get(component, 'RECURRENCE-ID').params:
        raise InvalidInput('it changes a series from an occurrence on, which is not known here')
    start = moment_of(component, 'DTSTART', zones)
    return Entry(
        component=component,
        uid=str(component.get('UID', '')),
        name=_name(component),
        start=start,
        length=length(component, start, zones),
        recurs_at=recurs_at,
        is_cancelled=str(component.get('STATUS', '')).upper() == 'CANCELLED',
    )


def single(entry: Entry) -> Iterator[Event]:
    """The events of an entry that is not repeated. Raises InvalidInput."""
    identity = entry.uid if entry.recurs_at is None else f'{entry.uid} {entry.recurs_at.instant}'
    yield from _once(entry, identity, entry.start)
    yield from _absolute(entry, identity)


def repeated(entry: Entry, changes: Iterable[Entry], zones: Zones, now: int) -> Iterator[Repeated | Event]:
    """What comes of a repeated entry, whose occurrences are otherwise where `changes` say so, at `now` (ms, UTC).

    Raises InvalidInput.
    """
    rule = get(entry.component, 'RRULE')
    if isinstance(rule, list) or 'EXRULE' in entry.component:
        raise InvalidInput('it has more than one rule')
    changes = list(changes)
    if rule is None:
        left = {moment.instant for moment in _dates(entry, 'EXDATE', zones)}
        left |= {change.recurs_at.instant for change in changes if change.recurs_at}
        if entry.start.instant not in left:
            yield from _once(entry, entry.uid, entry.start)
        for moment in _dates(entry, 'RDATE', zones):
            if moment.instant not in left:
                yield from _once(entry, f'{entry.uid} {moment.instant}', moment)
        for change in changes:
            if not change.is_cancelled:
                yield from single(change)
    else:
        for shift in shifts(entry.component, entry.length):
            yield _series(entry, changes, zones, rule.to_ical().decode(), shift, now)
    yield from _absolute(entry, entry.uid)


def _series(entry: Entry, changes: Sequence[Entry], zones: Zones, rule: str, shift: timedelta, now: int) -> Repeated:
    zone, begin = entry.start.zone, entry.start.local
    data = _data(entry, entry.uid, shift, Moment(begin + shift, zone))
    series = events.begin_series(events.wanted({**data, 'repeat': shift_rule(rule, begin, shift, zone)}), now)
    if shift == AT_ONCE and ID.fullmatch(entry.uid):
        series = replace(series, id=entry.uid)

    def shifted(moment: Moment) -> Moment:
        there = at(moment.instant, zone)
        return Moment(there.local + shift, there.zone)

    def planned(moment: Moment) -> Event:
        """The occurrence of the series that stands for the entry's at `moment`."""
        return occurrence(series, Occurrence(shifted(moment).instant, shifted(moment).text))

    added = [planned(moment) for moment in _dates(entry, 'RDATE', zones)]
    left = [planned(moment) for moment in _dates(entry, 'EXDATE', zones)]
    others = {event.id: event for event in added} | {event.id: replace(event, cancelled=True) for event in left}
    until = [event.time for event in left]
    for change in changes:
        assert change.recurs_at is not None
        old, new = planned(change.recurs_at), shifted(change.start)
        as_it_was = {'name': old.name, 'channel': old.channel, 'payload': old.payload}
        if new.instant == old.time and {'name': name_of(change.name), **_details(change.component)} == as_it_was:
            continue  # only its time was put otherwise, as clocks skip it
        until.append(old.time)
        if change.is_cancelled or new.instant <= events.closing(now):
            others[old.id] = replace(old, cancelled=True)
        else:
            moved = replace(old, time=new.instant, local_time=new.text, zone=new.zone.zone)
            others[old.id] = replace(moved, name=name_of(change.name), **_details(change.component))
    return Repeated(series, list(others.values()), max(until, default=0))


def _once(entry: Entry, identity: str, start: Moment) -> Iterator[Event]:
    """The events of one occurrence, whose alarms are relative to its start."""
    for shift in shifts(entry.component, entry.length):
        yield _event(entry, identity, shift, later(start, shift))


def _absolute(entry: Entry, identity: str) -> Iterator[Event]:
    """The events of alarms that have a time of their own."""
    for time in absolute(entry.component):
        instant = event.instant(time)
        yield _event(entry, f'{identity} {instant}', AT_ONCE, at(instant, entry.start.zone))


def _event(entry: Entry, identity: str, shift: timedelta, moment: Moment) -> Event:
    made = events.schedule(events.wanted(_data(entry, identity, shift, moment)), 0).event
    return replace(made, id=identity) if shift == AT_ONCE and ID.fullmatch(identity) else made


def _data(entry: Entry, identity: str, shift: timedelta, moment: Moment) -> dict[str, Any]:
    """What is asked for, as the command `scheduleEvent` would be."""
    return {
        'eventName': entry.name,
        'time': moment.text,
        'timeZone': moment.zone.zone,
        'channel': _text(entry.component, CHANNEL),
        'payload': _json(entry.component, PAYLOAD),
        'key': derived_id('calendar', identity or f'{entry.name} {entry.start.instant}', str(shift)),
    }


def _details(component: Component) -> dict[str, Any]:
    """The channel and the payload, as an event has them."""
    return {
        'channel': channel(_text(component, CHANNEL)),
        'payload': payload_of(_json(component, PAYLOAD)),
    }


def _dates(entry: Entry, name: str, zones: Zones) -> Iterator[Moment]:
    """The dates of a property; one without a time is at the time of the entry's begin."""
    found = get(entry.component, name) or []
    for one in found if isinstance(found, list) else [found]:
        for listed in getattr(one, 'dts', []):
            value = listed.dt[0] if isinstance(listed.dt, tuple) else listed.dt
            moment = zones.moment(value, one.params)
            if moment.is_day:
                local = datetime.combine(moment.local, entry.start.local.time())
                moment = Moment(local, entry.start.zone)
            yield moment


def _name(component: Component) -> str:
    """What we have called it; else its SUMMARY, or how its description begins where that shows nothing."""
    own = _json(component, NAME)
    summary = str(component.get('SUMMARY', ''))
    description = str(component.get('DESCRIPTION', '')).strip().partition('\n')[0]
    if own is not None:
        return name_of(own)
    if not summary and not description:
        raise InvalidInput('it has no SUMMARY')
    return summary if summary.strip() or not description else description


def _json(component: Component, name: str) -> Any:
    text = _text(component, name)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(f'{name} is no JSON') from None


def _text(component: Component, name: str) -> str | None:
    return str(component[name]) if name in component else None

"""Calendars (RFC 5545): what is kept, as VEVENTs that other programs read; and what theirs say, for us to keep.

An event is a VEVENT at its time with an alarm then; a series one with its rule, with an EXDATE for each occurrence that
was cancelled and a VEVENT of its own, with a RECURRENCE-ID, for each that was changed. UIDs are our ids.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from icalendar import Alarm, vRecur
from icalendar import Event as VEvent
from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.models.event import Event, Series
from reminder.services import timezones
from reminder.services.recurrence import Occurrence
from reminder.services.series import occurrence
from reminder.transfer.source import Source
from reminder.transfer.target import Found
from reminder.transfer.times import Moment, Zones, at
from reminder.transfer.vevent import CHANNEL, PAYLOAD, Entry, parse, repeated, single
from reminder.transfer.vtimezone import vtimezone

PRODUCT = '-//event-reminder//event-reminder//EN'
_FORM = '%Y%m%dT%H%M%S'
_UTC = 'UTC'


class Part(NamedTuple):
    """A part of an exported calendar, and how many events of the log it stands for."""

    text: str
    events: int = 0


# -- export ------------------------------------------------------------------------------------------------------------


def export(source: Source, now: datetime) -> Iterator[Part]:
    """The calendar of what is in `source`, part by part; `now` is when it is made."""
    yield Part(f'BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:{PRODUCT}\r\n')
    writer = _Writer(now)
    told = set()
    for series in source.series():
        told.add(series.id)
        yield Part(writer.series(series, source))
    for event in source.events():
        if event.series not in told:
            yield Part(writer.event(event), 1)
        else:
            yield Part('', 1)
    yield Part('END:VCALENDAR\r\n')


class _Writer:
    """Writes VEVENTs, and before the first that needs it the VTIMEZONE of each zone."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._zones = {_UTC}

    def event(self, event: Event) -> str:
        return self._text(self._vevent(event.id, event, _moment(event)))

    def series(self, series: Series, source: Source) -> str:
        zone = timezones.find(series.zone)
        assert zone is not None
        start = Moment(datetime.fromisoformat(series.local_time), zone)
        main = self._vevent(series.id, series, start)
        main.add('RRULE', vRecur.from_ical(series.repeat.upper().removeprefix('RRULE:')))
        for _, time in source.cancelled(series):
            _add_time(main, 'EXDATE', at(time, zone))
        planned, more = source.planned(series), []
        for event in source.occurrences(series):
            due = planned.get(event.id)
            if due is None and event.id == occurrence(series, Occurrence(event.time, '')).id:
                _add_time(main, 'RDATE', at(event.time, zone))
            elif due is None:
                more.append(self._vevent(event.id, event, _moment(event)))  # it was moved, from a time that is past
            elif event != occurrence(series, Occurrence(due, event.local_time or '')):
                changed = self._vevent(series.id, event, _moment(event))
                _add_time(changed, 'RECURRENCE-ID', at(due, zone))
                more.append(changed)
        return ''.join(map(self._text, (main, *more)))

    def _vevent(self, uid: str, what: Event | Series, start: Moment) -> VEvent:
        vevent = VEvent()
        vevent.add('UID', uid)
        vevent.add('DTSTAMP', self._now)
        _add_time(vevent, 'DTSTART', start)
        vevent.add('SUMMARY', what.name)
        for name, text in ((CHANNEL, what.channel), (PAYLOAD, what.payload)):
            if text is not None:
                vevent.add(name, text, parameters={'VALUE': 'TEXT'})  # else it would not be escaped
        alarm = Alarm()
        alarm.add('ACTION', 'DISPLAY')
        alarm.add('DESCRIPTION', what.name)
        alarm.add('TRIGGER', timedelta())
        vevent.add_component(alarm)
        return vevent

    def _text(self, vevent: VEvent) -> str:
        name = vevent['DTSTART'].params.get('TZID', _UTC)
        zone = None if name in self._zones else timezones.find(name)
        self._zones.add(name)
        return ''.join(part.to_ical().decode() for part in (zone and vtimezone(zone), vevent) if part)


def _moment(event: Event) -> Moment:
    """An event's time on the clock that was asked for, where it shows that very instant."""
    zone = timezones.find(event.zone or _UTC)
    assert zone is not None
    return at(event.time, zone)


def _add_time(vevent: VEvent, name: str, moment: Moment) -> None:
    zone = moment.zone.zone or _UTC
    local = moment.local.replace(tzinfo=UTC) if zone == _UTC else moment.local
    vevent.add(name, local, parameters={} if zone == _UTC else {'TZID': zone})


# -- import ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Waiting:
    """The entries of one UID, each with where it stands: the repeated one, and those that change it."""

    repeated: list[tuple[str, Entry]] = field(default_factory=list)
    changes: list[tuple[str, Entry]] = field(default_factory=list)


def read(lines: Iterable[str], default: BaseTzInfo, now: int) -> Iterator[Found]:
    """What the VEVENTs of calendars say, at `now` (ms, UTC); `default` is the zone of times that name none.

    Repeated ones come last, as what changes them may stand anywhere.
    """
    zones, waiting = Zones(default, now), defaultdict[str, _Waiting](_Waiting)
    for block in blocks(lines):
        if block.kind == 'VTIMEZONE':
            zones.learn(block.text)
            continue
        uid = _uid(block.text)
        where = f'line {block.line} ({uid})' if uid else f'line {block.line}'
        try:
            entry = parse(block.text, zones)
            if entry.recurs_at is not None:
                waiting[entry.uid].changes.append((where, entry))
            elif entry.repeats:
                waiting[entry.uid].repeated.append((where, entry))
            elif not entry.is_cancelled:
                for event in single(entry):
                    yield Found(where, event)
        except (InvalidInput, OverflowError) as error:
            yield Found(where, _fault(error))
    for one in waiting.values():
        yield from _repeated(one, zones, now)


def _repeated(waiting: _Waiting, zones: Zones, now: int) -> Iterator[Found]:
    changes = [entry for _, entry in waiting.changes]
    for number, (where, entry) in enumerate(waiting.repeated):
        try:
            if number:
                raise InvalidInput('there is another repeated one of the same UID')
            if not entry.is_cancelled:
                for found in repeated(entry, changes, zones, now):
                    yield Found(where, found)
        except (InvalidInput, OverflowError) as error:
            yield Found(where, _fault(error))
    for where, entry in () if waiting.repeated else waiting.changes:
        try:
            for event in () if entry.is_cancelled else single(entry):
                yield Found(where, event)
        except (InvalidInput, OverflowError) as error:
            yield Found(where, _fault(error))


def _fault(error: Exception) -> InvalidInput:
    return error if isinstance(error, InvalidInput) else InvalidInput('it has a time that cannot be reckoned with')


class Block(NamedTuple):
    line: int
    kind: str
    text: str


def blocks(lines: Iterable[str]) -> Iterator[Block]:
    """The components VEVENT and VTIMEZONE, each with the number of its first line and its text."""
    begun, kind, kept = 0, '', list[str]()
    for number, line in enumerate(lines, 1):
        name = line.strip().upper()
        if name in ('BEGIN:VEVENT', 'BEGIN:VTIMEZONE'):
            if kept:
                yield Block(begun, kind, ''.join(kept))  # it lacks its end, which parsing finds
            begun, kind, kept = number, name.removeprefix('BEGIN:'), []
        if kind:
            kept.append(line)
        if name == f'END:{kind}':
            yield Block(begun, kind, ''.join(kept))
            kind, kept = '', []
    if kept:
        yield Block(begun, kind, ''.join(kept))


def _uid(text: str) -> str:
    return next((line.partition(':')[2] for line in text.splitlines() if line.upper().startswith('UID')), '')

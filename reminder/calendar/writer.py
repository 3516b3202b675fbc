"""What is kept as VEVENTs (RFC 5545, 3.6.1) that other programs read. UIDs are our ids.

An event is a VEVENT at its time with an alarm then. A series is one with its rule; with an EXDATE for each occurrence
that was to come and will not (it was cancelled, or is not for who reads this), and a VEVENT of its own, with a
RECURRENCE-ID, for each that was changed. What a series has behind it is told as its rule says it.

Some is written otherwise than it was asked for, so that others find the same instants. A series begins with its first
occurrence, as they would count any other begin as one more (3.8.5.3). UNTIL is in UTC (3.3.10). An occurrence at a time
that clocks skip or show twice has a VEVENT of its own, at its instant: of programs some are an hour early or late then,
and some leave it out. An event after 2037, up to which pytz knows what clocks do, is in UTC.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import pytz
from icalendar import Calendar, vRecur, vText
from icalendar.parser import Contentline
from pytz.tzinfo import BaseTzInfo

from reminder.calendar.moments import Moment, at, utc
from reminder.calendar.source import Source
from reminder.calendar.vtimezone import KNOWN_UNTIL, ZONES, unclear, vtimezone
from reminder.errors import InvalidInput
from reminder.models.event import MINUTE, Event, Series, instant
from reminder.services import expansion, timezones
from reminder.services.recurrence import Occurrence, Rule
from reminder.services.series import occurrence, occurrence_id, rule_of_series

END = 'END:VCALENDAR\r\n'
CHANNEL, PAYLOAD = 'X-EVENT-REMINDER-CHANNEL', 'X-EVENT-REMINDER-PAYLOAD'
NAME = 'X-EVENT-REMINDER-NAME'
"""The name as JSON, where it holds what a SUMMARY cannot."""
AHEAD = 3 * 366 * 24 * 60 * MINUTE
"""ms for which times that clocks skip or show twice are told one by one."""
LINE = 75
"""Bytes of a line (3.1)."""
_UTC = 'UTC'
_KNOWN_UNTIL = instant(KNOWN_UNTIL)
_CONTROL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f]')


_ALL = {
    'VERSION': vText('2.0'),
    'PRODID': vText('-//event-reminder//event-reminder//EN'),
    'CALSCALE': vText('GREGORIAN'),
}


class Part(NamedTuple):
    """A part of what is written, and how many events of the log it stands for."""

    text: str
    events: int = 0


def begin(properties: Mapping[str, vText] | None = None) -> str:
    """How a calendar begins that has these properties, beside those that all have."""
    calendar = Calendar()
    for name, text in {**_ALL, **(properties or {})}.items():
        calendar.add(name, text)
    lines: str = calendar.to_ical().decode()
    return lines.removesuffix(END)


def components(
    source: Source, stamp: int, most_series: int | None = None, pause: Callable[[], None] = lambda: None
) -> Iterator[Part]:
    """What a calendar holds of what is in `source`, component by component: series first, then events by their time.

    `stamp` (ms, UTC) is when all of them count as made. Of more than `most_series` series the others are told by what
    is made of them. `pause` gives others a turn; a part without text is one, too.
    """
    writer = _Writer(utc(stamp), pause)
    told = set()
    for series in islice(source.series(), most_series):
        if source.sees(series):
            told.add(series.id)
            yield Part(writer.series(series, source))
        else:
            yield Part('')
    for event in source.events():
        is_told = event.series in told or not source.sees(event)
        yield Part('' if is_told else writer.event(event), 1)


class _Writer:
    """Writes VEVENTs, and before the first that needs it the VTIMEZONE of each zone.

    As lines of text, as to make the library's objects of them takes several times as long.
    """

    def __init__(self, stamp: datetime, pause: Callable[[], None]) -> None:
        self._stamp = f'DTSTAMP:{_form(stamp)}Z'
        self._pause = pause
        self._zones: set[str | None] = {_UTC}

    def event(self, event: Event) -> str:
        return self._vevent(event.id, event, _moment(event))

    def series(self, series: Series, source: Source) -> str:
        zone = timezones.find(series.zone)
        assert zone is not None
        try:
            rule = rule_of_series(series)
        except InvalidInput:  # nothing of ours, and nothing is made of it
            return ''
        first = next(rule.occurrences(rule.start - 1))
        revision = f'SEQUENCE:{series.revision}'
        main = [revision, f'RRULE:{_recur(series, rule)}']
        pending = {event.id: event for event in source.occurrences(series) if source.sees(event)}
        planned = {occurrence_id(series, one.time): one for one in source.planned(series, rule)}
        adjusted = {occurrence_id(series, one.time): one for one in self._unclear(rule, source)}
        more = []
        for id, one in {**planned, **adjusted}.items():
            event = pending.pop(id, None) if id in planned else occurrence(series, one)
            if event is None:
                main.append(_time('EXDATE', _named(one, zone)))
            elif id in adjusted or event != occurrence(series, one):
                replaced = _time('RECURRENCE-ID', _named(one, zone))
                more.append(self._vevent(series.id, event, _moment(event), revision, replaced))
        for event in pending.values():
            if event.id == occurrence_id(series, event.time):
                main.append(_time('RDATE', at(event.time, zone)))
            else:
                more.append(self._vevent(event.id, event, _moment(event)))  # it was moved, from a time that is past
        return ''.join((self._vevent(series.id, series, _named(first, zone), *main), *more))

    def _unclear(self, rule: Rule, source: Source) -> Iterator[Occurrence]:
        """The occurrences of the next years that a rule names at times which clocks skip or show twice."""
        for begin, end in unclear(rule.zone, self._pause):
            if source.closed < end <= source.closed + AHEAD:
                for one in rule.occurrences(max(begin - 1, source.closed)):
                    if one.time >= end:
                        break
                    if timezones.resolve(_named(one, rule.zone).local, rule.zone).adjusted:
                        yield one

    def _vevent(self, uid: str, what: Event | Series, start: Moment, *more: str) -> str:
        zone = '' if start.zone.zone in self._zones else _zone_text(start.zone, self._pause)
        self._zones.add(start.zone.zone)
        name = _escaped(what.name)
        own = ((NAME, _exact(what.name)), (CHANNEL, what.channel), (PAYLOAD, _without_delete(what.payload)))
        lines = (
            'BEGIN:VEVENT',
            f'UID:{_escaped(uid)}',
            self._stamp,
            f'SUMMARY:{name}',
            _time('DTSTART', start),
            *more,
            'TRANSP:TRANSPARENT',  # to be reminded is not to be busy
            *(f'{key};VALUE=TEXT:{_escaped(text)}' for key, text in own if text is not None),
            'BEGIN:VALARM',
            'ACTION:DISPLAY',
            f'DESCRIPTION:{name}',
            'TRIGGER:PT0S',
            'END:VALARM',
            'END:VEVENT\r\n',
        )
        return zone + '\r\n'.join(line if len(line.encode()) <= LINE else _folded(line) for line in lines)


@lru_cache(ZONES)
def _zone_text(zone: BaseTzInfo, pause: Callable[[], None]) -> str:
    text: str = vtimezone(zone, pause).to_ical().decode()
    return text


def _moment(event: Event) -> Moment:
    """An event's time on the clock that was asked for, where that shows this very instant and no other: also to others,
    who may know of changes that our data, which ends before, does not tell."""
    if event.time >= _KNOWN_UNTIL:
        return at(event.time, pytz.utc)
    moment = at(event.time, timezones.find(event.zone or _UTC) or pytz.utc)
    is_clear = timezones.resolve(moment.local, moment.zone).adjusted is None
    return moment if is_clear else at(event.time, pytz.utc)


def _named(one: Occurrence, zone: BaseTzInfo) -> Moment:
    """The time that a rule names for an occurrence."""
    return Moment(datetime.fromisoformat(one.local_time), zone)


def _recur(series: Series, rule: Rule) -> str:
    recur: vRecur = vRecur.from_ical(series.repeat.upper().removeprefix('RRULE:'))
    if 'UNTIL' in recur and rule.last is not None:
        end = timezones.resolve(expansion.moment(rule.last), rule.zone)
        recur['UNTIL'] = [utc(end.instant)]
    text: bytes = recur.to_ical()  # type: ignore[no-untyped-call]
    return text.decode()


def _time(name: str, moment: Moment) -> str:
    if moment.zone.zone == _UTC:
        return f'{name}:{_form(moment.local)}Z'
    return f'{name};TZID={moment.zone.zone}:{_form(moment.local)}'


def _form(local: datetime) -> str:
    return local.strftime('%Y%m%dT%H%M%S')


def _exact(name: str) -> str | None:
    """A name as JSON, if it would be another one as the value of a SUMMARY."""
    return None if _plain(name) == name else _without_delete(json.dumps(name, ensure_ascii=False))


def _without_delete(text: str | None) -> str | None:
    """JSON in which the one control character that may stand in it as it is is escaped."""
    return None if text is None else text.replace('\x7f', r'\u007f')


def _escaped(text: str) -> str:
    """A text as a value (3.3.11)."""
    escaped: bytes = vText(_plain(text)).to_ical()
    return escaped.decode()


def _plain(text: str) -> str:
    """A text as others may have it: without control characters, as some programs end a line at some of them."""
    return _CONTROL.sub(' ', text.replace('\r\n', '\n'))


def _folded(line: str) -> str:
    folded: bytes = Contentline(line).to_ical()  # type: ignore[no-untyped-call]
    return folded.decode()

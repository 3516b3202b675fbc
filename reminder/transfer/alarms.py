"""The alarms of a VEVENT (RFC 5545, 3.6.6): when they are, relative to its begin or by a time of their own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from icalendar import Component

from reminder.calendar.moments import Moment
from reminder.errors import InvalidInput
from reminder.transfer.times import Zones, get, moment_of

ALARMS = 50
"""Alarms of an entry, with their repetitions, at most."""
AT_ONCE = timedelta()


def shifts(component: Component, length: timedelta) -> list[timedelta]:
    """How long after the begin the alarms of an entry of that length are; at once where it has none.

    Raises InvalidInput.
    """
    found: dict[timedelta, None] = {}
    is_absolute = False
    for alarm in component.walk('VALARM'):
        trigger = _trigger(alarm)
        is_absolute = is_absolute or isinstance(trigger, datetime)
        if isinstance(trigger, timedelta):
            from_end = str(get(alarm, 'TRIGGER').params.get('RELATED', '')).upper() == 'END'
            pause = _span(alarm, 'DURATION') if 'DURATION' in alarm else AT_ONCE
            for number in range(min(int(get(alarm, 'REPEAT') or 0), ALARMS) + 1):
                found[trigger + number * pause + (length if from_end else AT_ONCE)] = None
    if len(found) > ALARMS:
        raise InvalidInput(f'it has more than {ALARMS} alarms')
    return list(found) or ([] if is_absolute else [AT_ONCE])


def absolute(component: Component) -> Iterator[datetime]:
    """The times, aware, of the alarms that have one of their own. Raises InvalidInput."""
    for alarm in component.walk('VALARM'):
        trigger = _trigger(alarm)
        if isinstance(trigger, datetime):
            yield trigger if trigger.tzinfo else trigger.replace(tzinfo=UTC)


def length(component: Component, start: Moment, zones: Zones) -> timedelta:
    """How long an entry is. Raises InvalidInput."""
    if 'DURATION' in component:
        return _span(component, 'DURATION')
    if 'DTEND' in component:
        return timedelta(milliseconds=moment_of(component, 'DTEND', zones).instant - start.instant)
    return timedelta(days=start.is_day)


def _trigger(alarm: Component) -> datetime | timedelta | None:
    """When an alarm is; None of one that is switched off."""
    trigger = get(alarm, 'TRIGGER')
    if trigger is None or str(get(alarm, 'ACTION') or '').upper() == 'NONE':
        return None
    if isinstance(trigger, list) or not isinstance(trigger.dt, timedelta | datetime):
        raise InvalidInput('an alarm has no TRIGGER that can be read')
    found: datetime | timedelta = trigger.dt
    return found


def _span(component: Component, name: str) -> timedelta:
    span = getattr(get(component, name), 'dt', None)
    if not isinstance(span, timedelta):
        raise InvalidInput(f'{name} is no duration')
    return span

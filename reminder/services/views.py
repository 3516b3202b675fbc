"""What commands answer about events and series: as reminders are, with what only those who ask need beside."""

from collections.abc import Sequence
from typing import Any

from reminder.models.event import Event, Record, Series, extras, iso
from reminder.services.series import occurrence_id, upcoming

SHOWN = 5
"""Occurrences of a series that are told ahead."""

View = dict[str, Any]


def event_view(event: Event) -> View:
    """An event: its reminder, with the wall-clock time and zone that were asked for, where they are known."""
    view: View = event.reminder()
    if event.local_time is not None and event.zone is not None:
        view |= {'localTime': event.local_time, 'timeZone': event.zone}
    return view


def state(event: Event, record: Record) -> str:
    """How it stands with an event: cancelled, pending, due, or delivered."""
    if event.cancelled:
        return 'cancelled'
    return 'pending' if event.time > record.closed else 'due' if event.time > record.delivered else 'delivered'


def series_view(series: Series, entries: Sequence[Event], after: int) -> View:
    """A series; `time` is its next occurrence after `after` (ms, UTC), and `occurrences` are the next ones.

    `entries` are the first of those that have entries in the log, which may have been moved. What comes after what has
    been made is as the rule says.
    """
    there = {entry.id for entry in entries}  # more than has been made by `series`, where that was read before
    beyond = upcoming(series, max(series.made, after), SHOWN)
    times = [one.time for one in beyond if occurrence_id(series, one.time) not in there]
    occurrences = [iso(time) for time in sorted([*times, *(entry.time for entry in entries)])[:SHOWN]]
    view: View = {
        'name': series.name,
        'time': occurrences[0] if occurrences else None,
        '_id': series.id,
        'repeat': series.repeat,
        'localTime': series.local_time,
        'timeZone': series.zone,
        'occurrences': occurrences,
    }
    return view | extras(series)

"""The commands of `event-reminder` that talk to a server."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytz

from reminder.client.connection import Place, Server, connected
from reminder.client.events import cancel, history, list_events, list_series, update
from reminder.client.shown import facts
from reminder.errors import ConfigError, ReminderError
from reminder.terminal import Facts, Output, local_zone, printable, when

__all__ = [
    'Output',
    'Server',
    'cancel',
    'history',
    'list_events',
    'list_series',
    'listen',
    'schedule',
    'status',
    'timezones',
    'update',
]


def timezones(server: Server, output: Output, text: str) -> None:
    """Prints the server's time zones whose names contain `text` in any letter case."""
    with connected(server, output) as connection:
        names = [name for name in connection.ask('getAllTimeZones', list) if text.lower() in name.lower()]
    if not names:
        raise ReminderError(f'no time zone contains {text!r}')
    output.names(names)


def schedule(
    server: Server,
    output: Output,
    name: str,
    at: str | None,
    zone: str | None,
    wait: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Schedules an event at the wall time `at` ('YYYY-MM-DD HH:mm') in `zone`, and waits for its reminder if asked to.

    Without `zone` it is this machine's, without `at` the next minute. `more` is what else the command takes: `repeat`,
    `channel`, `payload`, `key`.
    """
    more = more or {}
    zone = zone or local_zone(os.environ)
    if at is None:
        at, zone = next_minute(datetime.now(UTC), zone)
    with connected(server, output, channels=[more['channel']] if wait and 'channel' in more else ()) as connection:
        if wait:
            connection.check_listening()
        event = connection.ask('scheduleEvent', dict, {'eventName': name, 'time': at, 'timeZone': zone, **more})
        output.single(event, facts('scheduled', event))
        if wait:
            id = event.get('_id')
            output.reminder(next(one for one in connection.reminders() if id in (one.get('_id'), one.get('series'))))


def listen(server: Server, output: Output, state: Path | None, channels: Sequence[str] = ()) -> None:
    """Prints reminders as they come, for ever; first those since the place that the file `state` remembers, if any.

    They are those for everybody and those for `channels`.
    """
    with connected(server, output, Place(state), channels) as connection:
        connection.check_listening()
        output.notice(f'listening to {server.name} (Ctrl-C ends it)')
        for reminder in connection.reminders():
            output.reminder(reminder)


def status(server: Server, output: Output, id: str | None) -> None:
    """Prints how the server and its log stand; with an event's `id`, how it is with that event."""
    with connected(server, output) as connection:
        found = connection.ask('getStatus', dict, {} if id is None else {'_id': id})
    event = found.get('event')
    if isinstance(event, dict):
        output.single(event, facts('series' if 'repeat' in event else event.get('state', ''), event))
    else:
        output.single(found, _server_facts(found))


def _server_facts(found: Mapping[str, Any]) -> Facts:
    """How a server and its log stand, for people."""
    return {
        'log': f'{printable(found.get("log"))}, begun {when(found.get("opened"))}',
        'closed': f'up to {when(found.get("closed"))}',
        'delivered': f'up to {when(found.get("delivered"))}',
        'behind': f'{printable(found.get("secondsBehind"))} s',
        'late': _lateness(found.get('lateness')),
        'clients': f'{printable(found.get("clients"))}, {printable(found.get("clientsBehind"))} of them behind',
        'next': _following(found.get('next')),
    }


def _following(found: Any) -> str:
    """The event that is due next, for people."""
    if not isinstance(found, dict):
        return 'nothing'
    return f'{when(found.get("time"))}  {printable(found.get("name"))}  ({printable(found.get("_id"))})'


def _lateness(found: Any) -> str:
    """How late the server's batches were, for people."""
    match found:
        case {'batches': int() as batches, 'median': int() as median, 'worst': int() as worst}:
            return f'at most {median} ms in half of {batches} batches, {worst} ms at worst'
    return 'no batch yet'


def next_minute(now: datetime, zone: str) -> tuple[str, str]:
    """The next minute as wall time and zone, or the one after where less than 2 s are left: a minute closes early.

    Where the clocks of `zone` are being set back, the answer is in UTC: that hour's wall times mean two instants.
    """
    try:
        known = pytz.timezone(zone)
    except pytz.UnknownTimeZoneError:
        raise ConfigError(f'--zone {zone!r} is no time zone; `event-reminder timezones` lists them') from None
    minute = (now + timedelta(seconds=62)).replace(second=0, microsecond=0)
    wall = minute.astimezone(known).replace(tzinfo=None)
    try:
        known.localize(wall, is_dst=None)
    except pytz.AmbiguousTimeError:
        wall, zone = minute.replace(tzinfo=None), 'UTC'
    return f'{wall:%Y-%m-%d %H:%M}', zone

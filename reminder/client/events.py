"""The commands of `event-reminder` about what was scheduled: it is listed, changed, cancelled and looked back at."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from reminder.client.connection import Connection, Server, connected
from reminder.client.shown import columns, facts
from reminder.errors import ConfigError
from reminder.terminal import Output, Reminder, printable

PAGE = 1_000
"""Entries that a server is asked for at once, at most."""
LOOK_BACK = timedelta(days=1)
"""How far `history` goes back unless told otherwise."""

_DATE = re.compile(r'\d{4}-?\d\d-?\d\d([ T]|\Z)', re.ASCII)
_AGO = {'s': 'seconds', 'm': 'minutes', 'h': 'hours', 'd': 'days'}


def list_events(
    server: Server, output: Output, limit: int, channel: str | None, begin: str | None, end: str | None
) -> None:
    """Prints what is pending between two times, in order: at most `limit` events of `channel` and for everybody."""
    now = datetime.now(UTC)
    wanted = _wanted(channel) | _moment('from', begin, now) | _moment('to', end, now)
    with connected(server, output) as connection:
        output.listing(_pages(connection, output, 'listEvents', 'events', wanted, limit), columns(now))


def list_series(server: Server, output: Output, limit: int, channel: str | None) -> None:
    """Prints what is to be repeated, at most `limit` series of `channel` and for everybody."""
    with connected(server, output) as connection:
        output.listing(
            _pages(connection, output, 'listSeries', 'series', _wanted(channel), limit), columns(datetime.now(UTC))
        )


def history(server: Server, output: Output, limit: int, channel: str | None, since: str | None) -> None:
    """Prints what was delivered since then (an offset, an `_id` or a time), at most `limit` reminders, in order."""
    now = datetime.now(UTC)
    with connected(server, output) as connection:
        found = _reminders(connection, output, _wanted(channel) | _since(since, now), limit, since is not None)
        output.listing(found, columns(now))


def cancel(server: Server, output: Output, id: str) -> None:
    """Cancels an event or a series: nobody will be reminded of it."""
    with connected(server, output) as connection:
        found = connection.ask('cancelEvent', dict, {'_id': id})
    output.single(found, facts('cancelled', found))


def update(server: Server, output: Output, id: str, changes: Mapping[str, Any]) -> None:
    """Changes an event or a series; `changes` are the fields of the command `updateEvent`."""
    with connected(server, output) as connection:
        found = connection.ask('updateEvent', dict, {'_id': id, **changes})
    output.single(found, facts('changed', found))


def _pages(
    connection: Connection, output: Output, command: str, name: str, wanted: Mapping[str, Any], limit: int
) -> Iterator[Reminder]:
    """The entries of a list, page after page. A page may be short, or empty, though more lie behind it."""
    following: Any = None
    while limit > 0:
        data = {**wanted, 'limit': min(limit, PAGE), **({} if following is None else {'after': following})}
        page = connection.ask(command, dict, data)
        entries = _entries(page, name)
        yield from entries
        limit -= len(entries)
        if page.get('next') in (None, following):  # the latter from no server of ours, which would go on for ever
            return
        following = page['next']
    output.notice('there may be more (--limit)')


def _reminders(
    connection: Connection, output: Output, wanted: Mapping[str, Any], limit: int, is_asked: bool
) -> Iterator[Reminder]:
    """What was delivered, page after page; `is_asked` says whether anybody expects it to be complete.

    A page may be short, or empty, though more lie behind it. `next` is always there, and leads to where it was given
    when nothing does.
    """
    while limit > 0:
        page = connection.ask('getReminders', dict, {**wanted, 'limit': min(limit, PAGE)})
        entries = _entries(page, 'reminders')
        if is_asked and page.get('complete') is False:
            output.warning('there were more, which the server does not have any longer')
        yield from entries
        limit -= len(entries)
        if page.get('next') in (None, wanted['since']):
            return
        wanted, is_asked = {**wanted, 'since': page['next']}, False
    output.notice(f'there may be more (--since {printable(wanted["since"])})')


def _entries(page: Mapping[str, Any], name: str) -> list[Reminder]:
    entries = page.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _wanted(channel: str | None) -> dict[str, Any]:
    return {} if channel is None else {'channel': channel}


def _moment(name: str, text: str | None, now: datetime) -> dict[str, Any]:
    if text is None:
        return {}
    found = moment(text, now)
    if found is None:
        raise ConfigError(f"--{name} {text!r} is no time such as '2030-01-31 09:30', 2030-01-31T08:30Z or 90m")
    return {name: found}


def _since(text: str | None, now: datetime) -> dict[str, Any]:
    """What is no time is for the server to judge."""
    return {'since': (now - LOOK_BACK).isoformat() if text is None else moment(text, now, is_past=True) or text}


def moment(text: str, now: datetime, is_past: bool = False) -> str | None:
    """A time that a person writes, as ISO 8601 with its zone; None for what is none.

    It is an ISO time, in this machine's zone where it names none; or a number of s, m, h or d from now, or ago.
    """
    distance = re.fullmatch(r'(\d{1,6})([smhd])', text, re.ASCII)
    try:
        if distance is not None:
            span = timedelta(**{_AGO[distance[2]]: int(distance[1])})
            return (now - span if is_past else now + span).isoformat()
        # Python takes any character between date and time, and some ids for times.
        return datetime.fromisoformat(text).astimezone().isoformat() if _DATE.match(text) else None
    except (ValueError, OverflowError):
        return None

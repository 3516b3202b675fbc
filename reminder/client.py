"""The commands of `event-reminder` that talk to a server, through the official Python client."""

import json
import logging
import os
import random
import re
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO, TypeVar

import pytz
import socketio
from socketio.exceptions import SocketIOError

from reminder.errors import ConfigError, ReminderError

CONNECT_WITHIN = 10
"""Seconds for the server to answer CONNECT."""
ANSWER_WITHIN = 10
"""Seconds for the server to answer a command."""
LONGEST_DELAY = 5
"""Seconds between two attempts to connect again."""

Reminder = Mapping[str, Any]
Response = TypeVar('Response')

_QUIET = logging.Logger('socketio', logging.CRITICAL + 1)  # what goes wrong reaches the user through `Output`


class ServerError(ReminderError):
    """The server answered a failure, or cannot be reached, or speaks another language."""


class Output:
    """Results on standard output, everything else on standard error; in colour where a person looks at it."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Any, text: str) -> None:
        """Prints what the server sent: `value` as JSON, or its `text` for people."""
        print(json.dumps(value) if self.as_json else text, flush=True)

    def reminder(self, reminder: Reminder) -> None:
        self.result(reminder, _line(reminder))

    def notice(self, text: str) -> None:
        print(_style('2', text, sys.stderr), file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        print(_style('33', f'warning: {text}', sys.stderr), file=sys.stderr, flush=True)


class Place:
    """Where a client is in the server's log: the offset that came last, kept in a file where there is one."""

    def __init__(self, file: Path | None = None) -> None:
        """Raises ConfigError where the file cannot be read."""
        self._file = file
        self._offset: str | None = None
        try:
            if file is not None and file.exists():
                self._offset = file.read_text('utf-8').strip() or None
        except (OSError, ValueError) as error:
            raise ConfigError(f'--state {file} cannot be read: {error}') from error

    def auth(self) -> dict[str, str]:
        """What CONNECT says: everything since then, please."""
        return {} if self._offset is None else {'since': self._offset}

    def move(self, offset: str) -> None:
        """Takes over an offset, once all reminders before it have been dealt with."""
        self._offset = offset
        if self._file is None:
            return
        try:
            fresh = self._file.with_name(f'{self._file.name}.new')
            fresh.write_text(f'{offset}\n', 'utf-8')
            fresh.replace(self._file)  # so that it is never seen half-written
        except OSError as error:
            raise ReminderError(f'--state {self._file} cannot be written: {error}') from error


class Connection:
    """A connection to the server at `url`, opened at once and again whenever it is lost; raises `ServerError`.

    The official client's own reconnecting is off: it does not come back to a server that has said good-bye.
    """

    def __init__(self, url: str, output: Output, place: Place) -> None:
        parts = urllib.parse.urlsplit(url)
        self.name = parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()  # without a password
        self._url = url
        self._path = f'{parts.path.strip("/")}/socket.io'  # the library drops the url's own path
        self._output = output
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._place = place
        self._client = self._connect()

    def _connect(self) -> socketio.Client:
        refusals: list[str] = []
        client = socketio.Client(reconnection=False, handle_sigint=False, logger=_QUIET, engineio_logger=_QUIET)
        client.on('disconnect', lambda reason: self._inbox.put(('lost', reason)))
        client.on('connect_error', lambda *reason: refusals.extend(_texts(reason)))
        for event in ('eventReminder', 'cursor', 'replayed'):
            client.on(event, lambda *arguments, event=event: self._inbox.put((event, arguments)))
        try:
            client.connect(self._url, auth=self._place.auth, socketio_path=self._path, wait_timeout=CONNECT_WITHIN)
        except (SocketIOError, ValueError, LookupError) as error:  # the last two: what it raises for odd answers
            reason = refusals[0] if refusals else str(error)
            core = re.search(r'\[Errno -?\d+\] ([\w ]+)', reason)  # of all that an HTTP client has to say
            raise ServerError(f'cannot connect to {self.name}: {core[1] if core else reason}') from error
        return client

    def close(self) -> None:
        self._client.shutdown()

    def ask(self, command: str, kind: type[Response], data: Mapping[str, str] | None = None) -> Response:
        """The response to a command; raises `ServerError` with the server's words, or where no answer comes."""
        message = {'command': command} if data is None else {'command': command, 'data': data}
        try:
            answer = self._client.call('command', message, timeout=ANSWER_WITHIN)
        except SocketIOError as error:
            raise ServerError(f'no answer from {self.name} to {command!r}') from error
        match answer:
            case {'status': 'success', 'response': kind() as response}:
                if 'warning' in answer:
                    self._output.warning(printable(answer['warning']))
                return response
            case {'status': 'failure', 'error': str(text)}:
                raise ServerError(printable(text))
        raise ServerError(f'{self.name} does not answer as an event-reminder server does')

    def reminders(self) -> Iterator[Reminder]:
        """The reminders since the connection was first opened, or since its place, as they come, for ever."""
        while True:
            match self._inbox.get():
                case ('eventReminder', (dict() as reminder, *_)):
                    yield reminder
                case ('cursor', (str() as offset, *_)):
                    self._place.move(offset)
                case ('replayed', ({'count': int() as count, 'complete': bool() as complete}, *_)):
                    self._output.notice(f'{count} {"reminder" if count == 1 else "reminders"} came meanwhile')
                    if not complete:
                        self._output.warning(
                            'there were more, which the server does not have any longer or may not send'
                        )
                case ('lost', reason):
                    self._output.notice(f'connection lost ({reason}), connecting again ...')
                    self._reopen()
                    self._output.notice('connected again')

    def _reopen(self) -> None:
        delay = 0.5
        while True:
            time.sleep(delay * random.uniform(0.5, 1))  # a server's clients do not all come back at one moment
            try:
                self._client = self._connect()
                return
            except ServerError:
                delay = min(2 * delay, LONGEST_DELAY)


@contextmanager
def connected(url: str, output: Output, place: Place | None = None) -> Iterator[Connection]:
    connection = Connection(url, output, place or Place())
    try:
        yield connection
    finally:
        connection.close()


def timezones(url: str, output: Output, text: str) -> None:
    """Prints the server's time zones whose names contain `text` in any letter case."""
    with connected(url, output) as connection:
        names = [name for name in connection.ask('getAllTimeZones', list) if text.lower() in name.lower()]
    if not names:
        raise ReminderError(f'no time zone contains {text!r}')
    output.result(names, '\n'.join(map(printable, names)))


def schedule(url: str, output: Output, name: str, at: str | None, zone: str | None, wait: bool) -> None:
    """Schedules an event at the wall time `at` ('YYYY-MM-DD HH:mm') in `zone`, and waits for its reminder if asked to.

    Without `zone` it is this machine's, without `at` the next minute.
    """
    zone = zone or local_zone(os.environ)
    if at is None:
        at, zone = next_minute(datetime.now(UTC), zone)
    with connected(url, output) as connection:
        event = connection.ask('scheduleEvent', dict, {'eventName': name, 'time': at, 'timeZone': zone})
        id, instant = event.get('_id'), event.get('time')
        output.result(event, f'scheduled for {at} {zone} ({printable(instant)}): {printable(name)}  ({printable(id)})')
        if wait:
            output.reminder(next(one for one in connection.reminders() if one.get('_id') == id))


def listen(url: str, output: Output, state: Path | None) -> None:
    """Prints reminders as they come, for ever; first those since the place that the file `state` remembers, if any."""
    with connected(url, output, Place(state)) as connection:
        output.notice(f'listening to {connection.name} (Ctrl-C ends it)')
        for reminder in connection.reminders():
            output.reminder(reminder)


def status(url: str, output: Output, id: str | None) -> None:
    """Prints how the server and its log stand; with an event's `id`, how it is with that event."""
    with connected(url, output) as connection:
        found = connection.ask('getStatus', dict, {} if id is None else {'_id': id})
    event = found.get('event')
    if isinstance(event, dict):
        output.result(event, f'{printable(event.get("state"))}: {_line(event)}')
        return
    lines = {
        'log': f'{printable(found.get("log"))}, begun {_local(found.get("opened"))}',
        'closed': f'up to {_local(found.get("closed"))}',
        'delivered': f'up to {_local(found.get("delivered"))}',
        'behind': f'{printable(found.get("secondsBehind"))} s',
        'clients': f'{printable(found.get("clients"))}, {printable(found.get("clientsBehind"))} of them behind',
        'next': _line(found['next']) if isinstance(found.get('next'), dict) else 'nothing',
    }
    output.result(found, '\n'.join(f'{name:<10} {text}' for name, text in lines.items()))


def _line(event: Reminder) -> str:
    """An event for people."""
    name = _style('1', event.get('name'), sys.stdout)
    return f'{_local(event.get("time"))}  {name}  ({printable(event.get("_id"))})'


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


def local_zone(environ: Mapping[str, str], localtime: str = '/etc/localtime') -> str:
    """The IANA name of this machine's time zone, by TZ or else by the link `localtime`; 'UTC' where it has none."""
    source = environ.get('TZ') or os.path.realpath(localtime)
    name = source.removeprefix(':').rpartition('zoneinfo/')[2]
    return name if name in pytz.all_timezones_set else 'UTC'


def printable(value: Any) -> str:
    """`value` as text without what would move a terminal's cursor: names come from strangers."""
    return ''.join(one if one.isprintable() else one.encode('unicode_escape').decode() for one in str(value))


def _local(moment: Any) -> str:
    """An ISO time of the server in this machine's zone, for people."""
    try:
        return f'{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M %Z}'
    except (TypeError, ValueError, OverflowError):
        return printable(moment)


def _style(code: str, value: Any, stream: TextIO) -> str:
    coloured = stream.isatty() and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'
    return f'\033[{code}m{printable(value)}\033[0m' if coloured else printable(value)


def _texts(reason: tuple[Any, ...]) -> Iterator[str]:
    """The server's words in what `connect_error` was told: a text, or an object that holds it."""
    for one in reason:
        text = one.get('message') if isinstance(one, dict) else one
        if isinstance(text, str):
            yield printable(text)

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
        name = _style('1', reminder.get('name'), sys.stdout)
        self.result(reminder, f'{_local(reminder.get("time"))}  {name}  ({printable(reminder.get("_id"))})')

    def notice(self, text: str) -> None:
        print(_style('2', text, sys.stderr), file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        print(_style('33', f'warning: {text}', sys.stderr), file=sys.stderr, flush=True)


class Connection:
    """A connection to the server at `url`, opened at once and again whenever it is lost; raises `ServerError`.

    The official client's own reconnecting is off: it does not come back to a server that has said good-bye.
    """

    def __init__(self, url: str, output: Output) -> None:
        parts = urllib.parse.urlsplit(url)
        self.name = parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()  # without a password
        self._url = url
        self._path = f'{parts.path.strip("/")}/socket.io'  # the library drops the url's own path
        self._output = output
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._client = self._connect()

    def _connect(self) -> socketio.Client:
        refusals: list[str] = []
        client = socketio.Client(reconnection=False, handle_sigint=False, logger=_QUIET, engineio_logger=_QUIET)
        client.on('disconnect', lambda reason: self._inbox.put(('lost', reason)))
        client.on('connect_error', lambda *reason: refusals.extend(_texts(reason)))
        client.on('eventReminder', lambda *arguments: self._inbox.put(('reminder', arguments)))
        try:
            client.connect(self._url, socketio_path=self._path, wait_timeout=CONNECT_WITHIN)
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
        """The reminders since the connection was first opened, as they come, for ever."""
        while True:
            match self._inbox.get():
                case ('reminder', (dict() as reminder, *_)):
                    yield reminder
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
def connected(url: str, output: Output) -> Iterator[Connection]:
    connection = Connection(url, output)
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


def listen(url: str, output: Output) -> None:
    """Prints reminders as they come, for ever."""
    with connected(url, output) as connection:
        output.notice(f'listening to {connection.name} (Ctrl-C ends it)')
        for reminder in connection.reminders():
            output.reminder(reminder)


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

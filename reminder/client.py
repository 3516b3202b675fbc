"""The commands of `event-reminder` that talk to a server, through the official Python client."""

import json
import logging
import os
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any, TextIO

import pytz
import socketio
from socketio.exceptions import SocketIOError

from reminder.errors import InvalidInput, ReminderError

CONNECT_WITHIN = 10
"""Seconds for the server to answer CONNECT."""
ANSWER_WITHIN = 10
"""Seconds for the server to answer a command."""

Reminder = Mapping[str, Any]


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
        name = _style('1', str(reminder.get('name')), sys.stdout)
        self.result(reminder, f'{_local(reminder.get("time"))}  {name}  ({_printable(str(reminder.get("_id")))})')

    def notice(self, text: str) -> None:
        print(_style('2', text, sys.stderr), file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        print(_style('33', f'warning: {text}', sys.stderr), file=sys.stderr, flush=True)


class Connection:
    """A connection to the server at `url`, which the official client keeps up. Use it as `connected()` gives it."""

    def __init__(self, url: str, output: Output) -> None:
        quiet = logging.getLogger('reminder.client.library')  # what goes wrong reaches the user through `output`
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._url = url
        self._output = output
        self._refusal = ''
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._client = socketio.Client(handle_sigint=False, logger=quiet, engineio_logger=quiet)
        self._client.on('connect', lambda: self._inbox.put(('connected', None)))
        self._client.on('disconnect', lambda reason: self._inbox.put(('lost', reason)))
        self._client.on('connect_error', self._refused)
        self._client.on('eventReminder', lambda *arguments: self._inbox.put(('reminder', arguments)))

    def open(self) -> None:
        """Connects; raises `ServerError`. From then on lost connections come back by themselves."""
        path = urllib.parse.urlsplit(self._url).path.strip('/')  # the library drops it
        try:
            self._client.connect(self._url, socketio_path=f'{path}/socket.io', wait_timeout=CONNECT_WITHIN)
        except (SocketIOError, ValueError, LookupError) as error:  # the last two: what it raises for odd answers
            raise ServerError(f'cannot connect to {self._url}: {self._refusal or error}') from error
        self._inbox.get()  # the first 'connected' is no news

    def close(self) -> None:
        self._client.shutdown()

    def ask(self, command: str, data: Mapping[str, str] | None = None) -> Any:
        """The response to a command; raises `ServerError` with the server's words, or where no answer comes."""
        message = {'command': command} if data is None else {'command': command, 'data': data}
        try:
            answer = self._client.call('command', message, timeout=ANSWER_WITHIN)
        except SocketIOError as error:
            raise ServerError(f'no answer from {self._url} to {command!r}') from error
        match answer:
            case {'status': 'success', 'response': response}:
                if 'warning' in answer:
                    self._output.warning(_printable(str(answer['warning'])))
                return response
            case {'status': 'failure', 'error': str(text)}:
                raise ServerError(_printable(text))
        raise ServerError(f'{self._url} does not answer as an event-reminder server does')

    def reminders(self) -> Iterator[Reminder]:
        """The reminders since the connection was opened, as they come. Raises `ServerError` if the server ends it."""
        while True:
            match self._inbox.get():
                case ('reminder', (dict() as reminder, *_)):
                    yield reminder
                case ('lost', self._client.reason.SERVER_DISCONNECT):
                    raise ServerError('the server has closed this connection')
                case ('lost', _):
                    self._output.notice('connection lost, trying to connect again ...')
                case ('connected', _):
                    self._output.notice('connected again')

    def _refused(self, reason: Any = None) -> None:
        match reason:
            case {'message': str(text)} | str(text):
                self._refusal = _printable(text)


@contextmanager
def connected(url: str, output: Output) -> Iterator[Connection]:
    connection = Connection(url, output)
    try:
        connection.open()
        yield connection
    finally:
        connection.close()


def timezones(url: str, output: Output, text: str) -> None:
    """Prints the server's time zones whose names contain `text` in any letter case."""
    with connected(url, output) as connection:
        names = [name for name in connection.ask('getAllTimeZones') if text.lower() in name.lower()]
    if not names:
        raise InvalidInput(f'no time zone contains {text!r}')
    output.result(names, '\n'.join(map(_printable, names)))


def schedule(url: str, output: Output, name: str, at: str | None, zone: str | None, wait: bool) -> None:
    """Schedules an event at the wall time `at` ('YYYY-MM-DD HH:mm') in `zone`, and waits for its reminder if asked to.

    Without `zone` it is this machine's, without `at` the next minute.
    """
    zone = zone or local_zone(os.environ)
    if at is None:
        at, zone = next_minute(datetime.now(UTC), zone)
    with connected(url, output) as connection:
        event = connection.ask('scheduleEvent', {'eventName': name, 'time': at, 'timeZone': zone})
        output.result(event, f'{_printable(name)}: {at} {zone}, {event["time"]} ({event["_id"]})')
        if wait:
            output.reminder(next(one for one in connection.reminders() if one.get('_id') == event['_id']))


def listen(url: str, output: Output) -> None:
    """Prints reminders as they come, for ever."""
    with connected(url, output) as connection:
        output.notice(f'listening to {url} (Ctrl-C ends it)')
        for reminder in connection.reminders():
            output.reminder(reminder)


def next_minute(now: datetime, zone: str) -> tuple[str, str]:
    """The next minute as wall time and zone, or the one after where less than 2 s are left: a minute closes early.

    Where the clocks of `zone` are being set back, the answer is in UTC: that hour's wall times mean two instants.
    """
    try:
        known = pytz.timezone(zone)
    except pytz.UnknownTimeZoneError:
        raise InvalidInput(f'unknown time zone {zone!r}; `event-reminder timezones` lists them') from None
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


def _local(time: Any) -> str:
    """An ISO time of the server in this machine's zone, for people."""
    try:
        return f'{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M %Z}'
    except (TypeError, ValueError, OverflowError):
        return _printable(str(time))


def _style(code: str, text: str, stream: TextIO) -> str:
    """`text` without control characters, in colour if `stream` is a terminal and nobody asked for none."""
    plain = _printable(text)
    coloured = stream.isatty() and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'
    return f'\033[{code}m{plain}\033[0m' if coloured else plain


def _printable(text: str) -> str:
    """`text` with everything escaped that would move a terminal's cursor: names come from strangers."""
    return ''.join(one if one.isprintable() else one.encode('unicode_escape', 'surrogatepass').decode() for one in text)

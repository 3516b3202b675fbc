"""A connection to a server through the official Python client, and the place in its log that outlives it."""

import logging
import random
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import engineio
import socketio
from socketio.exceptions import SocketIOError

from reminder.client.terminal import Output, Reminder, printable
from reminder.errors import ConfigError, ReminderError

CONNECT_WITHIN = 10
"""Seconds for the server to answer CONNECT."""
ANSWER_WITHIN = 10
"""Seconds for the server to answer a command."""
LONGEST_DELAY = 5
"""Seconds between two attempts to connect again."""

Response = TypeVar('Response')

_QUIET = logging.Logger('socketio', logging.CRITICAL + 1)  # what goes wrong reaches the user through `Output`


class ServerError(ReminderError):
    """The server answered a failure, or cannot be reached, or speaks another language."""


class _EngineClient(engineio.Client):  # type: ignore[misc]
    """Handles messages one by one; python-engineio's own starts a thread for each, and they may overtake each other."""

    def _trigger_event(self, event: str, *arguments: Any, **options: bool) -> Any:
        return super()._trigger_event(event, *arguments, **{**options, 'run_async': False})


class _Client(socketio.Client):  # type: ignore[misc]
    def _engineio_client_class(self) -> type[_EngineClient]:
        return _EngineClient


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
        client = _Client(reconnection=False, handle_sigint=False, logger=_QUIET, engineio_logger=_QUIET)
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
                    if count:
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


def _texts(reason: tuple[Any, ...]) -> Iterator[str]:
    """The server's words in what `connect_error` was told: a text, or an object that holds it."""
    for one in reason:
        text = one.get('message') if isinstance(one, dict) else one
        if isinstance(text, str):
            yield printable(text)

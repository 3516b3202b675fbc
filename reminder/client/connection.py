"""A connection to a server through the official Python client, and the place in its log that outlives it."""

import logging
import random
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import engineio
import socketio
from socketio.exceptions import SocketIOError

from reminder.errors import ConfigError, ReminderError
from reminder.terminal import Output, Reminder, printable

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


class Refused(ServerError):
    """The server answered that it does not let this client in; to ask again would change nothing."""


@dataclass(frozen=True)
class Server:
    """Where a server is, and the token for it, where it asks for one."""

    url: str
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its url without a password."""
        parts = urllib.parse.urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()


class _EngineClient(engineio.Client):  # type: ignore[misc]
    """Handles messages one by one; python-engineio's own starts a thread for each, and they may overtake each other."""

    def _trigger_event(self, event: str, *arguments: Any, **options: bool) -> Any:
        return super()._trigger_event(event, *arguments, **{**options, 'run_async': False})


class _Client(socketio.Client):  # type: ignore[misc]
    """Notes what the server answers to CONNECT, which the library keeps to itself."""

    refused = False
    recoverable = False

    def _handle_connect(self, namespace: str, data: dict[str, str] | None) -> None:
        self.recoverable = 'pid' in (data or {})
        super()._handle_connect(namespace, data)

    def _handle_error(self, namespace: str, data: Any) -> None:
        self.refused = True
        super()._handle_error(namespace, data)

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
    """A connection to a server, opened at once and again whenever it is lost; raises `ServerError`.

    The official client's own reconnecting is off: it does not come back to a server that has said good-bye.
    """

    def __init__(self, server: Server, output: Output, place: Place, channels: Sequence[str] = ()) -> None:
        self._server = server
        self._channels = list(channels)
        self._output = output
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._place = place
        self._client = self._connect()

    def _auth(self) -> dict[str, Any]:
        """What CONNECT says."""
        auth: dict[str, Any] = {**self._place.auth()}
        if self._server.token is not None:
            auth['token'] = self._server.token
        if self._channels:
            auth['channels'] = self._channels
        return auth

    def _connect(self) -> _Client:
        refusals: list[str] = []
        client = _Client(reconnection=False, handle_sigint=False, logger=_QUIET, engineio_logger=_QUIET)
        client.on('disconnect', lambda reason: self._inbox.put(('lost', reason)))
        client.on('connect_error', lambda *reason: refusals.extend(_texts(reason)))
        for event in ('eventReminder', 'cursor', 'replayed'):
            client.on(event, lambda *arguments, event=event: self._inbox.put((event, arguments)))
        try:
            path = f'{urllib.parse.urlsplit(self._server.url).path.strip("/")}/socket.io'  # the library drops it
            client.connect(self._server.url, auth=self._auth, socketio_path=path, wait_timeout=CONNECT_WITHIN)
        except (SocketIOError, ValueError, LookupError) as error:  # the last two: what it raises for odd answers
            reason = refusals[0] if refusals else str(error)
            if client.refused:
                raise Refused(f'{self._server.name} refuses the connection: {reason}') from error
            core = re.search(r'\[Errno -?\d+\] ([\w ]+)', reason)  # of all that an HTTP client has to say
            raise ServerError(f'cannot connect to {self._server.name}: {core[1] if core else reason}') from error
        return client

    def close(self) -> None:
        self._client.shutdown()

    def ask(self, command: str, kind: type[Response], data: Mapping[str, Any] | None = None) -> Response:
        """The response to a command; raises `ServerError` with the server's words, or where no answer comes."""
        message = {'command': command} if data is None else {'command': command, 'data': data}
        try:
            answer = self._client.call('command', message, timeout=ANSWER_WITHIN)
        except SocketIOError as error:
            raise ServerError(f'no answer from {self._server.name} to {command!r}') from error
        match answer:
            case {'status': 'success', 'response': kind() as response}:
                if 'warning' in answer:
                    self._output.warning(printable(answer['warning']))
                return response
            case {'status': 'failure', 'error': str(text)}:
                raise ServerError(printable(text))
        raise ServerError(f'{self._server.name} does not answer as an event-reminder server does')

    def check_listening(self) -> None:
        """Raises `ServerError` where no reminder will come, as the token does not allow it: there is nothing that could
        be recovered then."""
        if self._server.token is not None and not self._client.recoverable:
            raise ServerError(f"no reminders come from {self._server.name}: the token lacks the scope 'listen'")

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
            except Refused:
                raise
            except ServerError:
                delay = min(2 * delay, LONGEST_DELAY)


@contextmanager
def connected(
    server: Server, output: Output, place: Place | None = None, channels: Sequence[str] = ()
) -> Iterator[Connection]:
    """A connection, which listens to these channels beside what is for everybody; closed in the end."""
    connection = Connection(server, output, place or Place(), channels)
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

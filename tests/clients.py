"""The official Socket.IO clients, JavaScript and Python, behind one face for tests.

A client records all that happens to it as dicts in `events`: `{'event': 'connect' | 'disconnect' | 'connect_error' |
'upgrade' | 'message' | 'ack', ...}`. The JavaScript clients live in one Node.js process, `tests/js/driver.mjs`, which
speaks JSON lines.
"""

import fcntl
import itertools
import json
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import socketio

from tests.server import missing

KINDS = {
    'js-4.8': 'socket.io-client',
    'js-4.6': 'socket.io-client-4.6',
    'js-3.1': 'socket.io-client-3',
    'python': None,
}
TRANSPORTS = {'polling': ['polling'], 'websocket': ['websocket'], 'upgrade': ['polling', 'websocket']}

JS = Path(__file__).parent / 'js'
_RETRY_SOON = {'reconnectionDelay': 100, 'reconnectionDelayMax': 300}


class Client(ABC):
    """What both kinds of client have in common: the record of events and questions about it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._acks = itertools.count()

    def record(self, event: str, **rest: Any) -> None:
        with self._changed:
            self.events.append({'event': event, **rest})
            self._changed.notify_all()

    def wait(self, matches: Callable[[dict[str, Any]], Any], within: float = 15, since: int = 0) -> dict[str, Any]:
        """The first event from number `since` on that matches; fails if there is none within that many seconds."""
        deadline = time.monotonic() + within
        with self._changed:
            while True:
                while since < len(self.events):
                    since += 1
                    if matches(self.events[since - 1]):
                        return self.events[since - 1]
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f'nothing matched within {within} s, last: {self.events[-5:]}')
                self._changed.wait(left)

    def wait_for(self, event: str, within: float = 15, since: int = 0) -> dict[str, Any]:
        return self.wait(lambda one: one['event'] == event, within, since)

    def messages(self, name: str) -> list[list[Any]]:
        """The arguments of each `name` event so far, in order."""
        return [event['args'] for event in list(self.events) if event.get('name') == name]

    def reminders(self, of: str) -> list[list[Any]]:
        """The arguments of each `eventReminder` so far whose first one has the `_id` `of`."""
        return [args for args in self.messages('eventReminder') if args and args[0].get('_id') == of]

    def wait_for_reminder(self, of: str, within: float = 15) -> list[Any]:
        """The arguments of the `eventReminder` whose first one has the `_id` `of`."""
        self.wait(lambda event: event.get('name') == 'eventReminder' and event['args'][0]['_id'] == of, within)
        return self.reminders(of)[0]

    def emit(self, *args: Any) -> None:
        """Emits an event without an ack callback."""
        self._emit(args, None)

    def ask(self, *args: Any) -> int:
        """Emits an event with an ack callback; hands back the number that `answer` takes."""
        ack = next(self._acks)
        self._emit(args, ack)
        return ack

    def answer(self, ack: int, within: float = 15) -> Any:
        """What the event with that number was acked with, which must be one argument."""
        (answer,) = self.wait(lambda one: one.get('ack') == ack, within)['args']
        return answer

    def command(self, *args: Any, within: float = 15) -> Any:
        """Emits `command` with `args` and waits for its answer."""
        return self.answer(self.ask('command', *args), within)

    def schedule(self, name: str, wall_time: str, zone: str = 'UTC') -> dict[str, str]:
        """Schedules an event, which must succeed, and returns the acked object."""
        answer = self.command(schedule_event(name, wall_time, zone))
        assert answer['status'] == 'success', answer
        response: dict[str, str] = answer['response']
        return response

    def _emit(self, args: tuple[Any, ...], ack: int | None) -> None:
        """Emits an event; its answer is recorded under the number `ack`, if there is one."""
        raise NotImplementedError('an event stream only listens')

    @abstractmethod
    def close(self) -> None:
        """Disconnects."""


def schedule_event(name: Any, time: Any, zone: Any = 'UTC') -> dict[str, Any]:
    """The message that asks for an event at a wall-clock time, `'YYYY-MM-DD HH:mm'`, in a zone."""
    return {'command': 'scheduleEvent', 'data': {'eventName': name, 'time': time, 'timeZone': zone}}


class PythonClient(Client):
    """`socketio.Client` as it comes, on greenlets, as the tests' launcher has patched the standard library."""

    def __init__(self, url: str, transports: list[str], auth: Any = None):
        super().__init__()
        self._client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.3, handle_sigint=False)
        self._client.on('connect', self._connected)
        self._client.on('disconnect', lambda reason: self.record('disconnect', reason=reason))
        self._client.on('connect_error', lambda error: self.record('connect_error', **_message(error)))
        self._client.on('*', lambda name, *args: self.record('message', name=name, args=list(args)))
        self._client.connect(url, transports=transports, auth=auth, wait_timeout=15)

    def _connected(self) -> None:
        self.record('connect', sid=self._client.get_sid(), transport=self._client.transport())

    def _emit(self, args: tuple[Any, ...], ack: int | None) -> None:
        name, *rest = args
        callback = None if ack is None else lambda *answer: self.record('ack', ack=ack, args=list(answer))
        self._client.emit(name, tuple(rest), callback=callback)

    def close(self) -> None:
        self._client.shutdown()


def _message(error: Any) -> dict[str, str]:
    """A refusal by the server, which is an object, or why it could not be reached, which is a text."""
    return {'message': error['message'] if isinstance(error, dict) else str(error)}


class JavaScriptClient(Client):
    """A client of the socket.io-client release `version` (an alias in `tests/js/package.json`)."""

    def __init__(self, driver: 'Driver', version: str, url: str, options: dict[str, Any]):
        super().__init__()
        self._driver = driver
        self._id = driver.adopt(self)
        driver.tell('connect', self._id, version=version, url=url, options=_RETRY_SOON | options)

    def _emit(self, args: tuple[Any, ...], ack: int | None) -> None:
        self._driver.tell('emit', self._id, args=args, **({} if ack is None else {'ack': ack}))

    def close(self) -> None:
        self._driver.tell('disconnect', self._id)


class Driver:
    """The Node.js process in which JavaScript clients live: a script that is told and tells JSON lines."""

    def __init__(self, script: Path = JS / 'driver.mjs') -> None:
        self._clients: dict[int, Client] = {}
        self._process = subprocess.Popen(
            ['node', script.name], cwd=script.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def adopt(self, client: Client) -> int:
        """Gives `client` the events of a socket from now on; returns the number of that socket."""
        number = len(self._clients)
        self._clients[number] = client
        return number

    def tell(self, verb: str, id: int, **rest: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({'verb': verb, 'id': id, **rest}) + '\n')
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self._clients[event.pop('id')].record(**event)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def install(folder: Path = JS) -> None:
    """Installs a folder's packages with npm where they are not, or not the ones that its lock file names."""
    if not shutil.which('npm'):
        missing('Node.js with npm')
    locked, installed = folder / 'package-lock.json', folder / 'node_modules' / '.package-lock.json'
    with (folder / 'package.json').open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= locked.stat().st_mtime:
            return
        npm = subprocess.run(['npm', 'ci', '--no-audit', '--no-fund'], cwd=folder, capture_output=True, text=True)
        if npm.returncode != 0:
            missing(f'what {folder / "package.json"} names (npm said: {npm.stderr.strip()})')


class Clients:
    """Opens clients of any kind and closes them all at the end. `driver` is asked when the first needs Node.js."""

    def __init__(self, driver: Callable[[], Driver]):
        self._driver = driver
        self._open = ExitStack()

    def __call__(
        self, url: str, kind: str = 'js-4.8', transport: str = 'websocket', wait: bool = True, **options: Any
    ) -> Client:
        """A client of a kind in `KINDS` over a transport in `TRANSPORTS`; `options` are the library's own.

        With `wait` it is connected when the call returns, and upgraded where the transport says so.
        """
        client: Client
        version = KINDS[kind]
        if version is None:
            client = PythonClient(url, TRANSPORTS[transport], **options)
        else:
            client = JavaScriptClient(self._driver(), version, url, {'transports': TRANSPORTS[transport], **options})
        self._open.callback(client.close)
        if wait:
            client.wait_for('connect')
            if transport == 'upgrade' and version is not None:
                client.wait_for('upgrade')
        return client

    def __enter__(self) -> 'Clients':
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

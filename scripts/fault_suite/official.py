"""The official clients, as they come: the Python one in this process, the JavaScript one in Node.js."""

import json
import logging
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

import socketio
from engineio.payload import Payload
from socketio.exceptions import SocketIOError

from fault_suite.ledger import Receiver

CONNECT_WITHIN = 5
RETRY = 0.5

# On long-polling the library refuses more than 16 packets in an answer unless it is told to: its users have to as well.
Payload.max_decode_packets = 100_000
_QUIET = logging.Logger('socketio', logging.CRITICAL + 1)  # of course connections fail here


class PythonClient:
    """`socketio.Client` with its own reconnecting, resuming by `auth={'since': offset}`."""

    def __init__(self, url: str, receiver: Receiver, transports: list[str] | None) -> None:
        self._receiver = receiver
        self._offset: str | None = None
        self._ended = threading.Event()
        self._client = self._make()
        threading.Thread(target=self._run, args=(url, transports), daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        self._client.shutdown()

    def _make(self) -> socketio.Client:
        receiver = self._receiver
        client = socketio.Client(handle_sigint=False, logger=_QUIET, engineio_logger=_QUIET)
        client.on('connect', lambda: receiver.opened())
        client.on('disconnect', lambda reason: receiver.closed())
        client.on('cursor', self._keep)
        client.on('eventReminder', lambda *arguments: receiver.reminder(arguments, time.time()))
        client.on('replayed', lambda *arguments: receiver.replayed(arguments))
        return client

    def _run(self, url: str, transports: list[str] | None) -> None:
        while not self._ended.is_set():
            with suppress(SocketIOError, ValueError):
                self._client.connect(url, auth=self._auth, transports=transports, wait_timeout=CONNECT_WITHIN)
                self._client.wait()
            # Its own reconnecting ends with a server's good-bye (a CLOSE packet), and it stays connected, as it thinks,
            # where a connection breaks just as it was made.
            self._client.shutdown()
            self._receiver.closed()
            self._ended.wait(RETRY)
            self._client = self._make()

    def _auth(self) -> dict[str, str]:
        self._receiver.opening(self._offset)
        return {} if self._offset is None else {'since': self._offset}

    def _keep(self, offset: str) -> None:
        self._offset = offset
        self._receiver.knows_offset = True


class NodeProcess(ABC):
    """A client in a Node.js process of its own, which tells what happens to it as JSON lines."""

    def __init__(self, script: Path, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            ['node', script, *arguments],
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, message: Any) -> None:
        """Writes a JSON line to the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + '\n')
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, name, *arguments = json.loads(line)
            self.handle(name, arguments, at / 1000)

    @abstractmethod
    def handle(self, name: str, arguments: list[Any], at: float) -> None:
        """Takes what the process tells: what happened, and when (s since 1970)."""


class JavaScriptClient(NodeProcess):
    """An unmodified socket.io-client."""

    def __init__(self, url: str, receiver: Receiver, module: Path, transports: list[str]) -> None:
        """`module` is the installed package's folder."""
        self._receiver = receiver
        self._offset: str | None = None
        script = Path(__file__).with_name('client.cjs')
        super().__init__(script, module.absolute(), url, ','.join(transports))

    def handle(self, name: str, arguments: list[Any], at: float) -> None:
        match name:
            case 'connect':
                self._receiver.opening(self._offset)
                self._receiver.opened(recovered=arguments == [True])
            case 'disconnect':
                self._receiver.closed()
            case 'cursor':
                self._keep(arguments[0])
            case 'eventReminder':
                self._receiver.reminder(arguments, at)
            case 'replayed':
                self._receiver.replayed(arguments)

    def _keep(self, offset: str) -> None:
        self._offset = offset
        self._receiver.knows_offset = True


def find_javascript(folder: Path) -> tuple[Path, str] | None:
    """The package socket.io-client in `folder` and its version; None where it or Node.js is not there."""
    module = folder / 'socket.io-client'
    try:
        version = json.loads((module / 'package.json').read_text())['version']
    except OSError:
        return None
    return (module, version) if shutil.which('node') else None

"""Clients over a WebSocket by hand: those that are reminded, and those that ask for events without a pause."""

import itertools
import json
import random
import threading
import time
from typing import Any

import websocket

from fault_suite.ledger import Ledger, Receiver
from fault_suite.servers import MINUTE, SILENCE, Clock, wall

RETRY = (0.1, 0.5)
"""Between which numbers of seconds a client waits before it connects again."""
TICK = 0.05
BURST = 10
"""How many times as often events are asked for in the last second before a minute, to be late for it now and then."""


class WebSocketClient:
    """Engine.IO 4 and Socket.IO 5 over a WebSocket, on a thread of its own; connects again until it is stopped."""

    def __init__(self, url: str) -> None:
        self._address = f'{url.replace("http", "ws", 1)}/socket.io/?EIO=4&transport=websocket'
        self._ended = threading.Event()
        self._socket: websocket.WebSocket | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        if self._socket is not None:
            self._socket.close(timeout=0)

    def connect_payload(self) -> dict[str, str]:
        """What CONNECT says."""
        return {}

    def on_connect(self, answer: dict[str, Any]) -> None:
        """The server took the connection."""

    def on_event(self, name: str, arguments: list[Any], at: float) -> None:
        """An event came, at that time."""

    def on_ack(self, number: int, arguments: list[Any]) -> None:
        """An answer came."""

    def on_disconnect(self) -> None:
        """The connection is gone, or was refused."""

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                # Silence for as long as the server has promised not to be silent means that it is gone.
                self._socket = websocket.create_connection(self._address, timeout=SILENCE)
                self._read(self._socket)
            except (OSError, ValueError, websocket.WebSocketException):
                pass  # whatever broke it: the next connection will tell what got lost
            finally:
                self.on_disconnect()
                if self._socket is not None:
                    self._socket.close(timeout=0)
            self._ended.wait(random.uniform(*RETRY))

    def _read(self, connection: websocket.WebSocket) -> None:
        while message := connection.recv():
            at = time.time()
            assert isinstance(message, str)
            if message.startswith('42'):
                name, *arguments = json.loads(message[2:])
                self.on_event(name, arguments, at)
            elif message.startswith('43'):
                number, bracket, rest = message[2:].partition('[')
                self.on_ack(int(number), json.loads(bracket + rest))
            elif message == '2':
                connection.send('3')
            elif message.startswith('0'):
                connection.send(f'40{json.dumps(self.connect_payload())}')
            elif message.startswith('40'):
                self.on_connect(json.loads(message[2:]))
            else:
                raise ValueError(f'unexpected: {message[:100]}')


class RawClient(WebSocketClient):
    """Is reminded. With `resumes` it does what the official JavaScript client does from 4.6 on: it gives back the `pid`
    that it was told and the last string that ended an event. Without, what older ones do: it knows nothing.
    """

    def __init__(self, url: str, receiver: Receiver, resumes: bool) -> None:
        self._receiver = receiver
        self._resumes = resumes
        self._pid: str | None = None
        self._offset: str | None = None
        super().__init__(url)

    def connect_payload(self) -> dict[str, str]:
        known = self._resumes and self._pid is not None and self._offset is not None
        self._receiver.opening(self._offset if known else None)
        return {'pid': str(self._pid), 'offset': str(self._offset)} if known else {}

    def on_connect(self, answer: dict[str, Any]) -> None:
        self._receiver.opened(recovered=answer.get('pid') == self._pid)
        self._pid = answer.get('pid')

    def on_event(self, name: str, arguments: list[Any], at: float) -> None:
        if name == 'eventReminder':
            self._receiver.reminder(arguments, at)
        elif name == 'replayed':
            self._receiver.replayed(arguments)
        if arguments and isinstance(arguments[-1], str):
            self._offset = arguments[-1]
            self._receiver.knows_offset = True

    def on_disconnect(self) -> None:
        if not self._ended.is_set():
            self._receiver.closed()


class Asker(WebSocketClient):
    """Asks for events of the next minutes, `rate` a second, up to the minute `last` (ms, by the servers' clock)."""

    def __init__(self, url: str, name: str, ledger: Ledger, clock: Clock, rate: float, last: int, seed: int) -> None:
        self._name = name
        self._ledger = ledger
        self._clock = clock
        self._rate = rate
        self._last = last
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._connected = threading.Event()
        super().__init__(url)
        threading.Thread(target=self._ask_on, daemon=True).start()

    def finish(self) -> int:
        """Asks for nothing more; returns the last minute (ms) that it may have asked for."""
        self._last = 0
        return self._clock.next_minute() + MINUTE

    def on_connect(self, answer: dict[str, Any]) -> None:
        self._connected.set()

    def on_disconnect(self) -> None:
        self._connected.clear()

    def on_ack(self, number: int, arguments: list[Any]) -> None:
        self._ledger.answered(self._event_name(number), arguments[0] if len(arguments) == 1 else arguments)

    def _ask_on(self) -> None:
        owed = 0.0
        while not self._ended.wait(TICK):
            if not self._connected.is_set():
                continue
            now = self._clock.now()
            owed += self._rate * TICK * (BURST if -now % MINUTE < 1000 else 1)
            try:
                while owed >= 1:
                    owed -= 1
                    self._ask(now)
            except (OSError, websocket.WebSocketException):
                pass  # the thread that reads notices too, and connects again

    def _ask(self, now: int) -> None:
        """Asks for an event of the next minute, or, one time in three, of the one after; also when it is too late."""
        due = (now // MINUTE + 1 + (self._random.random() < 1 / 3)) * MINUTE
        if due > self._last or self._socket is None:
            return
        number = next(self._numbers)
        name = self._event_name(number)
        command = {'command': 'scheduleEvent', 'data': {'eventName': name, 'time': wall(due), 'timeZone': 'UTC'}}
        self._ledger.asked(name)
        self._socket.send(f'42{number}{json.dumps(["command", command])}')

    def _event_name(self, number: int) -> str:
        return f'{self._name} {number}'

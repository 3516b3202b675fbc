"""The servers as real processes, and their clock, which `faketime` can set while they run."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

HOST = '127.0.0.1'
MINUTE = 60_000
PING_INTERVAL, PING_TIMEOUT = 3, 4
"""Seconds. Short, so that clients notice within a run that a server has stopped."""
SILENCE = PING_INTERVAL + PING_TIMEOUT
READY_WITHIN = 20
"""Seconds for a server to start, or to be well again."""
STOPPED_WITHIN = 10
"""Seconds for a server to end in good order."""


class ServerError(Exception):
    """A server does what no fault explains: it ends by itself, or does not start."""


def wall(instant: int) -> str:
    """An instant (ms) as a wall clock in UTC shows it, in the form that `scheduleEvent` takes."""
    return f'{datetime.fromtimestamp(instant / 1000, UTC):%Y-%m-%d %H:%M}'


class Clock:
    """The wall clock by which the servers remind. Where `faketime` is there it can be set.

    `governs` is false where the servers correct their own clocks by the database's: setting them must change nothing.
    """

    def __init__(self, folder: Path, governs: bool) -> None:
        self._file = folder / 'clock'
        self._library = faketime_library()
        self._governs = governs
        self._set = 0.0
        self._furthest = 0
        self._offsets = [(0.0, 0.0)]

    @property
    def settable(self) -> bool:
        return self._library is not None

    def ahead(self, seconds: float) -> None:
        """Says how far the database's clock is ahead of this machine's, before anything began."""
        self._offsets = [(0.0, seconds)]

    def now(self) -> int:
        """What it shows (ms)."""
        return round((time.time() + self._offsets[-1][1]) * 1000)

    def next_minute(self) -> int:
        """The minute (ms) that begins next."""
        return (self.now() // MINUTE + 1) * MINUTE

    def behind(self) -> float:
        """How far (s) it is behind the latest moment that it has shown."""
        return max(0, self._furthest - self.now()) / 1000

    def step(self, seconds: float) -> None:
        """Sets it forward or back, at once."""
        self._furthest = max(self._furthest, self.now())
        self._set += seconds
        self._write()
        if self._governs:
            self._offsets.append((time.time(), self._offsets[-1][1] + seconds))

    def hasten(self, seconds: float) -> None:
        """Sets it forward, so that the next minute begins within `seconds`."""
        left = (self.next_minute() - self.now()) / 1000
        if left > seconds:
            self.step(left - seconds)

    def real(self, instant: int) -> float:
        """When (s), by this machine's clock, this one reaches `instant` (ms) for the first time."""
        reached = 0.0
        for number, (since, offset) in enumerate(self._offsets):
            reached = max(since, instant / 1000 - offset)
            if number + 1 < len(self._offsets) and reached < self._offsets[number + 1][0]:
                break
        return reached

    def environment(self) -> dict[str, str]:
        """What a process needs to have this clock; its monotonic clock and its files' times stay real."""
        if self._library is None:
            return {}
        self._write()
        # Of two names of one switch the first is known to older releases, the second to newer ones.
        names = ('DONT_FAKE_MONOTONIC', 'FAKETIME_DONT_FAKE_MONOTONIC', 'NO_FAKE_STAT', 'FAKETIME_NO_CACHE')
        return {
            'LD_PRELOAD': self._library,
            'FAKETIME_TIMESTAMP_FILE': str(self._file),
            # Else every wait for the interpreter's lock ends at once, and scheduling takes 20 times as long.
            'FAKETIME_FORCE_MONOTONIC_FIX': '0',
            **dict.fromkeys(names, '1'),
        }

    def _write(self) -> None:
        new = self._file.with_suffix('.new')
        new.write_text(f'{self._set:+.3f}s\n')
        new.replace(self._file)  # in one step, as the servers read it at any time


@cache
def faketime_library() -> str | None:
    """The library that `faketime` preloads; None where it is not there."""
    ask = ['faketime', '-f', '+0', 'printenv', 'LD_PRELOAD']
    for _ in range(10):  # it fails where a process of the same number was killed before and left its files
        try:
            answer = subprocess.run(ask, capture_output=True, text=True)
        except OSError:
            return None
        if answer.stdout.strip():
            return answer.stdout.strip()
    return None


class Server:
    """A server process that can be ended and started again, on the same port."""

    def __init__(self, name: str, program: Path, folder: Path, clock: Clock, settings: Mapping[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.log = folder / f'server-{name}.log'
        self._program = program
        self._folder = folder
        self._clock = clock
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of the process, once it was started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the process; does not wait for it."""
        environment = os.environ | self._settings | self._clock.environment()
        environment |= {
            'HOST': HOST,
            'PORT': str(self.port),
            'PING_INTERVAL': str(PING_INTERVAL),
            'PING_TIMEOUT': str(PING_TIMEOUT),
            'REPLAY_LIMIT': '1000000',  # what was cut off on purpose would not be lost
        }
        with self.log.open('ab') as log:
            self._process = subprocess.Popen(
                [sys.executable, self._program],
                cwd=self._folder,  # where no .env is
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the suite, which ends what it has started
            )

    def wait_until_ready(self) -> None:
        """Raises ServerError if that lasts too long."""
        deadline = time.monotonic() + READY_WITHIN
        while (why := self._unready()) is not None:
            self.check()
            if time.monotonic() > deadline:
                raise ServerError(f'server {self.name} is not ready after {READY_WITHIN} s: {why}')
            time.sleep(0.05)

    def _unready(self) -> str | None:
        try:
            with urllib.request.urlopen(f'http://{HOST}:{self.port}/readyz', timeout=READY_WITHIN):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode(errors='replace').strip()
        except OSError as error:
            return str(error)

    def check(self) -> None:
        """Raises ServerError if it has ended by itself."""
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise ServerError(f'server {self.name} ended by itself with {code}')

    def kill(self) -> None:
        """`kill -9`."""
        self.check()
        self.clean_up()

    def terminate(self) -> None:
        """Asks it to end, and waits for that. Raises ServerError if it does not in time, or fails."""
        self.check()
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            raise ServerError(f'server {self.name} does not end within {STOPPED_WITHIN} s of SIGTERM') from None
        if code != 0:
            raise ServerError(f'server {self.name} answered SIGTERM with exit code {code}')

    def pause(self, paused: bool) -> None:
        """Suspends the process, as a laptop that is closed does, or lets it go on."""
        self.check()
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def clean_up(self) -> None:
        """Ends the process at once, whatever its state."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def start(servers: Sequence[Server]) -> None:
    """Starts servers together and returns when they are ready. Raises ServerError."""
    for server in servers:
        server.start()
    for server in servers:
        server.wait_until_ready()


def free_port() -> int:
    """A port on which nobody listens, below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port

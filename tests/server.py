"""A real server process for tests: `scripts/run_server.py` on a free port, with files of its own and a clock to choose.

Reminders are due when a minute begins, and tests do not wait for minutes: with `clock` the process runs under
`faketime`, which moves its wall clock (never the monotonic one, so its timers keep their pace). `skip_to` moves it
further while the server is down. Clients live in real time; it is the server's clock that decides.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NoReturn, Self

import pytest

ROOT = Path(__file__).parents[1]
MINUTE = 60_000
SETTINGS = (
    'PORT HOST DATABASE_URL MONGODB_URI DB_HOST DB_PORT DB_NAME DB_USER DB_PASSWORD DB_AUTHSOURCE DYNO CORS_ORIGINS '
    'PING_INTERVAL PING_TIMEOUT RECOVERY_WINDOW REPLAY_LIMIT RETENTION_DAYS MAX_CONNECTIONS COMMAND_RATE_LIMIT '
    'AUTH_SECRET AUTH_PUBLIC_KEY AUTH_AUDIENCE AUTH_ISSUER ADMIN_UI_USERNAME ADMIN_UI_PASSWORD TRUSTED_PROXIES '
    'LOG_LEVEL LOG_FORMAT'
).split()


def missing(what: str) -> NoReturn:
    """Ends a test that needs `what`: a skip on a laptop, a failure where CI promised to have it."""
    (pytest.fail if os.environ.get('CI') else pytest.skip)(f'{what} is missing')


def free_port() -> int:
    """A TCP port on which nobody listens.

    It lies below the range from which the system numbers outgoing connections: a client that tries again and again
    to reach a server that is down could otherwise be given that very port, and hold it.
    """
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
        return port


def millis(moment: str) -> int:
    """`'YYYY-MM-DD HH:mm:ss'` in UTC as an instant (ms since 1970)."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)


def wall(instant: int) -> str:
    """An instant (ms, UTC) as the wall clock in UTC shows it, in the form that `scheduleEvent` takes."""
    return (datetime(1970, 1, 1) + timedelta(milliseconds=instant)).strftime('%Y-%m-%d %H:%M')


@cache
def _faketime_library() -> str | None:
    ask = ['faketime', '-m', '-f', '+0', 'printenv', 'LD_PRELOAD']
    for _ in range(10):  # it fails where a process of the same number was killed before and left its files
        try:
            answer = subprocess.run(ask, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        if answer.stdout.strip():
            return answer.stdout.strip()
    return None


class Server:
    """One server with its port, folder, settings and clock; it can be started, ended and started again.

    `settings` are environment variables; the database is a SQLite file in `folder` unless `DATABASE_URL` is among
    them. `clock` (`'YYYY-MM-DD HH:mm:ss'`, UTC) is what its wall clock shows now; None is real time.
    """

    program = ROOT / 'scripts' / 'run_server.py'
    """What is run."""

    def __init__(self, folder: Path, clock: str | None = None, **settings: str):
        self.folder = folder
        self.port = int(settings.get('PORT') or free_port())
        self.settings = {'PORT': str(self.port), 'DATABASE_URL': f'sqlite:///{folder / "events.db"}', **settings}
        self._stdout = folder / 'stdout.log'
        self._stderr = folder / 'stderr.log'
        self._offset = 0
        if clock:
            self.skip_to(millis(clock))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}'

    # The clock

    def now(self) -> int:
        """What the server's wall clock shows (ms, UTC)."""
        return int(time.time() * 1000) + self._offset

    @property
    def ahead(self) -> float:
        """How far its clock is ahead of real time (s)."""
        return self._offset / 1000

    def next_minute(self, margin: float = 2) -> int:
        """The first minute (ms, UTC) that begins `margin` seconds from now or later."""
        return -(-(self.now() + int(margin * 1000)) // MINUTE) * MINUTE

    def skip_to(self, instant: int) -> None:
        """Moves the clock to `instant` (ms, UTC) for the next start; nothing happens to a process that runs."""
        self._offset += instant - self.now()

    def wait_until(self, instant: int) -> None:
        """Sleeps until the server's clock shows `instant` (ms, UTC)."""
        time.sleep(max(0, instant - self.now()) / 1000)

    # The process

    def start(self, ready: str | None = '/readyz', within: float = 30) -> Self:
        """Starts the process and returns when a GET of the path `ready` is answered 200 (None: at once)."""
        with self._stdout.open('ab') as stdout, self._stderr.open('ab') as stderr:
            self._process = subprocess.Popen(
                [sys.executable, self.program],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        if ready is not None:
            self.wait_for(ready, 200, within)
        return self

    def environment(self) -> dict[str, str]:
        """That of its process, with its settings and its clock."""
        environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        environment |= {'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1', **self.settings}
        if self._offset:
            library = _faketime_library() or missing('faketime')
            environment |= {'LD_PRELOAD': library, 'FAKETIME': f'{self.ahead:+.3f}s', 'NO_FAKE_STAT': '1'}
            # Two names of one switch, in newer and in older releases.
            environment |= {'FAKETIME_DONT_FAKE_MONOTONIC': '1', 'DONT_FAKE_MONOTONIC': '1'}
            # Else each wait for a lock with a time limit (CPython's own, too) returns at once, and threads spin.
            environment |= {'FAKETIME_FORCE_MONOTONIC_FIX': '0'}
        return environment

    def wait_for(self, path: str, status: int, within: float = 30) -> None:
        """Asks for `path` until the answer has `status`; an early end of the process or `within` seconds fail."""
        deadline = time.monotonic() + within
        while (answer := self.status(path)) != status:
            if not self.running:
                raise AssertionError(f'the server ended with {self.exit_code()}:\n{self.log()}')
            if time.monotonic() > deadline:
                raise AssertionError(f'{path} still answers {answer}, not {status}:\n{self.log()}')
            time.sleep(0.05)

    def status(self, path: str) -> int | None:
        """The HTTP status of a GET of `path`; None where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def exit_code(self, within: float = 15) -> int:
        """Waits until the process has ended; what it ended with."""
        assert self._process is not None
        return self._process.wait(within)

    def kill(self) -> None:
        """`kill -9`: the process has no moment to put anything in order."""
        self.signal(signal.SIGKILL)
        self.exit_code()

    def terminate(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Asks the process to end; returns its exit code and how many seconds it took."""
        begin = time.monotonic()
        self.signal(how)
        return self.exit_code(), time.monotonic() - begin

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None
        return self._process.pid

    def signal(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)

    def stderr(self) -> str:
        """All that its processes have written to stderr so far."""
        return self._stderr.read_text(errors='replace')

    def log(self) -> str:
        """All that its processes have written to stdout and stderr so far."""
        return self._stdout.read_text(errors='replace') + self.stderr()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.running:
            return
        try:
            self.terminate()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

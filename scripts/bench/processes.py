"""The processes of a benchmark, each pinned to a core and ended with it: the load, our server, and its peers.

Instants are ns since 1970 by this machine's clock, which is the load's; a server that is ours may run by another.
"""

import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar('T')

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
START = 30.0
"""Seconds that a server may take to start."""
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


class BenchmarkError(Exception):
    """A run that failed, or something that is missing for it; its text is one line."""


def build(folder: Path) -> Path:
    """Compiles the load program into `folder`; returns its path."""
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        raise BenchmarkError('the load program needs a C compiler (gcc), which is missing')
    program = folder / 'load'
    compiled = subprocess.run([compiler, '-O2', '-o', program, HERE / 'load.c'], capture_output=True, text=True)
    if compiled.returncode:
        raise BenchmarkError(f'{compiler} failed: {compiled.stderr.strip()}')
    return program


def install_node_peer() -> None:
    """Installs socket.io where it is not, or not in the version that the lock file names."""
    if not shutil.which('node') or not shutil.which('npm'):
        raise BenchmarkError('Node.js with npm is missing')
    lock, installed = HERE / 'package-lock.json', HERE / 'node_modules' / '.package-lock.json'
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = subprocess.run(['npm', 'ci', '--no-audit', '--no-fund'], cwd=HERE, capture_output=True, text=True)
    if npm.returncode:
        raise BenchmarkError(f'npm ci failed: {npm.stderr.strip()}')


@cache
def faketime_library() -> str:
    """What LD_PRELOAD has to be, by the `faketime` command."""
    if not shutil.which('faketime'):
        raise BenchmarkError('faketime is missing: install it, or choose --clock real')
    for _ in range(10):  # it fails where an earlier process of the same number left its files
        told = subprocess.run(['faketime', '-f', '+0', 'printenv', 'LD_PRELOAD'], capture_output=True, text=True)
        if told.returncode == 0:
            return told.stdout.strip()
    raise BenchmarkError(f'faketime does not work: {told.stderr.strip()!r}; choose --clock real')


def _free_port() -> int:
    """A free port below the range from which the system numbers the load's connections."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(('127.0.0.1', port))
            return port


def spawn(command: Sequence[str | Path], core: int, **options: Any) -> subprocess.Popen[str]:
    """Starts a process on one core, which ends when this one does, however that ends.

    Where the system permits it (to root) it goes before other programs on that core. Linux compares the sessions of
    processes first (autogroup), so it gets a session of its own.
    """

    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
            Path('/proc/self/autogroup').write_text('-20')
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(command, text=True, start_new_session=True, preexec_fn=prepare, **options)


class Load:
    """The load program, connected to no server yet. Its commands are explained in `load.c`."""

    def __init__(self, program: Path, core: int, port: int) -> None:
        self._process = spawn([program, str(port)], core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def connect(self, count: int, in_flight: int, reminders: int = 0, payload: str = '') -> float:
        """Connects `count` more clients; the seconds until all had their answer to CONNECT and that many reminders."""
        answer = self._ask(f'connect {count} {in_flight} {reminders} {payload}')
        if answer['connected'] != count:
            raise BenchmarkError(f'{answer["connected"]} of {count} clients connected in {answer["seconds"]:.0f} s')
        return float(answer['seconds'])

    def schedule(self, count: int, connections: int, window: int, wall: str) -> dict[str, float]:
        """Schedules `count` events for the wall-clock time `wall` (UTC)."""
        answer = self._ask(f'schedule {count} {connections} {window} {wall}')
        if answer['answered'] != count or answer['failed']:
            raise BenchmarkError(f'{answer["answered"]} of {count} schedules answered, {answer["failed"]} by failures')
        return answer

    def expect(self, reminders: int, due: int, seconds: float) -> None:
        """Begins to wait for that many reminders to each client, until `seconds` after `due` (ns) at most."""
        self._ask(f'expect {reminders} {due} {seconds}')

    def batch(self) -> dict[str, float]:
        """The result of what `expect` began."""
        answer = self._answer()
        if answer['complete'] != answer['clients']:
            raise BenchmarkError(f'{answer["complete"]} of {answer["clients"]} clients got all reminders')
        if answer['reminders'] != answer['clients'] * (answer['reminders'] // answer['clients']):
            raise BenchmarkError('some clients got reminders twice')
        return answer

    def recovery(self) -> str:
        """The CONNECT payload with which the first client would resume."""
        answer = self._ask('cursor')
        return json.dumps({'pid': answer['pid'], 'offset': answer['offset']})

    def disconnect(self) -> None:
        self._ask('disconnect')

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError('the load program ended')
        answer: dict[str, Any] = json.loads(line)
        if answer.get('lost') or answer.get('problem'):
            raise BenchmarkError(f'{answer["lost"]} clients lost: {answer["problem"]}')
        return answer


class Server:
    """A server process with a folder of its own for what it writes. Peers are due at whole seconds."""

    unit = SECOND
    wall_format = '%Y-%m-%d %H:%M:%S'

    def __init__(self, command: Sequence[str | Path], core: int, folder: Path) -> None:
        self.port = _free_port()
        self._command = command
        self._core = core
        self._log = folder / 'log'
        self._folder = folder
        self._process: subprocess.Popen[str]

    @contextmanager
    def running(self, lead: float) -> Iterator[Self]:
        """Runs it for the length of a block; where its clock can be chosen, a minute begins in `lead` seconds."""
        with self._log.open('w') as log:
            self._process = spawn(
                self._arguments(),
                self._core,
                cwd=self._folder,
                env=self._environment(lead),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + START
            while not self._ready():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BenchmarkError(f'the server did not start: {self._log.read_text()[-500:]!r}')
                time.sleep(0.02)
            yield self
        finally:
            self._process.kill()
            self._process.wait()
            for name in ('faketime_shm', 'sem.faketime_sem'):  # a killed process leaves them
                Path(f'/dev/shm/{name}_{self._process.pid}').unlink(missing_ok=True)

    def _arguments(self) -> list[str | Path]:
        return [*self._command, str(self.port)]

    def _environment(self, lead: float) -> dict[str, str]:
        # Nothing else, so that no setting of whoever runs this has a say.
        return {name: os.environ[name] for name in ('PATH', 'HOME', 'LANG') if name in os.environ}

    def _ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', self.port)) == 0

    # The clock

    def ahead(self) -> int:
        """How many ns the server's clock is ahead of this machine's."""
        return 0

    def due(self, margin: float) -> tuple[int, str]:
        """The next instant, at least `margin` seconds from now, for which events can be scheduled, and how it is
        written as a wall-clock time."""
        ahead = self.ahead()
        instant = -(-(time.time_ns() + ahead + round(margin * SECOND)) // self.unit) * self.unit
        return instant - ahead, datetime.fromtimestamp(instant / SECOND, UTC).strftime(self.wall_format)

    # What it uses

    def cpu(self) -> float:
        """Seconds that its living threads have run so far."""
        tasks = self._asked('task', lambda folder: [(task / 'schedstat').read_text() for task in folder.iterdir()])
        return sum(int(task.split()[0]) for task in tasks) / SECOND

    def memory(self) -> float:
        """KiB of memory that are its own, or its part of what is shared (PSS)."""
        lines = self._asked('smaps_rollup', Path.read_text).splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith('Pss:'))

    def _asked(self, name: str, question: Callable[[Path], T]) -> T:
        try:
            return question(Path(f'/proc/{self._process.pid}/{name}'))
        except OSError as exc:
            raise BenchmarkError(f'the server ended: {self._log.read_text()[-500:]!r}') from exc

    def settle(self) -> None:
        """Waits until it has nothing more to do."""
        before, deadline = self.cpu(), time.monotonic() + START
        while time.monotonic() < deadline:
            time.sleep(0.2)
            after = self.cpu()
            if after - before < 0.01:
                return
            before = after

    def collect_garbage(self) -> None:
        """Does at once what would be done sooner or later: the peers understand this signal."""
        self._process.send_signal(signal.SIGUSR2)


class Ours(Server):
    """Our server with its default settings, on a database of its own."""

    unit = MINUTE
    wall_format = '%Y-%m-%d %H:%M'

    def __init__(self, core: int, folder: Path, *, fake: bool, database_url: str | None = None) -> None:
        """`fake`: its clock is set so that nobody has to wait for a whole minute."""
        super().__init__([sys.executable, ROOT / 'scripts' / 'run_server.py'], core, folder)
        self._fake = fake
        self._database_url = database_url or f'sqlite:///{folder / "events.db"}'
        self._ahead = 0

    def _arguments(self) -> list[str | Path]:
        return list(self._command)

    def _environment(self, lead: float) -> dict[str, str]:
        environment = super()._environment(lead) | {
            'PYTHONPATH': str(ROOT),
            'PORT': str(self.port),
            'DATABASE_URL': self._database_url,
            # The load is one client that does what hundreds would.
            'COMMAND_RATE_LIMIT': '0',
        }
        if self._fake:
            milliseconds = -(time.time_ns() + round(lead * SECOND)) % MINUTE // 1_000_000
            self._ahead = milliseconds * 1_000_000
            environment |= {
                'LD_PRELOAD': faketime_library(),
                'FAKETIME': f'+{milliseconds / 1000:.3f}s',
                'NO_FAKE_STAT': '1',
                # Two names of one switch, in newer and in older releases.
                'FAKETIME_DONT_FAKE_MONOTONIC': '1',
                'DONT_FAKE_MONOTONIC': '1',
                # Its fix-up of monotonic waits makes each hand-over to a thread take 100 ms.
                'FAKETIME_FORCE_MONOTONIC_FIX': '0',
            }
        return environment

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{self.port}/readyz', timeout=5) as response:
                return int(response.status) == 200
        except OSError:
            return False

    def ahead(self) -> int:
        return self._ahead

    def collect_garbage(self) -> None:
        """Nothing: it is measured as it is."""

"""The server under attack, and what the system tells of its process."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.server import Server

HERE = Path(__file__).parent
PATIENCE = 10.0
MEBIBYTE = 1_048_576
_LOG_LINE = re.compile(r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=(info|warning) logger=[a-z._]+ ')


class Fortress(Server):
    """A server that can be looked into from outside."""

    program = HERE / 'launcher.py'

    def memory(self) -> float:
        """What it holds of the machine's memory (MiB)."""
        return self._status('VmRSS')

    def peak(self) -> float:
        """The most that it held since `forget_peak` (MiB)."""
        return self._status('VmHWM')

    def forget_peak(self) -> None:
        (self._proc / 'clear_refs').write_text('5')

    def files(self) -> int:
        """How many descriptors it has open."""
        return sum(1 for _ in (self._proc / 'fd').iterdir())

    def census(self) -> dict[str, int]:
        """What lives in it; see `launcher.py`."""
        answer = self.folder / 'census.json'
        answer.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)
        wait_until(answer.exists, 'the census')
        census: dict[str, int] = json.loads(answer.read_text())
        return census

    def complaints(self) -> list[str]:
        """The lines of its log that no server should write: errors, tracebacks, and what is no line of its own."""
        return [line for line in self.log().splitlines() if not _LOG_LINE.match(line)]

    @property
    def _proc(self) -> Path:
        return Path(f'/proc/{self.pid}')

    def _status(self, name: str) -> float:
        for line in (self._proc / 'status').read_text().splitlines():
            if line.startswith(f'{name}:'):
                return int(line.split()[1]) / 1024
        raise AssertionError(f'no {name}')


class Canary:
    """`canary.py` in a process of its own, for the time of a `with` block; after it `report` is what it saw."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, '-I', '-S', HERE / 'canary.py', str(self._server.port), str(self._server.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == 'ready\n', self._process.stderr.read()  # type: ignore[union-attr]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        report, complaint = self._process.communicate()
        if error is None:
            assert self._process.returncode == 0, complaint
            self.report = json.loads(report)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Returns when the condition holds; fails with `what` if it does not for long."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)

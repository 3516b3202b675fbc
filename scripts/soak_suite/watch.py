"""What the server's process and its log show from outside, and what of that is wrong."""

import re
import resource
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

INTERVAL = 1.0
"""Seconds between two samples."""
MEMORY = 16 * 1024
"""KiB by which the last quarter's median may lie above the second's: the pages of the log that are kept in memory (up
to 64 MiB, after which the oldest go) become more for as long as a soak lasts."""
FILES = 4
"""How many more files may be open in the end than before: honest clients on long-polling come and go."""
ANSWER = 5.0
"""Seconds within which each honest command has to be answered: more is a hang, however busy the machine is."""
_LINE = re.compile(r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=(?:info|warning) logger=reminder[\w.]* ')
_PAGE = resource.getpagesize() // 1024


class Sample(NamedTuple):
    """What a process holds."""

    memory: int
    """KiB."""
    files: int


def sample(pid: int) -> Sample:
    """What the process holds now. Raises OSError where it is gone, or where the system has no /proc."""
    process = Path('/proc', str(pid))
    return Sample(int((process / 'statm').read_text().split()[1]) * _PAGE, len(list((process / 'fd').iterdir())))


class Watch:
    """Takes samples of a process until it is stopped."""

    def __init__(self, pid: int) -> None:
        """Raises OSError where there is nothing to see."""
        self._pid = pid
        self.before = sample(pid)
        self.samples: list[Sample] = []
        self._stopped = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def settle(self, within: float) -> Sample:
        """What the process holds once it is calm again, or after so many seconds."""
        deadline = time.monotonic() + within
        while (now := sample(self._pid)).files > self.before.files + FILES and time.monotonic() < deadline:
            time.sleep(0.1)
        return now

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            try:
                self.samples.append(sample(self._pid))
            except OSError:
                return  # it has ended, which others notice


def growth(samples: Sequence[Sample]) -> tuple[float, float]:
    """The median memory (KiB) of the second quarter and of the last one; the first is for warming up."""
    quarter = max(1, len(samples) // 4)
    memory = [one.memory for one in samples]
    return median(memory[quarter : 2 * quarter] or memory), median(memory[-quarter:])


def wrong_with_process(samples: Sequence[Sample], before: Sample, after: Sample) -> list[str]:
    """What is wrong with what a process held before, while and after it was attacked."""
    problems = []
    second, last = growth(samples)
    if last - second > MEMORY:
        problems.append(f'memory grew from {second / 1024:.1f} to {last / 1024:.1f} MiB')
    if after.files > before.files + FILES:
        problems.append(f'{after.files} files are open, and {before.files} were before the attack')
    return problems


def wrong_with_answers(times: Sequence[float]) -> list[str]:
    """What is wrong with how long (s) honest clients waited for answers."""
    if not times:
        return ['no honest command was answered']
    return [f'an honest command was answered after {max(times):.2f} s'] if max(times) > ANSWER else []


def wrong_with_log(lines: Iterable[str]) -> list[str]:
    """The lines of a server's log that are no plain notice: errors, tracebacks, and what was printed past the log."""
    return [f'in the log: {line.rstrip()}' for line in lines if not _LINE.match(line)]

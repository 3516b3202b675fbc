"""Gates before work that takes long, so that those who ask for much of it leave enough for the others."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Semaphore

from reminder.errors import Busy


class Gate:
    """Lets in a few at a time; a few more may wait."""

    def __init__(
        self,
        inside: int,
        waiting: int,
        rest: float = 0.0,
        sleep: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`inside` are let in at a time, and so many more may wait. A place that becomes free rests `rest` times as
        long as it was taken: who takes it next sleeps so many seconds before, while who had it is on his way."""
        self._most = inside + waiting
        self._places = Semaphore(inside)
        self._rested = deque([-math.inf] * inside)
        """From when on the free places may be taken."""
        self._rest = rest
        self._sleep = sleep
        self._clock = clock
        self._there = 0
        self.refused = 0
        """How many were not let in."""

    @contextmanager
    def pass_through(self, patient: bool = False) -> Iterator[None]:
        """Waits until it is one's turn. Raises Busy where too many wait already, but not for who is `patient`: whoever
        has changed something by now must not be told that it has failed."""
        if self._there >= self._most and not patient:
            self.refused += 1
            raise Busy
        self._there += 1
        try:
            with self._places, self._rested_place():
                yield
        finally:
            self._there -= 1

    @contextmanager
    def _rested_place(self) -> Iterator[None]:
        rested = self._rested.popleft()
        try:
            if (left := rested - self._clock()) > 0:
                self._sleep(left)
            begun = self._clock()
            try:
                yield
            finally:
                end = self._clock()
                rested = end + self._rest * (end - begun)
        finally:
            self._rested.append(rested)

"""Gates before work that takes long, so that those who ask for much of it leave enough for the others."""

import time
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
        rest: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`inside` are let in at a time, and so many more may wait. Each is followed by a rest of as many seconds as it
        took, in which nobody takes its place."""
        self._most = inside + waiting
        self._places = Semaphore(inside)
        self._rest = rest
        self._clock = clock
        self._there = 0
        self.refused = 0
        """How many were not let in."""

    @contextmanager
    def pass_through(self) -> Iterator[None]:
        """Waits until it is one's turn. Raises Busy where too many wait already."""
        if self._there >= self._most:
            self.refused += 1
            raise Busy('too many ask for the same just now; please try again later')
        self._there += 1
        try:
            with self._places:
                begun = self._clock()
                try:
                    yield
                finally:
                    self._rest(self._clock() - begun)
        finally:
            self._there -= 1

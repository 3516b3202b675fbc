"""A gate before work that takes the processor for long, so that those who ask for it leave the others enough."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from reminder.errors import InvalidInput

WAITING = 64
"""Who may wait at the gate; more are turned away."""
REST = 3
"""How long it is shut after each, in times of what that took: so all of them together take a quarter of the time."""


class Gate:
    """Lets in one at a time."""

    def __init__(self, rest: Callable[[float], None], clock: Callable[[], float] = time.perf_counter) -> None:
        """`rest` waits for some seconds, while others work."""
        self._rest = rest
        self._clock = clock
        self._turn = Lock()
        self._waiting = 0

    @contextmanager
    def pass_through(self) -> Iterator[None]:
        """Waits until it is one's turn. Raises InvalidInput where too many wait already."""
        if self._waiting >= WAITING:
            raise InvalidInput("too many want to 'repeat' just now; please try again later")
        self._waiting += 1
        try:
            with self._turn:
                begun = self._clock()
                try:
                    yield
                finally:
                    self._rest(REST * (self._clock() - begun))
        finally:
            self._waiting -= 1

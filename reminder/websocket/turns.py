"""Turns: whatever takes long, or comes in crowds, lets all others go in between."""

from collections import deque
from typing import Any

import gevent
from gevent.hub import Waiter

SOON = 1e-6
"""Seconds until the next look at the network; 0 would be before it, as the loop looks only after many callbacks."""


def give_turn() -> None:
    """Lets all others do what they can, and what has come by the network be read."""
    gevent.sleep(SOON)


class Turnstile:
    """Lets some through between two looks at the network; of a crowd, all others would have to wait for the last.

    Who came first goes first: with gevent's semaphores, who has just been through and comes again overtakes.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: deque[Waiter] = deque()  # one for each greenlet
        self._timer: Any = None

    def go_through(self) -> None:
        """Waits for a turn; a moment, where there is no crowd."""
        waiter = Waiter()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            self._open_soon()
        waiter.get()

    def _open_soon(self) -> None:
        if self._timer is None:
            self._timer = gevent.get_hub().loop.timer(SOON)
        self._timer.start(self._open)

    def _open(self) -> None:
        passing = [self._waiting.popleft() for _ in range(min(self._at_once, len(self._waiting)))]
        if self._waiting:
            self._open_soon()
        for waiter in passing:
            waiter.switch(None)

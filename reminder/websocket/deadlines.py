"""Many deadlines with few different delays, kept by one greenlet.

A greenlet or a timer for each client's ping costs 8 KiB and a wake-up; here a deadline costs a tuple.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

logger = logging.getLogger(__name__)

RESOLUTION = 0.01
"""Seconds that deadlines may be late, so that those of many clients share a wake-up."""


class Deadlines:
    """Calls functions in the hub's thread some seconds from now. They must not block, and cannot be cancelled."""

    def __init__(self) -> None:
        # As all deadlines of one delay come in the order they were set, a queue for each delay is a sorted list. Each
        # session and each connection has a few of them at a time.
        self._queues: dict[float, deque[tuple[float, Callable[..., None], tuple[Any, ...]]]] = {}
        self._changed = Event()
        self._greenlet: gevent.Greenlet | None = None

    def after(self, delay: float, function: Callable[..., None], *args: Any) -> None:
        """Calls `function(*args)` in `delay` seconds (monotonic). Few different delays may be used in all."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        queue = self._queues.get(delay)
        if queue is None:
            queue = self._queues[delay] = deque()
        if not queue:
            self._changed.set()
        queue.append((time.monotonic() + delay, function, args))

    def close(self) -> None:
        """Forgets all deadlines."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self._queues.clear()

    def _run(self) -> None:
        while True:
            first = min((queue[0][0] for queue in self._queues.values() if queue), default=None)
            self._changed.clear()
            self._changed.wait(None if first is None else max(RESOLUTION, first - time.monotonic()))
            now = time.monotonic()
            for queue in list(self._queues.values()):
                while queue and queue[0][0] <= now:
                    _call(*queue.popleft()[1:])


def _call(function: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Its arguments, which may be of a session, end with it: `_run` would keep them until the next deadline."""
    try:
        function(*args)
    except Exception:
        logger.exception('a deadline failed', {'event': 'deadline_failed'})

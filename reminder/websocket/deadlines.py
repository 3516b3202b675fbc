"""Many deadlines, kept by one greenlet.

A greenlet or a timer for each client's ping costs 8 KiB and a wake-up; here a deadline costs a quarter of one KiB.
"""

import logging
import math
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

import gevent
from gevent.event import Event

logger = logging.getLogger(__name__)

RESOLUTION = 0.01
"""Seconds that deadlines may be late, so that those of many clients share a wake-up."""
SPARE = 64
"""Cancelled deadlines that are kept at least, so that few of them are no reason to go through all."""


class Deadline:
    """What is called when its time has come, unless it was cancelled."""

    __slots__ = ('_arguments', '_deadlines', '_function')

    def __init__(self, deadlines: 'Deadlines', function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._deadlines = deadlines
        self._function: Callable[..., None] | None = function
        self._arguments = arguments

    @property
    def is_set(self) -> bool:
        """Whether it is still to come."""
        return self._function is not None

    def cancel(self) -> None:
        """Lets go of what it is for. Does nothing where it is over."""
        if self._function is not None:
            self._function, self._arguments = None, ()
            self._deadlines.count_cancelled()

    def call(self) -> None:
        """Calls what it is for, which ends with it: a session would else be kept until the next deadline."""
        function, arguments = self._function, self._arguments
        self._function, self._arguments = None, ()
        assert function is not None
        try:
            function(*arguments)
        except Exception:
            logger.exception('a deadline failed', {'event': 'deadline_failed'})


class Deadlines:
    """Calls functions in the hub's thread some seconds from now. They must not block."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        """By time, and then by number. A few of each session and connection, which cancel theirs when they end; those
        that were cancelled stay until they are half of all."""
        self._numbers = count()
        self._cancelled = 0
        self._next = math.inf
        """When the greenlet wakes up."""
        self._changed = Event()
        self._greenlet: gevent.Greenlet | None = None

    def after(self, delay: float, function: Callable[..., None], *args: Any) -> Deadline:
        """Calls `function(*args)` in `delay` seconds (monotonic)."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        deadline, due = Deadline(self, function, args), time.monotonic() + delay
        heappush(self._heap, (due, next(self._numbers), deadline))
        if due < self._next:
            self._changed.set()
        return deadline

    def close(self) -> None:
        """Forgets all deadlines."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self._heap.clear()

    def count_cancelled(self) -> None:
        """A deadline's word that it was cancelled."""
        self._cancelled += 1
        if self._cancelled > SPARE + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].is_set]
            heapify(self._heap)
            self._cancelled = 0

    def _run(self) -> None:
        while True:
            self._next = self._heap[0][0] if self._heap else math.inf
            self._changed.clear()
            self._changed.wait(max(RESOLUTION, self._next - time.monotonic()) if self._heap else None)
            now = time.monotonic()
            while self._heap and self._heap[0][0] <= now:
                self._pass(heappop(self._heap)[2])

    def _pass(self, deadline: Deadline) -> None:
        if deadline.is_set:
            deadline.call()
        else:
            self._cancelled -= 1

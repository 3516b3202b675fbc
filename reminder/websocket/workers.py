"""Greenlets that are used again and again: to make one and let it go costs more than most commands."""

import logging
from collections.abc import Callable
from contextvars import copy_context
from heapq import heappop, heappush
from itertools import count
from typing import TypeVar

import gevent
from gevent.event import AsyncResult

logger = logging.getLogger(__name__)

Result = TypeVar('Result')

MAX_RUNNING = 128
"""Greenlets in all, up to 20 KiB each; they are kept when they are idle. As many share a commit of the database; more
would only wait for it, and have whatever comes next wait behind them."""


class Workers:
    """Calls functions, each in a greenlet of its own for as long as it takes; what is beyond the bound waits.

    They begin one by one, each behind whatever has something to do by then: a call that goes on, after its database has
    answered, never waits for all those that have yet to begin.
    """

    def __init__(self) -> None:
        self._idle: list[gevent.Greenlet] = []
        self._busy = 0
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        """A heap, with at most one call of each session and each HTTP connection."""
        self._count = count()
        self._beginning = False
        """Whether the loop is about to begin the next one."""
        self._closed = False

    def run(self, function: Callable[[], None], order: float) -> None:
        """Calls `function()` soon, those of the lowest `order` first."""
        heappush(self._waiting, (order, next(self._count), function))
        self._go_on()

    def call(self, function: Callable[[], Result], order: float) -> Result:
        """Calls `function()` as `run` does, in the caller's context, and waits for its result."""
        done, context = AsyncResult(), copy_context()

        def work() -> None:
            try:
                done.set(context.run(function))
            except Exception as error:  # noqa: BLE001  # raised again where it is waited for
                done.set_exception(error)

        self.run(work, order)
        result: Result = done.get()
        return result

    @property
    def busy(self) -> int:
        """How many calls are under way."""
        return self._busy

    @property
    def waiting(self) -> int:
        """How many calls wait for that, those of one session as one."""
        return len(self._waiting)

    def close(self) -> None:
        """Lets go of the greenlets that are idle, and of each other one when it is."""
        self._closed = True
        self._waiting.clear()
        gevent.killall(self._idle, block=False)
        self._idle.clear()

    def _go_on(self) -> None:
        if self._waiting and self._busy < MAX_RUNNING and not self._beginning:
            self._beginning = True
            # By the loop, as a greenlet has to be resumed by the hub: it would come back to who resumed it.
            gevent.get_hub().loop.run_callback(self._begin)

    def _begin(self) -> None:
        self._beginning = False
        if not self._waiting:
            return  # closed meanwhile
        function = heappop(self._waiting)[2]
        self._busy += 1
        if self._idle:
            self._idle.pop().switch(function)
        else:
            gevent.spawn(self._work, [function])
        self._go_on()

    def _work(self, first: list[Callable[[], None]]) -> None:
        function = first.pop()  # as a greenlet keeps what it was spawned with
        hub, worker = gevent.get_hub(), gevent.getcurrent()
        while True:
            try:
                function()
            except Exception:
                logger.exception('a worker failed', {'event': 'worker_failed'})
            self._busy -= 1
            if self._closed:
                return
            self._idle.append(worker)
            self._go_on()
            del function  # whose session would be kept else until this worker is needed again
            function = hub.switch()

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
    """Calls functions, each in a greenlet of its own for as long as it takes; what is beyond the bound waits."""

    def __init__(self) -> None:
        self._idle: list[gevent.Greenlet] = []
        self._busy = 0
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        """A heap, with at most one call of each session and each HTTP connection."""
        self._count = count()
        self._closed = False

    def run(self, function: Callable[[], None], order: float) -> None:
        """Calls `function()` soon. Where calls have to wait, those of the lowest `order` begin first."""
        if self._busy >= MAX_RUNNING:
            heappush(self._waiting, (order, next(self._count), function))
            return
        self._busy += 1
        if self._idle:
            self._resume(self._idle.pop(), function)
        else:
            gevent.spawn(self._work, [function])

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

    def _resume(self, worker: gevent.Greenlet, function: Callable[[], None]) -> None:
        # By the loop, as a greenlet has to be resumed by the hub: it would come back to who resumed it.
        gevent.get_hub().loop.run_callback(worker.switch, function)

    def _work(self, first: list[Callable[[], None]]) -> None:
        function = first.pop()  # as a greenlet keeps what it was spawned with
        hub, worker = gevent.get_hub(), gevent.getcurrent()
        while True:
            try:
                function()
            except Exception:
                logger.exception('a worker failed', {'event': 'worker_failed'})
            if self._closed:
                return
            if self._waiting:
                self._resume(worker, heappop(self._waiting)[2])  # behind others who have something to do
            else:
                self._busy -= 1
                self._idle.append(worker)
            del function  # whose session would be kept else until this worker is needed again
            function = hub.switch()

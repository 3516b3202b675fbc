"""Greenlets that are used again and again: to make one and let it go costs more than most commands."""

import logging
from collections import deque
from collections.abc import Callable

import gevent

logger = logging.getLogger(__name__)

MAX_RUNNING = 256
"""Greenlets in all, up to 20 KiB each; they are kept when they are idle. More would only wait for the database, where
as many share a commit."""


class Workers:
    """Calls functions, each in a greenlet of its own for as long as it takes; what is beyond the bound waits."""

    def __init__(self) -> None:
        self._idle: list[gevent.Greenlet] = []
        self._busy = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether what is asked for now has to wait."""
        return self._busy >= MAX_RUNNING

    @property
    def wanted(self) -> bool:
        """Whether others wait for one that is free."""
        return bool(self._waiting)

    def run(self, function: Callable[[], None]) -> None:
        """Calls `function()` soon; calls begin in the order in which they were asked for."""
        if self.full:
            self._waiting.append(function)
            return
        self._busy += 1
        if self._idle:
            self._resume(self._idle.pop(), function)
        else:
            gevent.spawn(self._work, [function])

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
                logger.exception('a worker failed')
            if self._closed:
                return
            if self._waiting:
                self._resume(worker, self._waiting.popleft())  # behind others who have something to do
            else:
                self._busy -= 1
                self._idle.append(worker)
            del function  # whose session would be kept else until this worker is needed again
            function = hub.switch()

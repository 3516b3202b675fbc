"""Greenlets that are used again and again: to make one and let it go costs more than most commands."""

import logging
from collections.abc import Callable

import gevent

logger = logging.getLogger(__name__)

MAX_IDLE = 1_000
"""Greenlets that are kept for later, about 20 KiB each."""


class Workers:
    """Calls functions, each in a greenlet of its own for as long as it takes."""

    def __init__(self) -> None:
        self._idle: list[gevent.Greenlet] = []
        self._closed = False

    def run(self, function: Callable[[], None]) -> None:
        """Calls `function()` soon; calls begin in the order in which they were asked for."""
        if self._idle:
            # By the loop, as a greenlet has to be resumed by the hub: it would come back to who resumed it.
            gevent.get_hub().loop.run_callback(self._idle.pop().switch, function)
        else:
            gevent.spawn(self._work, function)

    def close(self) -> None:
        """Lets go of the greenlets that are idle, and of each other one when it is."""
        self._closed = True
        gevent.killall(self._idle, block=False)
        self._idle.clear()

    def _work(self, function: Callable[[], None]) -> None:
        hub, worker = gevent.get_hub(), gevent.getcurrent()
        while True:
            try:
                function()
            except Exception:
                logger.exception('a worker failed')
            if self._closed or len(self._idle) >= MAX_IDLE:
                return
            self._idle.append(worker)
            del function  # whose session would be kept else until this worker is needed again
            function = hub.switch()

"""Turns: whatever takes long, or comes in crowds, lets all others go in between."""

import gevent
from gevent.lock import BoundedSemaphore


def give_turn() -> None:
    """Lets all others do what they can, and what has come by the network be read.

    `sleep(0)` would do the former alone: the loop looks for the network only after many callbacks in a row.
    """
    gevent.sleep(1e-6)


class Turnstile:
    """Lets some through between two looks at the network; of a crowd, all others would have to wait for the last."""

    def __init__(self, at_once: int) -> None:
        self._few = BoundedSemaphore(at_once)

    def go_through(self) -> None:
        """Waits for a turn; a moment, where there is no crowd."""
        with self._few:
            give_turn()

"""When connections end by themselves, as their tokens expire."""

from collections.abc import Callable

from reminder.websocket.deadlines import Deadlines

CHECK_EVERY = 1.0
"""Seconds between two looks, by which a connection may outlive its token; what it asks for meanwhile is refused."""


class Expiry:
    """Ends connections by the wall clock. A timer for each would not notice when that is put forward or back."""

    def __init__(self, deadlines: Deadlines, now: Callable[[], int], end: Callable[[str], None]) -> None:
        """`now` gives the instant (ms, UTC); `end` is called with the id of a connection, which may `discard` it."""
        self._deadlines = deadlines
        self._now = now
        self._end = end
        self._instants: dict[str, int] = {}  # at most one for each client
        self._looking = False

    def add(self, sid: str, instant: int) -> None:
        """Has a connection ended at `instant` (ms, UTC)."""
        self._instants[sid] = instant
        if not self._looking:
            self._looking = True
            self._deadlines.after(CHECK_EVERY, self._look)

    def discard(self, sid: str) -> None:
        """Forgets a connection."""
        self._instants.pop(sid, None)

    def _look(self) -> None:
        now = self._now()
        for sid in [sid for sid, instant in self._instants.items() if instant <= now]:
            self.discard(sid)
            self._end(sid)
        self._looking = bool(self._instants)
        if self._looking:
            self._deadlines.after(CHECK_EVERY, self._look)

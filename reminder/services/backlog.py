"""How much is to come, looked up now and then, so that nobody who asks has the store count."""

from reminder.models.event import Place
from reminder.models.store import Store

MOST = 100_000
"""Events up to which they are counted."""
_FOREVER = Place.after(2**53)


class Backlog:
    """The events that are pending, as they were counted last."""

    def __init__(self) -> None:
        self.pending: int | None = None
        """How many there were; MOST stands for that many or more, None for not counted yet."""

    def count(self, store: Store, closed: int) -> None:
        """Counts what is due after `closed` (ms, UTC). Raises StoreUnavailable."""
        self.pending = store.count(Place.after(closed), _FOREVER, MOST)

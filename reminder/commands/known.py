"""What is stored, as far as somebody may know of it, and how it is shown."""

from collections.abc import Callable

from reminder.errors import InvalidInput, NotAllowed, shown
from reminder.models.event import Event, Series
from reminder.models.store import Store
from reminder.services import events
from reminder.services.channels import channel
from reminder.services.fields import Fields
from reminder.services.gate import Gate
from reminder.services.identity import LISTEN, MANAGE, Identity
from reminder.services.views import SHOWN, View, series_view

RULES_WAITING = 64
"""Commands that may wait for the rules of series."""


class Known:
    """What is in one store, to those who ask."""

    def __init__(self, store: Store, now: Callable[[], int], rest: Callable[[float], None]) -> None:
        """`now` gives the instant (ms, UTC); `rest` waits for some seconds."""
        self._store = store
        self._now = now
        self.rules = Gate(1, RULES_WAITING, 3, rest)
        """Before what follows rules of series: it may cost tens of ms each, and takes a quarter of the time at most."""

    def find(self, id: str, identity: Identity) -> Event | Series:
        """The event or series of that id, if that identity may know of it. Raises InvalidInput."""
        found = self._store.get(id) or self._store.get_series(id)
        if found is None or not self._may_know(found, identity):
            raise InvalidInput(f"_id='{shown(id)}' is not found")
        return found

    def find_own(self, id: str, identity: Identity) -> Event | Series:
        """The event or series of that id, if that identity may change it. Raises InvalidInput."""
        found = self.find(id, identity)
        if MANAGE not in identity.scopes and not _owns(identity, found):
            raise NotAllowed(f"scope '{MANAGE}' is required to change what others have scheduled")
        return found

    def _may_know(self, found: Event | Series, identity: Identity) -> bool:
        return identity.may_see(found.channel) and (bool(identity.scopes & {LISTEN, MANAGE}) or _owns(identity, found))

    def check_channel(self, channel: str | None, identity: Identity) -> None:
        """Raises NotAllowed for a channel that the identity may not see."""
        if not identity.may_see(channel):
            raise NotAllowed(f"channel='{channel}' is not allowed by your token")

    def channels(self, data: Fields, identity: Identity) -> frozenset[str] | None:
        """The channels to look into, beside what has none."""
        wanted = channel(data.all.get('channel'))
        self.check_channel(wanted, identity)
        return identity.channels if wanted is None else frozenset({wanted})

    def closed(self) -> int:
        """The latest minute (ms, UTC) that is closed, by this server's clock or by another one's."""
        return max(events.closing(self._now()), self._store.record().closed)

    def view_of_series(self, series: Series, after: int, patient: bool = False) -> View:
        """A series as clients see it, with what comes after `after` (ms, UTC). Raises Busy, unless `patient`."""
        entries = self._store.occurrences(series.id, after, SHOWN)
        with self.rules.pass_through(patient):  # its rule tells what comes next
            return series_view(series, entries, after)


def _owns(identity: Identity, found: Event | Series) -> bool:
    return found.owner is not None and found.owner == identity.subject

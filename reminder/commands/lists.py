"""Commands that list what is pending, the series, and what was delivered."""

from collections.abc import Callable, Sequence

from reminder.commands.envelopes import Envelope, success
from reminder.commands.known import Known
from reminder.errors import InvalidInput
from reminder.models.event import Event, Place, Series
from reminder.models.store import Store
from reminder.services.fields import Fields
from reminder.services.gate import Gate
from reminder.services.identity import Identity
from reminder.services.log import Log
from reminder.services.offsets import encode_offset, parse_since
from reminder.services.search import Found, search
from reminder.services.views import event_view

LISTS = 4
"""Lists that are made at a time."""
LISTS_WAITING = 28
"""Commands that may wait for that."""
FOREVER = 2**53
"""Later than any event (ms, UTC)."""


class Lists:
    """Lists what one store holds, page by page."""

    def __init__(self, store: Store, known: Known, log: Log) -> None:
        # Large answers are made few at a time, as each of them keeps all others waiting.
        self._gate = Gate(LISTS, LISTS_WAITING)
        self._store = store
        self._known = known
        self._log = log

    @property
    def refused(self) -> int:
        """How many had no place to wait in so far."""
        return self._gate.refused

    def list_events(self, data: Fields, identity: Identity) -> Envelope:
        """What is pending, in order."""
        record = self._store.record()
        after = max(Place.after(record.closed), Place(data.instant('from', 0), ''), data.place('after'))
        until = Place.after(data.instant('to', FOREVER))

        def read(events: Sequence[Event], count: int) -> Sequence[Event]:
            return self._store.read(events[-1].place if events else after, until, count)

        found, last = self._search(read, data.limit(), self._known.channels(data, identity))
        following = None if last is None else encode_offset(record.log, last.place)
        return success({'events': [event_view(event) for event in found], 'next': following})

    def list_series(self, data: Fields, identity: Identity) -> Envelope:
        """The series that have not ended, in no order that means anything."""
        after = data.all.get('after')
        if after is not None and not isinstance(after, str):
            raise InvalidInput("'after' has to be what 'next' was")

        def read(series: Sequence[Series], count: int) -> Sequence[Series]:
            return self._store.list_series(series[-1].id if series else after or '', count)

        found, last = self._search(read, data.limit(), self._known.channels(data, identity))
        following = None if last is None else last.id
        after = self._known.closed()
        return success({'series': [self._known.view_of_series(one, after) for one in found], 'next': following})

    def get_reminders(self, data: Fields, identity: Identity) -> Envelope:
        """What was delivered, in order."""
        end = self._log.end
        place, complete = self._log.locate(parse_since(data.all.get('since')), identity.channels)

        def read(events: Sequence[Event], count: int) -> Sequence[Event]:
            after = events[-1].place if events else place
            return self._store.read(after, end, count) if after < end else ()

        found, last = self._search(read, data.limit(), self._known.channels(data, identity))
        offset = encode_offset(self._store.record().log, max(place, end) if last is None else last.place)
        return success({'reminders': [event.reminder() for event in found], 'next': offset, 'complete': complete})

    def _search(
        self,
        read: Callable[[Sequence[Found], int], Sequence[Found]],
        limit: int,
        channels: frozenset[str] | None,
    ) -> tuple[list[Found], Found | None]:
        with self._gate.pass_through():
            return search(read, limit, channels)

"""What is exported: the series of a store and the events of its log, page by page beside a running server."""

from collections.abc import Iterator
from itertools import takewhile

from reminder.errors import InvalidInput
from reminder.models.event import Event, Place, Series
from reminder.models.store import Store
from reminder.services.series import occurrence_id, rule_of_series

PAGE = 1_000
_FOREVER = Place(2**53, '')


class Source:
    """The entries of a store, as it is open. What is added meanwhile may or may not be among them.

    Series come before events, so that whatever is made of a series meanwhile has not been passed yet.
    """

    def __init__(self, store: Store, with_past: bool) -> None:
        """`with_past`: also what was delivered."""
        self._store = store
        self._closed = store.record().closed
        self._begin = Place(0, '') if with_past else Place.after(self._closed)

    def count(self) -> int:
        """How many events there are."""
        return self._store.count(self._begin, _FOREVER, _FOREVER.time)

    def events(self) -> Iterator[Event]:
        """The events, in the log's order."""
        place = self._begin
        while found := self._store.read(place, _FOREVER, PAGE):
            yield from found
            place = found[-1].place

    def series(self) -> Iterator[Series]:
        """The series that have not ended."""
        after = ''
        while found := self._store.list_series(after, PAGE):
            yield from found
            after = found[-1].id

    def ended(self, id: str) -> Series | None:
        """The series of an event, which may have ended."""
        return self._store.get_series(id)

    def occurrences(self, series: Series) -> Iterator[Event]:
        """The events of a series that are pending."""
        after = self._closed
        while found := self._store.occurrences(series.id, after, PAGE):
            yield from found
            after = found[-1].time

    def planned(self, series: Series) -> dict[str, int]:
        """Of the occurrences that are made and not due yet the ids, and the instants (ms, UTC) that the rule names."""
        try:
            times = (one.time for one in rule_of_series(series).occurrences(self._closed))
        except InvalidInput:  # nothing of ours, and nothing is made of it
            return {}
        return {occurrence_id(series, time): time for time in takewhile(lambda time: time <= series.made, times)}

    def cancelled(self, series: Series) -> Iterator[tuple[Event, int]]:
        """Those of the planned occurrences that were cancelled, and when they were planned."""
        for id, time in self.planned(series).items():
            event = self._store.get(id)
            if event is not None and event.cancelled:
                yield event, time

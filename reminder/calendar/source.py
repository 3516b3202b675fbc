"""What is exported: the series of a store and the events of its log, page by page beside a running server."""

from collections.abc import Iterator
from itertools import takewhile

from reminder.models.event import Event, Place, Series
from reminder.models.store import Channels, Store
from reminder.services.recurrence import Occurrence, Rule

PAGE = 200
_FOREVER = Place(2**53, '')


class Source:
    """The entries of a store, as it is open. What is added meanwhile may or may not be among them.

    Series come before events, so that whatever is made of a series meanwhile has not been passed yet.
    """

    def __init__(self, store: Store, with_past: bool = False, channels: Channels = None) -> None:
        """`with_past`: also what was delivered. `channels` as for readers of the log."""
        self._store = store
        self._channels = channels
        self.closed = store.record().closed
        """What is due later (ms, UTC) is pending."""
        self._begin = Place(0, '') if with_past else Place.after(self.closed)

    def count(self) -> int:
        """How many events there are."""
        return self._store.count(self._begin, _FOREVER, _FOREVER.time)

    def sees(self, what: Event | Series) -> bool:
        """Whether that is for who reads this. What is not is found all the same, so that a search for what is has its
        pauses, and an end."""
        return what.channel is None or self._channels is None or what.channel in self._channels

    def events(self, cancelled: bool = False) -> Iterator[Event]:
        """The events, in the log's order; also, where that is asked for, those that were cancelled."""
        place = self._begin
        while found := self._store.read(place, _FOREVER, PAGE, cancelled=cancelled):
            yield from found
            place = found[-1].place

    def series(self, ended: bool = False) -> Iterator[Series]:
        """The series; also, where that is asked for, those that have ended."""
        after = ''
        while found := self._store.list_series(after, PAGE, ended=ended):
            yield from found
            after = found[-1].id

    def occurrences(self, series: Series) -> Iterator[Event]:
        """The events of a series that are pending."""
        after = self.closed
        while found := self._store.occurrences(series.id, after, PAGE):
            yield from found
            after = found[-1].time

    def planned(self, series: Series, rule: Rule) -> Iterator[Occurrence]:
        """Of what the rule of a series names, the occurrences that are made and not due yet."""
        return takewhile(lambda one: one.time <= series.made, rule.occurrences(self.closed))

"""Where entries are imported to: a store, beside running servers and under the same fence as what they schedule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reminder.errors import InvalidInput, MinuteClosed
from reminder.models.event import Event, Series
from reminder.models.store import Store
from reminder.services.events import closing
from reminder.services.series import Occurrences, rule_of_series

BATCH = 500
"""Events that are kept together."""
MADE = 1_000
"""Occurrences of a series that are made at once, at most, for those among them that differ."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A series, and those of its occurrences that are not as its rule says: cancelled, moved, additional.

    `until`: the last instant (ms, UTC) at which the rule names one of them; 0 where it names none.
    """

    series: Series
    others: Sequence[Event] = ()
    until: int = 0


class Found(NamedTuple):
    """Where something stands in a file, and what it says, or why it cannot be read."""

    where: str
    what: Event | Repeated | InvalidInput


@dataclass(slots=True)
class Counts:
    """How many entries were imported, were there already, were over, and could not be read or kept."""

    imported: int = 0
    present: int = 0
    past: int = 0
    skipped: int = 0


class Target:
    """Keeps entries in a store that is open. Raises StoreUnavailable; all can be done again then."""

    def __init__(self, store: Store, limit: int, now: Callable[[], int], dry_run: bool) -> None:
        """`limit` as for `Occurrences`; with `dry_run` all is counted and nothing kept."""
        self.counts = Counts()
        self._store = store
        self._occurrences = Occurrences(store, limit, lambda: None)
        self._now = now
        self._dry_run = dry_run
        self._batch: dict[str, Event] = {}

    def keep(self, entry: Event | Repeated) -> None:
        """Keeps an entry, at once or by the next `flush`. Raises InvalidInput for what cannot be kept."""
        if isinstance(entry, Repeated):
            self._keep_series(entry)
            return
        if entry.id in self._batch:
            self.counts.present += 1
        self._batch.setdefault(entry.id, entry)
        if len(self._batch) == BATCH:
            self.flush()

    def flush(self) -> None:
        """Keeps the events that wait for it."""
        closed = self._closed()
        fresh = []
        for event in self._batch.values():
            if event.time <= closed:
                self.counts.past += 1
            elif self._store.get(event.id) is not None:
                self.counts.present += 1
            else:
                fresh.append(event)
        self._batch = {}
        outcomes = fresh if self._dry_run else self._add(fresh)
        late = sum(isinstance(outcome, MinuteClosed) for outcome in outcomes)
        self.counts.past += late
        self.counts.imported += len(outcomes) - late

    def _keep_series(self, entry: Repeated) -> None:
        series, closed = entry.series, self._closed()
        others = [event for event in entry.others if event.time > closed]
        kept = self._store.get_series(series.id)
        is_over = not series.ended and series.made <= closed and not self._is_to_come(entry, others, closed)
        if kept is None and is_over:
            self.counts.past += 1
            return
        self.counts.present += kept is not None
        self.counts.imported += kept is None
        if self._dry_run:
            return
        # The series last: once it is there, so is all of it, and whoever makes its occurrences finds those that differ.
        self._add(others)
        kept = self._store.add_series(series)
        if kept.made <= max(closed, entry.until) and not kept.ended:
            self._occurrences.extend(kept, max(closed, entry.until))

    def _is_to_come(self, entry: Repeated, others: Sequence[Event], closed: int) -> bool:
        """Whether there is anything left of a series. Raises InvalidInput where too much would have to be made."""
        rule = rule_of_series(entry.series)
        for number, one in enumerate(rule.occurrences(closed)):
            if one.time > entry.until:
                return True
            if number == MADE:
                raise InvalidInput(f'one of it differs that is more than {MADE} ahead')
        return any(not event.cancelled for event in others)

    def _add(self, events: Sequence[Event]) -> Sequence[Event | Exception]:
        outcomes: list[Event | Exception] = []
        for begin in range(0, len(events), BATCH):
            outcomes += self._store.add_all(events[begin : begin + BATCH])
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, MinuteClosed):
                raise outcome
        return outcomes

    def _closed(self) -> int:
        return max(self._store.record().closed, closing(self._now()))

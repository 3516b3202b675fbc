"""Series: the occurrences of repeating events become entries of the log, events of their own, before they are due.

Each server makes them, by the same steps and with the same ids, so that one entry of each results. At any time a series
has entries for what is due up to some minute to come, and for the occurrence after that, so that it can be listed,
moved and cancelled like any event.
"""

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice, takewhile

from reminder.errors import Changed, InvalidInput, MinuteClosed
from reminder.models.event import MINUTE, Event, Series, derived_id
from reminder.models.store import Store
from reminder.services.events import rule_of, zone_of
from reminder.services.recurrence import Occurrence, Rule

logger = logging.getLogger(__name__)

PORTION = 100
"""Series, or occurrences of one, that are looked at together."""


class Occurrences:
    """Makes the occurrences of the series in a store, and takes them back.

    Its methods block in the store and raise `StoreUnavailable`; what was begun then can be done again.
    """

    def __init__(self, store: Store, limit: int) -> None:
        """Of one series, over a time in which no server ran, the newest `limit` occurrences are made."""
        self._store = store
        self._limit = limit

    def make(self, minute: int) -> None:
        """Makes what is due up to `minute` (ms, UTC), and of each series the occurrence after that."""
        while due := self._store.series_due(minute, PORTION):
            for series in due:
                try:
                    self.extend(series, minute)
                except InvalidInput as error:  # nothing of ours; it must not keep the others from being made
                    logger.error('the series %s ends, as it cannot be read: %s', series.id, error)
                    with suppress(Changed):
                        self._store.replace_series(series, replace(series, ended=True))

    def extend(self, series: Series, minute: int) -> None:
        """Makes what of one series is due up to `minute` (ms, UTC), and the occurrence after that."""
        rule = rule_of_series(series)
        occurrences = _newest(rule, series.made, minute, self._limit)
        following = next(rule.occurrences(max(series.made, minute)), None)
        closed = self._store.record().closed
        # Whoever has closed a minute had made before what is due in it; of what is there, but not delivered yet, a store
        # may not be able to say more.
        events = [_event(series, one) for one in (*occurrences, following) if one is not None and one.time > closed]
        for event in events:
            with suppress(MinuteClosed):
                self._store.add(event)
        if following is None:
            extended = replace(series, made=max(series.made, minute), ended=True)
        else:
            extended = replace(series, made=following.time)
        try:
            self._store.replace_series(series, extended)
        except Changed:
            now = self._store.get_series(series.id)
            if now is None or now.revision != series.revision:
                self._take_back(events)  # others have looked for what was there to be cancelled, before it was

    def take_back(self, series: Series, closed: int) -> None:
        """Cancels what is due after `closed` (ms, UTC) and does not belong to the series as it is now.

        Where it has ended that is everything, else what was made before it was changed. What falls due meanwhile stays.
        """
        while events := self._store.occurrences(series.id, closed, PORTION):
            self._take_back([event for event in events if series.ended or event.id != _id(series, event.time)])
            closed = events[-1].time

    def _take_back(self, events: Sequence[Event]) -> None:
        for event in events:
            kept = self._store.get(event.id)
            while kept is not None and not kept.cancelled:
                try:
                    kept = self._store.replace(kept, replace(kept, cancelled=True))
                except Changed:
                    kept = self._store.get(event.id)
                except MinuteClosed:
                    break


def upcoming(series: Series, after: int, count: int) -> list[Occurrence]:
    """The next `count` occurrences of a series after `after` (ms, UTC), by its rule; none of one that has ended."""
    return [] if series.ended else list(islice(rule_of_series(series).occurrences(after), count))


def rule_of_series(series: Series) -> Rule:
    """The rule of a series."""
    return rule_of(series.repeat, series.local_time, zone_of(series.zone))


def _newest(rule: Rule, after: int, minute: int, limit: int) -> Sequence[Occurrence]:
    """The last `limit` occurrences in `(after, minute]`. There is one a minute at most, so most are found backwards."""
    span = limit * MINUTE
    while True:
        begin = max(after, minute - span)
        found = deque(takewhile(lambda one: one.time <= minute, rule.occurrences(begin)), limit)
        if begin == after or len(found) == limit:
            return found
        span *= 2


def _event(series: Series, occurrence: Occurrence) -> Event:
    return Event(
        id=_id(series, occurrence.time),
        name=series.name,
        time=occurrence.time,
        local_time=occurrence.local_time,
        zone=series.zone,
        channel=series.channel,
        payload=series.payload,
        series=series.id,
        owner=series.owner,
    )


def _id(series: Series, time: int) -> str:
    """The id that the occurrence of a series at `time` (ms, UTC) has on every server."""
    return derived_id('occurrence', series.id, str(series.revision), str(time))

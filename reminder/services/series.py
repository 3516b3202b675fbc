"""Series: the occurrences of repeating events become entries of the log, events of their own, before they are due.

Each server makes them, by the same steps and with the same ids, so that one entry of each results. At any time a series
has entries for what is due up to some minute to come, and for the occurrence after that, so that it can be listed,
moved and cancelled like any event.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from reminder.errors import Changed, InvalidInput, MinuteClosed, StoreUnavailable
from reminder.models.event import MINUTE, Event, Series, derived_id, iso
from reminder.models.store import Store
from reminder.services.fields import rule_of, zone_of
from reminder.services.recurrence import Occurrence, Rule

logger = logging.getLogger(__name__)

TOGETHER = 10_000
"""Series that are looked at together."""
PORTION = 50
"""Series, or occurrences of one, that are made together."""

ADDED = 500
"""Occurrences that are added together: there may be many of each series where no server ran for long."""


class _Plan(NamedTuple):
    """What is to be made of a series, and the series before and after that."""

    before: Series
    after: Series
    due: list[Occurrence]
    following: list[Occurrence]
    """The one after that, if there is one."""

    @property
    def occurrences(self) -> list[Occurrence]:
        return self.due + self.following


class Occurrences:
    """Makes the occurrences of the series in a store, and takes them back.

    Its methods block in the store and raise `StoreUnavailable`; what was begun then can be done again.
    """

    def __init__(self, store: Store, limit: int, pause: Callable[[], None]) -> None:
        """Of a time in which no server ran no more than the newest `limit` occurrences of all series are made, and
        what else is due in the first of their minutes.

        `pause` gives others a turn: to follow a rule may take tens of ms.
        """
        self._pause = pause
        self._store = store
        self._limit = limit

    def make(self, minute: int) -> None:
        """Makes what is due up to `minute` (ms, UTC), and of each series the occurrence after that."""
        while due := self._store.series_due(minute, TOGETHER):
            plans = self._plan_all(due, minute)
            portions = (plans[begin : begin + PORTION] for begin in range(0, len(plans), PORTION))
            if not sum(map(self._extend, portions)):
                return  # others are at it, or what is kept cannot be told from what it should be

    def extend(self, series: Series, minute: int) -> Series:
        """Makes what of one series is due up to `minute` (ms, UTC), and the occurrence after that. Returns the series
        as it is then."""
        (plan,) = plans = self._plan_all([series], minute)
        self._extend(plans)
        return plan.after

    def _plan_all(self, due: Sequence[Series], minute: int) -> list[_Plan]:
        plans: list[_Plan] = []
        since = planned = 0
        most = 2 * self._limit
        for series in due:
            self._pause()
            plans.append(self._plan(series, minute, since))
            planned += len(plans[-1].due)
            if planned > most:
                since = self._leave_out(plans)
                planned = sum(len(plan.due) for plan in plans)
                most = 2 * planned
        if planned > self._limit:
            since = self._leave_out(plans)
        if since:
            logger.warning(
                'what series had due until %(until)s is left out, as it is more than the newest %(count)d',
                {'event': 'occurrences_left_out', 'until': iso(since), 'count': self._limit},
            )
        return plans

    def _leave_out(self, plans: list[_Plan]) -> int:
        """Takes out of plans all but the newest minutes that hold more than the limit, so that replays, which end at
        it, say that something is missing. Returns up to which instant (ms, UTC) nothing is left."""
        times = sorted(one.time for plan in plans for one in plan.due)
        since = times[-self._limit - 1] - 1
        for number, plan in enumerate(plans):
            plans[number] = plan._replace(due=[one for one in plan.due if one.time > since])
        return since

    def _plan(self, series: Series, minute: int, since: int) -> _Plan:
        try:
            due, following = _newest(rule_of_series(series), max(series.made, since), minute, self._limit + 1)
        except InvalidInput as error:  # not written by us; it must not keep the others from being made
            logger.error(
                'the series %(id)s ends, as it cannot be read: %(error)s',
                {'event': 'series_ended', 'id': series.id, 'error': str(error)},
            )
            return _Plan(series, replace(series, ended=True), [], [])
        if following is None:
            return _Plan(series, replace(series, made=max(series.made, minute), ended=True), due, [])
        return _Plan(series, replace(series, made=following.time), due, [following])

    def _extend(self, plans: Sequence[_Plan]) -> int:
        """Does what was planned; answers for how many series."""
        # Whoever has closed a minute had made before what is due in it; and of what is there, but not delivered yet, a
        # store may not be able to say more.
        closed = self._store.record().closed
        for plan in plans:
            if plan.before.changed:
                self.take_back(plan.before, closed)
        events = [occurrence(plan.before, one) for plan in plans for one in plan.occurrences if one.time > closed]
        for begin in range(0, len(events), ADDED):
            for outcome in self._store.add_all(events[begin : begin + ADDED]):
                if isinstance(outcome, StoreUnavailable):
                    raise outcome
        replacements = self._store.replace_all_series([(plan.before, plan.after) for plan in plans])
        for plan, replaced in zip(plans, replacements, strict=True):
            now = None if replaced else self._store.get_series(plan.before.id)
            if now is not None and (now.revision, now.ended) != (plan.before.revision, False):
                # Others have looked for what was there to be cancelled, before it was.
                self._take_back([occurrence(plan.before, one) for one in plan.occurrences])
        return sum(replacements)

    def take_back(self, series: Series, closed: int) -> None:
        """Cancels what is due after `closed` (ms, UTC) and does not belong to the series as it is now.

        Where it has ended that is everything, else what was made before it was changed and is due after what a change
        leaves alone. What falls due meanwhile stays.
        """
        after = closed if series.ended else max(closed, series.made)
        while events := self._store.occurrences(series.id, after, PORTION):
            self._take_back([event for event in events if self._is_former(series, event)])
            after = events[-1].time

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

    @staticmethod
    def _is_former(series: Series, event: Event) -> bool:
        """Whether an entry of a series does not belong to it as it is now."""
        return series.ended or event.id != occurrence_id(series, event.time)

    def left(self, series: Series) -> Sequence[Event]:
        """What comes of a series as it was before it was changed or ended, as it was too near for that: the first of
        what is not delivered yet."""
        pending = self._store.occurrences(series.id, self._store.record().delivered, PORTION)
        return [event for event in pending if self._is_former(series, event)]


def upcoming(series: Series, after: int, count: int) -> list[Occurrence]:
    """The next `count` occurrences of a series after `after` (ms, UTC), by its rule; none of one that has ended."""
    return [] if series.ended else list(islice(rule_of_series(series).occurrences(after), count))


def rule_of_series(series: Series) -> Rule:
    """The rule of a series."""
    return rule_of(series.repeat, series.local_time, zone_of(series.zone))


def _newest(rule: Rule, after: int, minute: int, limit: int) -> tuple[list[Occurrence], Occurrence | None]:
    """The last `limit` occurrences in `(after, minute]`, and the one after `minute`.

    There is one a minute at most, so where `after` is long ago most of them are found from the end.
    """
    span = limit * MINUTE
    while True:
        begin = max(after, minute - span)
        due: deque[Occurrence] = deque(maxlen=limit)
        following = None
        for one in rule.occurrences(begin):
            if one.time > minute:
                following = one
                break
            due.append(one)
        if begin == after or len(due) == limit:
            return list(due), following
        span *= 2


def occurrence(series: Series, at: Occurrence) -> Event:
    """The event that an occurrence of a series is, on every server."""
    return Event(
        id=occurrence_id(series, at.time),
        name=series.name,
        time=at.time,
        local_time=at.local_time,
        zone=series.zone,
        channel=series.channel,
        payload=series.payload,
        series=series.id,
        owner=series.owner,
    )


def occurrence_id(series: Series, time: int) -> str:
    """The id that the occurrence of a series at `time` (ms, UTC) has on every server."""
    return derived_id('occurrence', series.id, str(series.revision), str(time))

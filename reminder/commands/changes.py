"""Commands that write: an event or a series is scheduled, changed, cancelled."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace

from reminder.commands.envelopes import Envelope, success
from reminder.commands.known import Known
from reminder.errors import Changed, InvalidInput, MinuteClosed, NotAllowed, shown
from reminder.models.event import Event, Series, iso
from reminder.models.store import Store
from reminder.services import events
from reminder.services.fields import Fields
from reminder.services.gate import Gate
from reminder.services.identity import Identity
from reminder.services.series import Occurrences, occurrence_id, upcoming
from reminder.services.views import event_view, state

CHANGES_WAITING = 3
"""Commands that may wait for changes of the same event."""
STRIPES = 64
"""Parts into which events are divided by their ids, for gates."""
ATTEMPTS = 3
"""Times that a change is tried which others get in the way of."""


class Changes:
    """Changes what one store holds."""

    def __init__(self, store: Store, known: Known, occurrences: Occurrences, now: Callable[[], int]) -> None:
        """`now` gives the instant (ms, UTC)."""
        # Changes of one event come one after the other, instead of getting in each other's way.
        self._gates = [Gate(1, CHANGES_WAITING) for _ in range(STRIPES)]
        self._store = store
        self._known = known
        self._occurrences = occurrences
        self._now = now

    @property
    def refused(self) -> int:
        """How many had no place to wait in so far."""
        return sum(gate.refused for gate in self._gates)

    def schedule_event(self, data: Fields, identity: Identity) -> Envelope:
        """Keeps a new event or series, or answers with what was kept under its `key`. Raises InvalidInput."""
        with self._known.rules.pass_through() if 'repeat' in data.all else nullcontext():
            wanted, now = events.wanted(data.value), self._now()
            series = None if wanted.rule is None else events.begin_series(wanted, now, identity.subject)
            has_future = series is None or _has_future(series)
        self._known.check_channel(wanted.channel, identity)
        if wanted.key is not None:
            event_id, series_id = events.keyed_ids(wanted.key, identity.subject)
            kept = self._store.get(event_id) or self._store.get_series(series_id)
            if kept is not None:
                return self._scheduled(kept, wanted, identity)
        if series is not None:
            if not has_future:
                raise _no_future(series)
            return self._scheduled(self._add_series(series), wanted, identity)
        event, _ = events.schedule(wanted, now, identity.subject)
        try:
            return self._scheduled(self._store.add(event), wanted, identity)
        except MinuteClosed:
            raise events.too_late(event) from None

    def _add_series(self, series: Series) -> Series:
        kept = self._store.add_series(series)
        return self._occurrences.extend(series, series.made) if kept == series else kept

    def _scheduled(self, kept: Event | Series, wanted: events.Wanted, identity: Identity) -> Envelope:
        """The answer to who scheduled that, maybe not for the first time."""
        if not identity.may_see(kept.channel):  # it may have been moved since
            raise NotAllowed("'key' was used before, for what has moved to a channel that is not allowed by your token")
        if kept.request != wanted.request:
            raise InvalidInput("'key' was used before, with other data")
        if isinstance(kept, Series):
            return self._changed_series(kept, wanted)
        if kept.cancelled:
            raise InvalidInput("'key' belongs to an event that was cancelled")
        return success(kept.reminder(), wanted.warning if kept.time == wanted.meaning.instant else None)

    def cancel_event(self, data: Fields, identity: Identity) -> Envelope:
        """Cancels an event, or ends a series; does nothing where that was done before. Raises InvalidInput."""

        def cancel() -> Envelope:
            found = self._known.find_own(data.id(), identity)
            if isinstance(found, Series):
                ended = replace(found, ended=True)
                if not found.ended:
                    self._store.replace_series(found, ended)
                self._occurrences.take_back(ended, self._store.record().closed)
                return self._changed_series(ended)
            if not found.cancelled:
                found = self._replace(found, replace(found, cancelled=True))
                self._make_next(found)
            return success({**event_view(found), 'state': 'cancelled'})

        return self._one_by_one(data.id(), identity, cancel)

    def update_event(self, data: Fields, identity: Identity) -> Envelope:
        """Changes what `data` names of an event or a series. Raises InvalidInput."""

        def update() -> Envelope:
            found, now = self._known.find_own(data.id(), identity), self._now()
            if isinstance(found, Series):
                return self._update_series(found, data, identity)
            if found.cancelled:
                raise InvalidInput(f"_id='{found.id}' is cancelled")
            if 'repeat' in data.all:
                raise InvalidInput("'repeat' is of series only")
            event, warning = events.change(found, data.all, now)
            self._known.check_channel(event.channel, identity)
            if event != found:
                event = self._replace(found, event)
                self._make_next(event)
            return success({**event_view(event), 'state': state(event, self._store.record())}, warning)

        return self._one_by_one(data.id(), identity, update)

    def _update_series(self, found: Series, data: Fields, identity: Identity) -> Envelope:
        if found.ended:
            raise InvalidInput(f"_id='{found.id}' has ended")
        with self._known.rules.pass_through():
            changed = events.change_series(found, data.all, self._now())
            self._known.check_channel(changed.channel, identity)
            if not _has_future(changed):
                raise _no_future(changed)
        if changed != found:
            self._store.replace_series(found, changed)
            changed = self._occurrences.extend(changed, changed.made)
        return self._changed_series(changed)

    def _make_next(self, changed: Event) -> None:
        """Where the next occurrence of a series was cancelled or moved by itself, the one after it has its turn to be
        listed, moved and cancelled."""
        series = None if changed.series is None else self._store.get_series(changed.series)
        if series is not None and not series.ended and changed.id == occurrence_id(series, series.made):
            self._occurrences.extend(series, series.made)

    def _one_by_one(self, id: str, identity: Identity, change: Callable[[], Envelope]) -> Envelope:
        """What `change` returns, which looks at what is there anew when another server changed it meanwhile.

        Raises Changed where that happens again and again.
        """
        self._known.find(id, identity)  # as who asks for what is not there need not keep others waiting
        with self._gates[hash(id) % STRIPES].pass_through():
            for _ in range(ATTEMPTS - 1):
                with suppress(Changed):
                    return change()
            return change()

    def _replace(self, old: Event, new: Event) -> Event:
        """Changes an event. Raises Changed, or InvalidInput where it is too late for that."""
        try:
            return self._store.replace(old, new)
        except MinuteClosed:
            if new.time != old.time and old.time > self._store.record().closed:
                raise events.too_late(new) from None
            raise InvalidInput(f"_id='{old.id}' is due already, which cannot be changed any more") from None

    def _changed_series(self, series: Series, wanted: events.Wanted | None = None) -> Envelope:
        """The answer to who has changed a series, or scheduled what is `wanted`, which is a success."""
        view = self._known.view_of_series(series, self._known.closed(), patient=True)
        if wanted is not None:
            return success(view, wanted.warning if view['time'] == iso(wanted.meaning.instant) else None)
        left = self._occurrences.left(series)
        warning = f'what is due up to {iso(left[-1].time)} was too near for that, and comes as it was' if left else None
        return success(view, warning)


def _has_future(series: Series) -> bool:
    return bool(upcoming(series, series.made, 1))


def _no_future(series: Series) -> InvalidInput:
    return InvalidInput(f"repeat='{shown(series.repeat)}' names no time in the future")

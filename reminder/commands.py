"""The table of commands. Every door gives its messages to `Commands.run` and sends back what that returns."""

import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

from reminder.errors import (
    Changed,
    InvalidInput,
    MinuteClosed,
    NotAllowed,
    NotAuthenticated,
    StoreUnavailable,
    UnknownCommand,
    shown,
)
from reminder.models.event import MINUTE, Event, Place, Series, iso
from reminder.models.store import Store
from reminder.services import events, timezones
from reminder.services.channels import channel
from reminder.services.delivery import Delivery
from reminder.services.fields import Fields
from reminder.services.gate import Gate
from reminder.services.identity import LISTEN, MANAGE, SCHEDULE, SCOPES, Identity
from reminder.services.log import Log
from reminder.services.offsets import encode_offset, parse_since
from reminder.services.punctuality import Punctuality
from reminder.services.search import Found, search
from reminder.services.series import Occurrences, occurrence_id, upcoming
from reminder.services.views import SHOWN, View, event_view, series_view, state

logger = logging.getLogger(__name__)

LISTS = 4
"""Lists that are made at a time."""
RULES_WAITING, LISTS_WAITING, CHANGES_WAITING = 64, 28, 3
"""Commands that may wait for others: for the rules of series, for lists, and for changes of the same event."""
STRIPES = 64
"""Parts into which events are divided by their ids, for gates."""
UNAVAILABLE = 'the database is unavailable, so this may not have been done; please try again later'
INTERNAL = 'internal error'
"""The `error` of failures that no message is the reason of."""
ATTEMPTS = 3
"""Times that a change is tried which others get in the way of."""
_FOREVER = 2**53

Envelope = dict[str, Any]
"""An answer as clients get it: `status`, and `response` (maybe `warning`) or `error`. Can be sent as JSON."""


class Failure(Envelope):
    """The envelope of what was not done. `kind` is the error that was the reason, for doors that tell it otherwise."""

    def __init__(self, error: str, kind: type[Exception]) -> None:
        super().__init__(status='failure', error=error)
        self.kind = kind


class Constant(Envelope):
    """An envelope that is always the same one, so that doors may keep what they have made of it."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # by its identity


Command = Callable[[Fields, Identity], Envelope]


class Runs(Protocol):
    """What doors know of the table of commands."""

    def run(self, message: object, identity: Identity) -> Envelope:
        """See `Commands.run`."""


class Commands:
    """What clients can ask for, on one store and the delivery of one server.

    `now` gives the instant (ms, UTC). Calls may come from any number of greenlets or threads at once.
    """

    def __init__(
        self,
        store: Store,
        log: Log,
        delivery: Delivery,
        occurrences: Occurrences,
        punctuality: Punctuality,
        now: Callable[[], int],
        rest: Callable[[float], None],
    ) -> None:
        """`rest` waits for some seconds."""
        # Rules of series, which may cost tens of ms each, take a quarter of the time at most.
        self._rules = Gate(1, RULES_WAITING, 3, rest)
        # Large answers are made few at a time, as each of them keeps all others waiting.
        self._lists = Gate(LISTS, LISTS_WAITING)
        # Changes of one event come one after the other, instead of getting in each other's way.
        self._changes = [Gate(1, CHANGES_WAITING) for _ in range(STRIPES)]
        self._store = store
        self._log = log
        self._delivery = delivery
        self._occurrences = occurrences
        self._punctuality = punctuality
        self._now = now
        self._table: dict[str, tuple[frozenset[str], Command]] = {
            'getAllTimeZones': (SCOPES, self._get_all_time_zones),
            'scheduleEvent': (frozenset({SCHEDULE}), self._schedule_event),
            'getEvent': (SCOPES, self._get_event),
            'cancelEvent': (frozenset({SCHEDULE, MANAGE}), self._cancel_event),
            'updateEvent': (frozenset({SCHEDULE, MANAGE}), self._update_event),
            'listEvents': (frozenset({LISTEN, MANAGE}), self._list_events),
            'listSeries': (frozenset({LISTEN, MANAGE}), self._list_series),
            'getReminders': (frozenset({LISTEN}), self._get_reminders),
            'getStatus': (SCOPES, self._get_status),
        }
        """Of each command the scopes of which it takes one, and what does it."""

    @property
    def names(self) -> frozenset[str]:
        """The commands that there are."""
        return frozenset(self._table)

    @property
    def refused(self) -> dict[str, int]:
        """How many were not let in so far, by gate."""
        changes = sum(gate.refused for gate in self._changes)
        return {'rules': self._rules.refused, 'lists': self._lists.refused, 'changes': changes}

    def run(self, message: object, identity: Identity) -> Envelope:
        """Does what `message` (any JSON value) asks for, if `identity` may, and returns the envelope.

        Blocks meanwhile, never raises.
        """
        fields = message if isinstance(message, dict) else {}
        name = fields.get('command')
        try:
            command = self._find_command(name, identity)
            return command(Fields(fields.get('data')), identity)
        except InvalidInput as failure:
            return Failure(str(failure), type(failure))
        except Changed as failure:
            return Failure('somebody else is changing the same; please try again', type(failure))
        except StoreUnavailable as failure:
            logger.debug('%(command)s: %(error)s', {'event': 'database_error', 'command': name, 'error': str(failure)})
            return Failure(UNAVAILABLE, StoreUnavailable)
        except Exception as error:
            # An error's text may hold what the client sent, which is nobody else's business.
            kind, trace = type(error).__name__, ''.join(traceback.format_tb(error.__traceback__))
            logger.error(
                '%(command)s failed: %(error)s',
                {
                    'event': 'command_failed',
                    'command': name,
                    'error': kind,
                    'exception': f'Traceback (most recent call last):\n{trace}{kind}',
                },
            )
            logger.debug('%(command)s failed', {'event': 'command_failed', 'command': name}, exc_info=True)
            return Failure(INTERNAL, Exception)

    def _find_command(self, name: object, identity: Identity) -> Command:
        """The command of that name, if `identity` may give it. Raises InvalidInput."""
        if name in (None, ''):
            raise InvalidInput("Invalid message passed: an object with a 'command' is required")
        entry = self._table.get(name) if isinstance(name, str) else None
        if entry is None:
            raise UnknownCommand('un-recognized command')
        scopes, command = entry
        if identity.has_expired(self._now()):
            raise NotAuthenticated('token has expired')
        if not scopes & identity.scopes:
            raise NotAllowed(f"scope '{' or '.join(sorted(scopes))}' is required")
        return command

    # -- scheduling -------------------------------------------------------------------------------------------------

    def _get_all_time_zones(self, data: Fields, identity: Identity) -> Envelope:
        return _all_time_zones()

    def _schedule_event(self, data: Fields, identity: Identity) -> Envelope:
        with self._rules.pass_through() if 'repeat' in data.all else nullcontext():
            wanted, now = events.wanted(data.value), self._now()
            series = None if wanted.rule is None else events.begin_series(wanted, now, identity.subject)
            has_future = series is None or _has_future(series)
        self._check_channel(wanted.channel, identity)
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
        return _success(kept.reminder(), wanted.warning if kept.time == wanted.meaning.instant else None)

    # -- one event, or a series -------------------------------------------------------------------------------------

    def _get_event(self, data: Fields, identity: Identity) -> Envelope:
        found = self._find(data.id(), identity)
        if isinstance(found, Series):
            return _success(self._view_of_series(found, self._closed()))
        return _success({**event_view(found), 'state': state(found, self._store.record())})

    def _cancel_event(self, data: Fields, identity: Identity) -> Envelope:
        def cancel() -> Envelope:
            found = self._find_own(data.id(), identity)
            if isinstance(found, Series):
                ended = replace(found, ended=True)
                if not found.ended:
                    self._store.replace_series(found, ended)
                self._occurrences.take_back(ended, self._store.record().closed)
                return self._changed_series(ended)
            if not found.cancelled:
                found = self._replace(found, replace(found, cancelled=True))
                self._make_next(found)
            return _success({**event_view(found), 'state': 'cancelled'})

        return self._one_by_one(data.id(), identity, cancel)

    def _update_event(self, data: Fields, identity: Identity) -> Envelope:
        def update() -> Envelope:
            found, now = self._find_own(data.id(), identity), self._now()
            if isinstance(found, Series):
                return self._update_series(found, data, identity)
            if found.cancelled:
                raise InvalidInput(f"_id='{found.id}' is cancelled")
            if 'repeat' in data.all:
                raise InvalidInput("'repeat' is of series only")
            event, warning = events.change(found, data.all, now)
            self._check_channel(event.channel, identity)
            if event != found:
                event = self._replace(found, event)
                self._make_next(event)
            return _success({**event_view(event), 'state': state(event, self._store.record())}, warning)

        return self._one_by_one(data.id(), identity, update)

    def _update_series(self, found: Series, data: Fields, identity: Identity) -> Envelope:
        if found.ended:
            raise InvalidInput(f"_id='{found.id}' has ended")
        with self._rules.pass_through():
            changed = events.change_series(found, data.all, self._now())
            self._check_channel(changed.channel, identity)
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
        self._find(id, identity)  # as who asks for what is not there need not keep others waiting
        with self._changes[hash(id) % STRIPES].pass_through():
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

    def _find(self, id: str, identity: Identity) -> Event | Series:
        """The event or series of that id, if that identity may know of it. Raises InvalidInput."""
        found = self._store.get(id) or self._store.get_series(id)
        if found is None or not self._may_know(found, identity):
            raise InvalidInput(f"_id='{shown(id)}' is not found")
        return found

    def _find_own(self, id: str, identity: Identity) -> Event | Series:
        """The event or series of that id, if that identity may change it. Raises InvalidInput."""
        found = self._find(id, identity)
        if MANAGE not in identity.scopes and not _owns(identity, found):
            raise NotAllowed(f"scope '{MANAGE}' is required to change what others have scheduled")
        return found

    def _may_know(self, found: Event | Series, identity: Identity) -> bool:
        return identity.may_see(found.channel) and (bool(identity.scopes & {LISTEN, MANAGE}) or _owns(identity, found))

    def _check_channel(self, channel: str | None, identity: Identity) -> None:
        if not identity.may_see(channel):
            raise NotAllowed(f"channel='{channel}' is not allowed by your token")

    def _changed_series(self, series: Series, wanted: events.Wanted | None = None) -> Envelope:
        """The answer to who has changed a series, or scheduled what is `wanted`, which is a success."""
        view = self._view_of_series(series, self._closed(), patient=True)
        if wanted is not None:
            return _success(view, wanted.warning if view['time'] == iso(wanted.meaning.instant) else None)
        left = self._occurrences.left(series)
        warning = f'what is due up to {iso(left[-1].time)} was too near for that, and comes as it was' if left else None
        return _success(view, warning)

    def _closed(self) -> int:
        """The latest minute (ms, UTC) that is closed, by this server's clock or by another one's."""
        return max(events.closing(self._now()), self._store.record().closed)

    def _view_of_series(self, series: Series, after: int, patient: bool = False) -> View:
        entries = self._store.occurrences(series.id, after, SHOWN)
        with self._rules.pass_through(patient):  # its rule tells what comes next
            return series_view(series, entries, after)

    # -- lists ------------------------------------------------------------------------------------------------------

    def _list_events(self, data: Fields, identity: Identity) -> Envelope:
        """What is pending, in order."""
        record = self._store.record()
        after = max(Place.after(record.closed), Place(data.instant('from', 0), ''), data.place('after'))
        until = Place.after(data.instant('to', _FOREVER))

        def read(events: Sequence[Event], count: int) -> Sequence[Event]:
            return self._store.read(events[-1].place if events else after, until, count)

        found, last = self._search(read, data.limit(), self._channels(data, identity))
        following = None if last is None else encode_offset(record.log, last.place)
        return _success({'events': [event_view(event) for event in found], 'next': following})

    def _list_series(self, data: Fields, identity: Identity) -> Envelope:
        """The series that have not ended, in no order that means anything."""
        after = data.all.get('after')
        if after is not None and not isinstance(after, str):
            raise InvalidInput("'after' has to be what 'next' was")

        def read(series: Sequence[Series], count: int) -> Sequence[Series]:
            return self._store.list_series(series[-1].id if series else after or '', count)

        found, last = self._search(read, data.limit(), self._channels(data, identity))
        following = None if last is None else last.id
        after = self._closed()
        return _success({'series': [self._view_of_series(one, after) for one in found], 'next': following})

    def _get_reminders(self, data: Fields, identity: Identity) -> Envelope:
        """What was delivered, in order."""
        end = self._log.end
        place, complete = self._log.locate(parse_since(data.all.get('since')), identity.channels)

        def read(events: Sequence[Event], count: int) -> Sequence[Event]:
            after = events[-1].place if events else place
            return self._store.read(after, end, count) if after < end else ()

        found, last = self._search(read, data.limit(), self._channels(data, identity))
        offset = encode_offset(self._store.record().log, max(place, end) if last is None else last.place)
        return _success({'reminders': [event.reminder() for event in found], 'next': offset, 'complete': complete})

    def _search(
        self,
        read: Callable[[Sequence[Found], int], Sequence[Found]],
        limit: int,
        channels: frozenset[str] | None,
    ) -> tuple[list[Found], Found | None]:
        with self._lists.pass_through():
            return search(read, limit, channels)

    def _channels(self, data: Fields, identity: Identity) -> frozenset[str] | None:
        """The channels to look into, beside what has none."""
        wanted = channel(data.all.get('channel'))
        self._check_channel(wanted, identity)
        return identity.channels if wanted is None else frozenset({wanted})

    # -- the server -------------------------------------------------------------------------------------------------

    def _get_status(self, data: Fields, identity: Identity) -> Envelope:
        """The log's record, how far this server is with it, what comes next; with `_id`, how it is with that event."""
        record, now = self._store.record(), self._now()
        status: dict[str, Any] = {
            'now': iso(now),
            'log': record.log,
            **{name: iso(getattr(record, name)) for name in ('opened', 'closed', 'delivered', 'purged')},
            'secondsBehind': self._delivery.behind(now) / 1000,
            **self._delivery.counts,
            'lateness': self._punctuality.summary(),
        }
        if identity.scopes & {LISTEN, MANAGE}:
            # From the minute on, so that all who ask within it ask the same.
            begin = max(now // MINUTE * MINUTE, record.closed)
            following = self._store.read(Place.after(begin), Place.after(_FOREVER), 1, identity.channels)
            status['next'] = following[0].reminder() if following else None
        if '_id' in data.all:
            found = self._find(data.id(), identity)
            if isinstance(found, Event):
                status['event'] = {**found.reminder(), 'state': state(found, record)}
            else:
                status['event'] = self._view_of_series(found, max(events.closing(now), record.closed))
        return _success(status)


def _has_future(series: Series) -> bool:
    return bool(upcoming(series, series.made, 1))


def _no_future(series: Series) -> InvalidInput:
    return InvalidInput(f"repeat='{shown(series.repeat)}' names no time in the future")


def _owns(identity: Identity, found: Event | Series) -> bool:
    return found.owner is not None and found.owner == identity.subject


@cache
def _all_time_zones() -> Constant:
    return Constant(_success(timezones.names()))


def _success(response: object, warning: str | None = None) -> Envelope:
    envelope: Envelope = {'status': 'success', 'response': response}
    if warning is not None:
        envelope['warning'] = warning
    return envelope

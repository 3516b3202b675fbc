"""The table of commands. Every door gives its messages to `Commands.run` and sends back what that returns."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from reminder.commands.changes import Changes
from reminder.commands.envelopes import Constant, Envelope, Failure, success
from reminder.commands.known import Known
from reminder.commands.lists import FOREVER, Lists
from reminder.errors import Changed, InvalidInput, NotAllowed, NotAuthenticated, StoreUnavailable, UnknownCommand
from reminder.models.event import MINUTE, Event, Place, Series, iso
from reminder.models.store import Store
from reminder.services import events, timezones
from reminder.services.delivery import Delivery
from reminder.services.fields import Fields
from reminder.services.identity import LISTEN, MANAGE, SCHEDULE, SCOPES, Identity
from reminder.services.log import Log
from reminder.services.punctuality import Punctuality
from reminder.services.series import Occurrences
from reminder.services.views import event_view, state

logger = logging.getLogger(__name__)

UNAVAILABLE = 'the database is unavailable, so this may not have been done; please try again later'
INTERNAL = 'internal error'
"""The `error` of failures that no message is the reason of."""

Command = Callable[[Fields, Identity], Envelope]


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
        self._store = store
        self._delivery = delivery
        self._punctuality = punctuality
        self._now = now
        self._known = Known(store, now, rest)
        self._changes = Changes(store, self._known, occurrences, now)
        self._lists = Lists(store, self._known, log)
        self._table: dict[str, tuple[frozenset[str], Command]] = {
            'getAllTimeZones': (SCOPES, self._get_all_time_zones),
            'scheduleEvent': (frozenset({SCHEDULE}), self._changes.schedule_event),
            'getEvent': (SCOPES, self._get_event),
            'cancelEvent': (frozenset({SCHEDULE, MANAGE}), self._changes.cancel_event),
            'updateEvent': (frozenset({SCHEDULE, MANAGE}), self._changes.update_event),
            'listEvents': (frozenset({LISTEN, MANAGE}), self._lists.list_events),
            'listSeries': (frozenset({LISTEN, MANAGE}), self._lists.list_series),
            'getReminders': (frozenset({LISTEN}), self._lists.get_reminders),
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
        return {'rules': self._known.rules.refused, 'lists': self._lists.refused, 'changes': self._changes.refused}

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
            logger.exception(
                '%(command)s failed: %(error)s',
                {'event': 'command_failed', 'command': name, 'error': type(error).__name__},
            )
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

    def _get_all_time_zones(self, data: Fields, identity: Identity) -> Envelope:
        return _all_time_zones()

    def _get_event(self, data: Fields, identity: Identity) -> Envelope:
        found = self._known.find(data.id(), identity)
        if isinstance(found, Series):
            return success(self._known.view_of_series(found, self._known.closed()))
        return success({**event_view(found), 'state': state(found, self._store.record())})

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
            following = self._store.read(Place.after(begin), Place.after(FOREVER), 1, identity.channels)
            status['next'] = following[0].reminder() if following else None
        if '_id' in data.all:
            found = self._known.find(data.id(), identity)
            if isinstance(found, Event):
                status['event'] = {**found.reminder(), 'state': state(found, record)}
            else:
                status['event'] = self._known.view_of_series(found, max(events.closing(now), record.closed))
        return success(status)


@cache
def _all_time_zones() -> Constant:
    return Constant(success(timezones.names()))

"""The table of commands. Every door gives its messages to `Commands.run` and sends back what that returns."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

from reminder.errors import InvalidInput, MinuteClosed, StoreUnavailable
from reminder.models.event import Place, Record, iso
from reminder.models.store import Store
from reminder.services import events, timezones
from reminder.services.delivery import Delivery
from reminder.services.identity import SCHEDULE, Identity
from reminder.services.punctuality import Punctuality

logger = logging.getLogger(__name__)

_FOREVER = Place(2**53, '')

Envelope = dict[str, Any]
"""An answer as clients get it: `status`, and `response` (maybe `warning`) or `error`. Can be sent as JSON."""


class Commands:
    """What clients can ask for, on one store and the delivery of one server.

    `now` gives the instant (ms, UTC). Calls may come from any number of greenlets or threads at once.
    """

    def __init__(self, store: Store, delivery: Delivery, punctuality: Punctuality, now: Callable[[], int]) -> None:
        self._store = store
        self._delivery = delivery
        self._punctuality = punctuality
        self._now = now
        self._table: dict[str, tuple[str | None, Callable[[object], Envelope]]] = {
            'getAllTimeZones': (None, self._get_all_time_zones),
            'scheduleEvent': (SCHEDULE, self._schedule_event),
            'getStatus': (None, self._get_status),
        }
        """Of each command the scope that it takes, if any, and what does it."""

    def run(self, message: object, identity: Identity) -> Envelope:
        """Does what `message` (any JSON value) asks for, if `identity` may, and returns the envelope.

        Blocks meanwhile, never raises.
        """
        fields = message if isinstance(message, dict) else {}
        name = fields.get('command')
        if name in (None, ''):
            return _failure("Invalid message passed: an object with a 'command' is required")
        entry = self._table.get(name) if isinstance(name, str) else None
        if entry is None:
            return _failure('un-recognized command')
        scope, command = entry
        if identity.has_expired(self._now()):
            return _failure('token has expired')
        if scope is not None and scope not in identity.scopes:
            return _failure(f"scope '{scope}' is required")
        try:
            return command(fields.get('data'))
        except InvalidInput as failure:
            return _failure(str(failure))
        except StoreUnavailable as failure:
            logger.debug('%s: %s', name, failure)
            return _failure('the database is unavailable, so this may not have been done; please try again later')
        except Exception as error:
            # An error's text may hold what the client sent, which is nobody else's business.
            trace = ''.join(traceback.format_tb(error.__traceback__))
            logger.error('%s failed: %s\n%s', name, type(error).__name__, trace)
            logger.debug('%s failed', name, exc_info=True)
            return _failure('internal error')

    def _get_all_time_zones(self, data: object) -> Envelope:
        return _success(timezones.names())

    def _schedule_event(self, data: object) -> Envelope:
        event, warning = events.schedule(data, self._now())
        try:
            self._store.add(event)
        except MinuteClosed:
            raise events.too_late(event) from None
        return _success(event.reminder(), warning)

    def _get_status(self, data: object) -> Envelope:
        """The log's record, how far this server is with it, what comes next; with `_id`, how it is with that event."""
        record, now = self._store.record(), self._now()
        following = self._store.read(Place.after(max(now, record.closed)), _FOREVER, 1)
        status: dict[str, Any] = {
            'now': iso(now),
            'log': record.log,
            **{name: iso(getattr(record, name)) for name in ('opened', 'closed', 'delivered', 'purged')},
            'secondsBehind': self._delivery.behind(now) / 1000,
            **self._delivery.counts,
            'lateness': self._punctuality.summary(),
            'next': following[0].reminder() if following else None,
        }
        if isinstance(data, dict) and '_id' in data:
            status['event'] = self._event_status(data['_id'], record)
        return _success(status)

    def _event_status(self, id: object, record: Record) -> dict[str, str]:
        event = self._store.get(id) if isinstance(id, str) else None
        if event is None:
            raise InvalidInput(f"_id='{str(id)[:100]}' is not found")
        state = 'pending' if event.time > record.closed else 'due' if event.time > record.delivered else 'delivered'
        return {**event.reminder(), 'state': state}


def _success(response: object, warning: str | None = None) -> Envelope:
    envelope: Envelope = {'status': 'success', 'response': response}
    if warning is not None:
        envelope['warning'] = warning
    return envelope


def _failure(error: str) -> Envelope:
    return {'status': 'failure', 'error': error}

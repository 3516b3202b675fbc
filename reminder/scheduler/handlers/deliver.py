"""Each minute: closes it a moment before it begins, and writes its reminders when it begins.

What is late (the store was away, the machine was suspended, the clock was set forward) is closed and written at once,
by the same steps, within a second of when that became possible.
"""

import logging
from contextlib import suppress

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, iso
from reminder.scheduler import Scheduler
from reminder.scheduler.handlers import Context
from reminder.services.delivery import Batch
from reminder.services.events import LEAD, closing

logger = logging.getLogger(__name__)

EARLY = 1_000
"""ms before its minute that a minute's job may begin."""
COARSE = 2
"""ms that a sleep may be longer than it should: the loop's timers have whole ones. What is left is looked at often."""
TURN = 1e-6
"""A sleep (s) in which all others get their turn, and no more."""


class Deliver:
    """Drives the delivery by the clock."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failing = False

    def minute(self) -> None:
        """Delivers the minute that begins within a second, or else the last one that began."""
        self._correct_clock()
        self._deliver((self._context.clock.now() + EARLY) // MINUTE * MINUTE)

    def second(self) -> None:
        """Delivers what is due and was not delivered in its minute."""
        if self._context.log.due(self._context.clock.now()):
            self._correct_clock()
            self._deliver(closing(self._context.clock.now()))

    def _correct_clock(self) -> None:
        """Before anything is closed: a clock that is wrong must not close minutes that are still to come."""
        clock = self._context.clock
        with suppress(StoreUnavailable):  # closing will find the same, and says so
            clock.correct(self._context.store.clock_offset(clock.machine()))

    def _deliver(self, minute: int) -> None:
        clock, delivery = self._context.clock, self._context.delivery
        if not self._wait_until(minute - LEAD):
            return
        try:
            delivery.close(minute, clock.now)
            self._said(None)
            # A clock that is set back now does not matter any more: what is closed is written.
            self._wait_until(minute)
            self._report(minute, delivery.publish())
            self._context.log.settle()
        except StoreUnavailable as error:
            self._said(error)

    def _wait_until(self, instant: int) -> bool:
        """Sleeps until `instant`; False where that has come to lie further away than a job begins early."""
        while (left := instant - self._context.clock.now()) > 0:
            if left > EARLY:
                return False
            self._context.sleep((left - COARSE) / 1000 if left > COARSE else TURN)
        return True

    def _report(self, minute: int, batch: Batch) -> None:
        if batch.reminders:
            lateness = max(0, self._context.clock.now() - minute)
            self._context.punctuality.record(lateness)
            logger.info(
                '%(reminders)d reminders to %(clients)d clients, written %(lateness_ms)d ms after the minute',
                {
                    'event': 'batch',
                    'minute': iso(minute),
                    'reminders': batch.reminders,
                    'clients': batch.readers,
                    'lateness_ms': lateness,
                },
            )

    def _said(self, error: StoreUnavailable | None) -> None:
        """Says once that the database is away, and once that it is back."""
        if error is not None and not self._failing:
            logger.error(
                'reminders wait for the database, which is asked again each second: %(error)s',
                {'event': 'database_away', 'error': str(error)},
            )
        elif error is None and self._failing:
            logger.info('the database is back', {'event': 'database_back'})
        self._failing = error is not None


def subscribe(scheduler: Scheduler, context: Context) -> None:
    """Subscribes to the jobs `minute` and `second`."""
    deliver = Deliver(context)
    scheduler.on('minute', deliver.minute)
    scheduler.on('second', deliver.second)

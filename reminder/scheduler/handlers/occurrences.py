"""Half a minute before each minute: makes what series have in it, so that closing it waits for none."""

import logging

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE
from reminder.scheduler import Scheduler
from reminder.scheduler.handlers import Context
from reminder.services.events import closing

logger = logging.getLogger(__name__)


def subscribe(scheduler: Scheduler, context: Context) -> None:
    """Subscribes to the job `half`."""

    def make() -> None:
        if context.log.record is None:
            return  # the log's opening makes them
        try:
            context.log.prepare(closing(context.clock.now()) + MINUTE)
        except StoreUnavailable as error:
            logger.debug(
                'occurrences are made when their minute is closed: %(error)s',
                {'event': 'occurrences_wait', 'error': str(error)},
            )

    scheduler.on('half', make)

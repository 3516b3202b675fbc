"""Half a minute before each minute, when nothing else waits: counts what is pending."""

import logging

from reminder.errors import StoreUnavailable
from reminder.scheduler import Scheduler
from reminder.scheduler.handlers import Context

logger = logging.getLogger(__name__)


def subscribe(scheduler: Scheduler, context: Context) -> None:
    """Subscribes to the job `half`."""

    def count() -> None:
        if context.log.record is None:
            return
        try:
            context.backlog.count(context.store, context.log.record.closed)
        except StoreUnavailable as error:
            logger.debug(
                'what is pending is counted in a minute: %(error)s', {'event': 'backlog_waits', 'error': str(error)}
            )

    scheduler.on('half', count)

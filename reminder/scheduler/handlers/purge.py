"""Once a day: deletes what was delivered longer ago than it is to be kept."""

import logging

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE
from reminder.scheduler import Scheduler
from reminder.scheduler.handlers import Context

logger = logging.getLogger(__name__)

DAY = 24 * 60 * MINUTE


def subscribe(scheduler: Scheduler, context: Context) -> None:
    """Subscribes to the job `day`, where anything is ever to be deleted."""
    days = context.retention_days
    if days is None:
        return

    def purge() -> None:
        try:
            count = context.store.purge(context.clock.now() - days * DAY)
            logger.info(
                'deleted %(events)d events that were delivered more than %(days)d days ago',
                {'event': 'purged', 'events': count, 'days': days},
            )
        except StoreUnavailable as error:
            logger.warning(
                'old events are kept until tomorrow: %(error)s', {'event': 'purge_waits', 'error': str(error)}
            )

    scheduler.on('day', purge)

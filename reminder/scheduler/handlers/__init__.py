"""Who does what when a job is due. A new job is an entry in `jobs.json`, a module here, and a line in `HANDLERS`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from reminder.models.store import Store
from reminder.scheduler import Scheduler
from reminder.scheduler.clock import Clock
from reminder.services.backlog import Backlog
from reminder.services.delivery import Delivery
from reminder.services.log import Log
from reminder.services.punctuality import Punctuality

HANDLERS = (
    'deliver',
    'occurrences',
    'backlog',
    'purge',
)


@dataclass(frozen=True)
class Context:
    """What handlers work with. `sleep` takes seconds; `retention_days` is None where nothing is deleted."""

    store: Store
    log: Log
    delivery: Delivery
    clock: Clock
    sleep: Callable[[float], None]
    retention_days: int | None
    punctuality: Punctuality = field(default_factory=Punctuality)
    backlog: Backlog = field(default_factory=Backlog)


def subscribe(scheduler: Scheduler, context: Context) -> None:
    """Subscribes all handlers."""
    for name in HANDLERS:
        import_module(f'{__name__}.{name}').subscribe(scheduler, context)

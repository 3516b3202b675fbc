"""The store as it is observed: how long each of its verbs takes, and how often it fails."""

from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

from reminder.errors import StoreUnavailable
from reminder.metrics.commands import SECONDS
from reminder.models.store import Store
from reminder.services.histogram import Histogram

VERBS = sorted(Store.__abstractmethods__ - {'close'})
"""What the database is asked to do."""


class StoreFigures:
    """What is known of a store."""

    def __init__(self) -> None:
        self.durations = {verb: Histogram(SECONDS) for verb in VERBS}
        """Seconds that each verb took."""
        self.errors = Counter(dict.fromkeys(VERBS, 0))
        """How often the database did not do what it was asked to."""
        self.answers = False
        """Whether the database did what it was asked last."""


def observed(store: Store, figures: StoreFigures) -> Store:
    """The same store, whose verbs are counted. A verb that is to come is counted as well: the contract says which."""
    verbs = {verb: staticmethod(_observe(verb, getattr(store, verb), figures)) for verb in VERBS}
    return cast(Store, type('ObservedStore', (Store,), {**verbs, 'close': staticmethod(store.close)})())


def _observe(verb: str, do: Callable[..., Any], figures: StoreFigures) -> Callable[..., Any]:
    durations = figures.durations[verb]

    def done(*arguments: Any, **named: Any) -> Any:
        begun = perf_counter()
        try:
            result = do(*arguments, **named)
        except StoreUnavailable:
            figures.errors[verb] += 1
            figures.answers = False
            raise
        finally:
            durations.record(perf_counter() - begun)
        figures.answers = True
        return result

    return done

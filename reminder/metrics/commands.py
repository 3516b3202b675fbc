"""Commands as they are observed: how many there were, how they ended, and how long they took."""

import logging
from collections import Counter
from collections.abc import Iterable
from itertools import product
from time import perf_counter

from reminder.commands.envelopes import Envelope, Failure, Runs
from reminder.errors import StoreUnavailable
from reminder.services.histogram import Histogram
from reminder.services.identity import Identity

logger = logging.getLogger(__name__)

SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)
"""Upper bounds of the histograms' buckets."""
DOORS = ('socket.io', 'http')
UNKNOWN = 'unknown'
"""Stands for whatever name no command has: what clients make up does not become a label."""
SUCCESS, FAILURE = 'success', 'failure'
OUTCOMES: dict[type[Exception], str] = {StoreUnavailable: 'unavailable', Exception: 'error'}
"""Failures that have other reasons than what was asked for."""


class CommandFigures:
    """What is known of the commands of a server, through all its doors."""

    def __init__(self, names: Iterable[str]) -> None:
        self.durations = {name: Histogram(SECONDS) for name in (*sorted(names), UNKNOWN)}
        """Seconds that commands took, by name."""
        outcomes = (SUCCESS, FAILURE, *OUTCOMES.values())
        self.outcomes = Counter(dict.fromkeys(product(DOORS, self.durations, outcomes), 0))
        """How many commands ended how, by door, name and outcome. What has not happened yet is 0: of what is not there
        Prometheus does not notice the first."""


class ObservedCommands:
    """The command table as a door calls it, which is counted."""

    def __init__(self, commands: Runs, figures: CommandFigures, door: str) -> None:
        self._commands = commands
        self._figures = figures
        self._door = door

    def run(self, message: object, identity: Identity) -> Envelope:
        """What the command table does with `message`."""
        begun = perf_counter()
        envelope = self._commands.run(message, identity)
        seconds = perf_counter() - begun
        name = message.get('command') if isinstance(message, dict) else None
        if not isinstance(name, str) or name not in self._figures.durations:
            name = UNKNOWN
        outcome = OUTCOMES.get(envelope.kind, FAILURE) if isinstance(envelope, Failure) else SUCCESS
        self._figures.durations[name].record(seconds)
        self._figures.outcomes[self._door, name, outcome] += 1
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                '%(command)s: %(outcome)s in %(duration_ms)s ms',
                {
                    'event': 'command',
                    'command': name,
                    'outcome': outcome,
                    'duration_ms': round(seconds * 1000, 1),
                    'door': self._door,
                    'subject': identity.subject,
                    'error': envelope.get('error'),
                },
            )
        return envelope

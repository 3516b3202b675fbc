"""Floors: the places that no replay begins before, as each gets only so many reminders, and the store only so much to
look through. They are the same from wherever somebody comes, so those who come back ask the store once a minute.
"""

from collections import OrderedDict
from contextlib import nullcontext
from threading import Lock

from reminder.errors import Busy, StoreUnavailable
from reminder.models.event import Place
from reminder.models.store import Channels, Store
from reminder.services.gate import Gate

KEPT = 100
"""Answers of the store that are kept for those who come next."""
_BEGIN = Place(0, '')


class _Answer:
    """What the store says, once somebody has asked."""

    def __init__(self) -> None:
        self.place: Place | None = None
        self.asking = Lock()


class Floors:
    """The floors of one log."""

    def __init__(self, store: Store, replay_limit: int, gate: Gate) -> None:
        """`replay_limit` in reminders. The gate is before what is asked for some channels alone."""
        self._store = store
        self._replay_limit = replay_limit
        self._gate = gate
        self._answers: OrderedDict[tuple[Place, Place, int, Channels], _Answer] = OrderedDict()

    def find(self, place: Place, end: Place, channels: frozenset[str], search: int) -> Place:
        """The floor of replays up to `end` for those channels that look through so many entries, for whatever channels,
        at most; or, where it is not behind `place`, any other place that is not. Raises StoreUnavailable.
        """
        newest = self._before(_BEGIN, end, self._replay_limit)
        if newest <= place:
            return newest  # behind `place` there is not more than is replayed, whatever the channels
        # A reader of few channels would have all of the log searched for what is not there.
        searched = self._before(_BEGIN, end, max(search, self._replay_limit))
        return self._before(searched, end, self._replay_limit, channels)

    def _before(self, after: Place, until: Place, count: int, channels: Channels = None) -> Place:
        question = after, until, count, channels
        answer = self._answers.setdefault(question, _Answer())
        self._answers.move_to_end(question)  # what all want stays
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        if answer.place is None:
            try:
                with self._gate.pass_through() if channels else nullcontext(), answer.asking:
                    # Others may have asked it before.
                    answer.place = answer.place or self._store.before(*question)
            except Busy as error:
                raise StoreUnavailable('too many come back at once') from error
        return answer.place

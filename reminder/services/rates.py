"""How often somebody may ask for something: a rate, and how far one may be ahead of it (the GCRA)."""

from collections import OrderedDict
from typing import NamedTuple

KEPT = 10_000
"""Those of whom is known how far they are ahead; of more than so many at once, who was there first is forgiven."""


class Turn(NamedTuple):
    """What somebody has got who asked: `wait` (s) is 0; where it is too often, and not counted, how long to wait.

    `order` says who is first where all have to wait: until when what they have asked for would have taken.
    """

    wait: float
    order: float


class Rates:
    """What each of many has asked for, against the same rate."""

    def __init__(self, rate: float, burst: float) -> None:
        """`rate`: times a second. `burst`: how many seconds' worth of it may come at once; maybe infinite."""
        self._rate = rate
        self._burst = burst
        self._paid: OrderedDict[str, float] = OrderedDict()  # KEPT
        """By whom: until when what they have asked for would have taken at just the rate. Oldest first."""

    def take(self, who: str, now: float) -> Turn:
        """Counts one more for `who`, at `now` (s), unless that is too often."""
        paid = max(self._paid.get(who, now), now)
        if paid > now + self._burst:
            return Turn(paid - now - self._burst, paid)
        self._paid[who] = paid + 1 / self._rate
        self._paid.move_to_end(who)
        while len(self._paid) > KEPT:
            self._paid.popitem(last=False)
        return Turn(0, paid)

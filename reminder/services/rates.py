"""How often somebody may ask for something: a rate, and how far one may be ahead of it (the GCRA)."""

from collections import OrderedDict

KEPT = 10_000
"""Those of whom is known how far they are ahead; of more than so many at once, who was there first is forgiven."""


class Rates:
    """What each of many has asked for, against the same rate."""

    def __init__(self, rate: float, burst: float) -> None:
        """`rate`: times a second; 0 for any number. `burst`: how many seconds' worth of it may come at once."""
        self._rate = rate
        self._burst = burst
        self._paid: OrderedDict[str, float] = OrderedDict()  # KEPT
        """By whom: until when what they have asked for would have taken at just the rate. Oldest first."""

    def take(self, who: str, now: float) -> float:
        """Counts one more for `who`, at `now` (s). Returns 0; where it is too often, and not counted, the wait (s)."""
        if not self._rate:
            return 0.0
        paid = max(self._paid.get(who, now), now)
        if paid > now + self._burst:
            return paid - now - self._burst
        self._paid[who] = paid + 1 / self._rate
        self._paid.move_to_end(who)
        while len(self._paid) > KEPT:
            self._paid.popitem(last=False)
        return 0.0

"""How late reminders are: from the instant that a minute begins to the last write of its batch."""

from bisect import bisect_left

BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)
"""Upper bounds (ms) of the histogram's buckets; one more holds what is later."""


class Punctuality:
    """A histogram of lateness, for as long as the process lives."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        """How many batches were at most as late as each of BOUNDS, and later than the one before it."""
        self.total = 0
        """The sum of all batches' lateness (ms)."""
        self.worst = 0
        """The latest batch's (ms)."""

    def record(self, lateness: int) -> None:
        """Counts a batch that was `lateness` ms late."""
        self.buckets[bisect_left(BOUNDS, lateness)] += 1
        self.total += lateness
        self.worst = max(self.worst, lateness)

    def summary(self) -> dict[str, int | None]:
        """`batches`, the `median` as the upper bound of its bucket, and the `worst`, in ms; None without a batch.

        The median is also None where it lies above the last bound.
        """
        batches = sum(self.buckets)
        counted = 0
        for bound, count in zip(BOUNDS, self.buckets, strict=False):
            counted += count
            if batches and counted * 2 >= batches:
                return {'batches': batches, 'median': bound, 'worst': self.worst}
        return {'batches': batches, 'median': None, 'worst': self.worst if batches else None}

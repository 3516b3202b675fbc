"""How late reminders are: from the instant that a minute begins to the last write of its batch."""

from reminder.services.histogram import Histogram

BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)
"""Upper bounds (ms) of the histogram's buckets."""


class Punctuality(Histogram):
    """A histogram of lateness (ms), for as long as the process lives."""

    def __init__(self) -> None:
        super().__init__(BOUNDS)
        self.worst: float = 0
        """The latest batch's (ms)."""

    def record(self, value: float) -> None:
        """Counts a batch that was so many ms late."""
        super().record(value)
        self.worst = max(self.worst, value)

    def summary(self) -> dict[str, float | None]:
        """`batches`, the `median` as the upper bound of its bucket, and the `worst`, in ms; None without a batch.

        The median is also None where it lies above the last bound.
        """
        batches, counted = self.count, 0
        for bound, count in zip(BOUNDS, self.buckets, strict=False):
            counted += count
            if batches and counted * 2 >= batches:
                return {'batches': batches, 'median': bound, 'worst': self.worst}
        return {'batches': batches, 'median': None, 'worst': self.worst if batches else None}

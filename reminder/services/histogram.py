"""Histograms of plain numbers, which cost what counts in them next to nothing."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """How many values there were, by size, for as long as the process lives."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are the upper bounds of the buckets, in order; one more bucket holds what is larger."""
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        """How many values were at most each of the bounds, and more than the one before it."""
        self.total: float = 0
        """The sum of all values."""

    def record(self, value: float) -> None:
        """Counts a value."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.buckets)

"""The server's clock: this machine's, or the database's where the two differ."""

import logging
import time

logger = logging.getLogger(__name__)

TOLERANCE = 1_000
"""ms that this machine and the database may differ without anybody being corrected."""


class Clock:
    """Says what time it is, in ms since 1970, UTC."""

    def __init__(self) -> None:
        self._offset = 0

    def now(self) -> int:
        """Now, by this machine's clock and its correction."""
        return self.machine() + self._offset

    def machine(self) -> int:
        """Now, by this machine's clock alone."""
        return time.time_ns() // 1_000_000

    def correct(self, offset: int) -> None:
        """Takes over by how many ms the database's clock is ahead of this machine's."""
        if abs(offset) <= TOLERANCE:
            offset = 0
        if abs(offset - self._offset) <= TOLERANCE:
            return  # the clocks wander, and a correction that wanders along would not be any better
        self._offset = offset
        if offset:
            logger.warning(
                "going by the database's clock, which is %(offset_s)+.1f s from this machine's",
                {'event': 'clock_corrected', 'offset_s': offset / 1000},
            )
        else:
            logger.warning(
                "going by this machine's clock again, as the database's agrees with it",
                {'event': 'clock_corrected', 'offset_s': 0},
            )

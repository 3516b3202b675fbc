"""One page of a list, for somebody who may see only some channels: a bounded search in what may be very long."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from reminder.models.event import Event, Series

ANSWERED, PORTION, SEARCHED = 101, 1_000, 5_000
"""Entries that are read at a time where all are asked for, and where those of some channels are; and in all."""
ANSWER_BYTES = 65_536
"""Bytes of names and payloads after which an answer ends, although more were asked for."""

Found = TypeVar('Found', Event, Series)


def search(
    read: Callable[[Sequence[Found], int], Sequence[Found]], limit: int, channels: frozenset[str] | None
) -> tuple[list[Found], Found | None]:
    """The first of what `read` finds that is for those channels, or for everybody: `limit`, or fewer large ones.

    `read` gives so many of what lies behind what it gave last. No more than SEARCHED are looked through, as there may
    be few for some channels. Answers also the last that was looked at; None where nothing lies behind it.
    """
    found: list[Found] = []
    size = searched = 0
    looked_at: Sequence[Found] = ()
    portion = min(limit + 1, ANSWERED) if channels is None else PORTION
    while searched < SEARCHED:
        looked_at = read(looked_at, portion)
        searched += len(looked_at)
        for number, one in enumerate(looked_at, 1):
            if channels is None or one.channel is None or one.channel in channels:
                found.append(one)
                size += len(one.name.encode()) + len(one.payload or '')
            if len(found) == limit or size > ANSWER_BYTES:
                return found, one if number < len(looked_at) or number == portion else None
        if len(looked_at) < portion:
            return found, None
    return found, looked_at[-1]

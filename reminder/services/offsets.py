"""Offsets: a place in a log as a string that clients keep and give back, and the other ways to say 'since'."""

import re
from dataclasses import dataclass
from datetime import datetime

from reminder.errors import InvalidInput
from reminder.models.event import Place, instant

_OFFSET = re.compile(r'([0-9a-f]{16})\.([0-9]{1,15})\.((?:[0-9a-f]{24})?)', re.ASCII)
_ID = re.compile(r'[0-9a-f]{24}', re.ASCII)


@dataclass(frozen=True, slots=True)
class Since:
    """Where a client says it left off: a place (in the log of that id, where it knows one) or the id of an event."""

    place: Place = Place(0, '')
    log: str | None = None
    id: str | None = None


def encode_offset(log: str, place: Place) -> str:
    """The offset of `place` in the log of that id: opaque to clients, without secrets, the same on every server."""
    return f'{log}.{place.time}.{place.id}'


def parse_offset(text: object) -> Since | None:
    """What an offset means; None for anything that is not one."""
    match = _OFFSET.fullmatch(text) if isinstance(text, str) else None
    return Since(Place(int(match[2]), match[3]), match[1]) if match else None


def parse_since(text: object) -> Since:
    """What `auth.since` means: an offset, the `_id` of a reminder, or an ISO 8601 time with its zone.

    A time counts itself: what was due at that very instant is replayed. Raises InvalidInput for anything else.
    """
    since = parse_offset(text)
    if since is not None:
        return since
    if isinstance(text, str):
        if _ID.fullmatch(text):
            return Since(id=text)
        time = parse_instant(text)
        if time is not None:
            return Since(Place(max(0, time), ''))
    raise InvalidInput("'since' must be an offset, the _id of a reminder, or an ISO 8601 time with its zone")


def parse_instant(text: object) -> int | None:
    """An ISO 8601 time with its zone as an instant (ms, UTC); None for anything that is not one."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return None if moment is None or moment.tzinfo is None else instant(moment)
    except (ValueError, OverflowError):
        return None

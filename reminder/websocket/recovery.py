"""What a client says of itself when it connects: connection state recovery, and `auth.since` for other clients.

The official JavaScript client (from 4.6) remembers the `pid` of a CONNECT answer and the last string argument of an
event as `offset`, and gives both back when it connects again; `socket.recovered` is true where the same `pid` returns.
Node's server keeps that state in memory; here the offset is a place in the log, which every server can read on from.
"""

import re
import secrets
from typing import Any

from reminder.models.store import Channels
from reminder.services.log import NO_CHANNELS, Log, Start
from reminder.services.offsets import parse_offset, parse_since

_PID = re.compile(r'[A-Za-z0-9_-]{1,64}', re.ASCII)


def start(
    log: Log, payload: Any, now: int, channels: frozenset[str] = NO_CHANNELS, known: Channels = None
) -> tuple[Start, str]:
    """Where a connection with that CONNECT payload, for those channels, begins, and the `pid` to answer. It may know of
    the channels `known`; None is all.

    The client's own `pid` comes back only if it misses nothing. Raises InvalidInput for a malformed `since`, for which
    the client's code is at fault; a malformed offset, which it cannot help, counts as none. Raises StoreUnavailable.
    """
    auth = payload if isinstance(payload, dict) else {}
    pid, offset = auth.get('pid'), parse_offset(auth.get('offset'))
    if offset is not None and isinstance(pid, str) and _PID.fullmatch(pid):
        begin = log.resume(offset, channels, known)
        if begin.replay is not None and begin.replay.complete:
            return begin, pid
    elif auth.get('since') is not None:
        begin = log.resume(parse_since(auth['since']), channels, known)
    else:
        begin = log.begin(now, channels)
    return begin, secrets.token_urlsafe(12)

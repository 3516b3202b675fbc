"""What is counted of connections, as plain numbers: who observes the server reads them when they are asked for."""

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

import engineio

if TYPE_CHECKING:
    from reminder.websocket.engine import Engine
    from reminder.websocket.streams import Streams

STALLED = 'stalled'
EXPIRED = 'token expired'
"""Why connections end, beside what Engine.IO knows: the client takes no byte, or its token is no longer valid."""
_REASON = engineio.Server.reason
ENDS = (
    _REASON.CLIENT_DISCONNECT,
    _REASON.SERVER_DISCONNECT,
    _REASON.PING_TIMEOUT,
    _REASON.TRANSPORT_CLOSE,
    _REASON.TRANSPORT_ERROR,
    STALLED,
    EXPIRED,
)
LIMITS = ('connections', 'share', 'visitors', 'rate', 'window', 'outbox', 'body')
"""Limits of connections: clients in all, and from one address; connections that are no clients yet; commands a second,
commands ahead, and bytes not taken, of one client; bytes of a POST."""

_upgraded, _waiting, _to_take = attrgetter('upgraded'), attrgetter('transport.waiting'), attrgetter('waiting')


class Counts:
    """What has happened so far."""

    def __init__(self) -> None:
        self.ended = Counter(dict.fromkeys(ENDS, 0))
        """Clients that are gone, by reason."""
        self.limits = Counter(dict.fromkeys(LIMITS, 0))
        """How often a limit was reached."""


def clients(engine: 'Engine', streams: 'Streams') -> dict[str, int]:
    """How many clients there are, by transport."""
    websockets = sum(map(_upgraded, engine.sockets.values()))
    return {'websocket': websockets, 'polling': len(engine.sockets) - websockets, 'stream': len(streams)}


def bytes_queued(engine: 'Engine', streams: 'Streams') -> int:
    """Bytes that were written to clients, and which their connections have not taken yet."""
    waiting: int = sum(map(_waiting, engine.sockets.values())) + sum(map(_to_take, streams.outboxes))
    return waiting

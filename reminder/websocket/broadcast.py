"""The one place where reminders go out: their packets, the readers behind connections, and who keeps them reading."""

import json
import logging
from collections.abc import Sequence

import gevent
from gevent.event import Event as Signal

from reminder.errors import StoreUnavailable
from reminder.models.event import Event
from reminder.services.delivery import Delivery, Reader
from reminder.websocket.encoded import Chunk, Encoded, Offset
from reminder.websocket.session import Session
from reminder.websocket.turns import give_turn

logger = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds until a failing store is asked again for those who are behind."""


# Made once, as `dumps` makes an encoder for each call. UTF-8, as escapes would make some names three times as long.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(',', ':')).encode


def _packet(name: str, argument: object) -> bytes:
    """A Socket.IO EVENT in an Engine.IO message: one event with one argument, in the default namespace."""
    return b'42' + _encode([name, argument]).encode()


class SocketIOWire:
    """What entries of the log look like to Socket.IO clients.

    Official JavaScript clients (from 4.6) keep the last argument of any event as their recovery offset if it is a
    string: so `cursor` has one, and no other event may end in one.
    """

    def reminder(self, event: Event) -> bytes:
        return _packet('eventReminder', event.reminder())

    def cursor(self, offset: str) -> bytes:
        return _packet('cursor', offset)

    def replayed(self, count: int, complete: bool) -> bytes:
        return _packet('replayed', {'count': count, 'complete': complete})

    def encode(self, packets: Sequence[bytes], offset: Offset | None = None) -> Encoded:
        return Encoded(packets, offset)


class Connection(Reader):
    """The reader behind an Engine.IO session."""

    __slots__ = ('session',)

    def __init__(self, session: Session, channels: frozenset[str]) -> None:
        super().__init__(channels)
        self.session = session

    @property
    def idle(self) -> bool:
        return self.session.idle

    def write(self, chunk: Chunk) -> None:
        self.session.write_chunk(chunk)


class CatchUp:
    """The greenlet that lets readers which are behind read on, in turn."""

    def __init__(self) -> None:
        self._signal = Signal()
        self._failing = False
        self.wake = self._signal.set
        """To be called when there is something to do."""

    def start(self, delivery: Delivery) -> None:
        """Begins to work."""
        self._greenlet = gevent.spawn(self._run, delivery)

    def stop(self) -> None:
        """Ends; what was handed over is handed over."""
        self._greenlet.kill()

    def _run(self, delivery: Delivery) -> None:
        while True:
            self._signal.wait()
            self._signal.clear()
            try:
                while delivery.step():
                    self._failing = False
                    give_turn()
            except StoreUnavailable as error:
                self._said(error)
                self._retry()
            except Exception:
                logger.exception('catching up failed', {'event': 'catch_up_failed'})
                self._retry()

    def _said(self, error: StoreUnavailable) -> None:
        """Says once that they wait."""
        if not self._failing:
            logger.warning('clients that are behind wait: %(error)s', {'event': 'catch_up_waits', 'error': str(error)})
        self._failing = True

    def _retry(self) -> None:
        gevent.sleep(RETRY)
        self._signal.set()

"""The one place where reminders go out: their packets, the readers behind connections, and who keeps them reading."""

import json
import logging
from collections.abc import Callable, Sequence

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
    """The greenlets that let readers which are behind read on, in turn: one writes what is in memory; one reads what is
    not, which takes as long as the store does."""

    def __init__(self) -> None:
        self._signals = {'step': Signal(), 'read': Signal()}

    def wake(self, verb: str) -> None:
        """To be called when there is something to do by that verb of the delivery."""
        self._signals[verb].set()

    def start(self, delivery: Delivery) -> None:
        """Begins to work."""
        work = {'step': delivery.step, 'read': delivery.read}
        self._greenlets = [gevent.spawn(self._run, do, self._signals[verb]) for verb, do in work.items()]

    def stop(self) -> None:
        """Ends; what was handed over is handed over."""
        gevent.killall(self._greenlets)

    def _run(self, do: Callable[[], bool], signal: Signal) -> None:
        failing = False
        while True:
            signal.wait()
            signal.clear()
            try:
                while do():
                    failing = False
                    give_turn()
            except StoreUnavailable as error:
                if not failing:
                    logger.warning(
                        'clients that are behind wait: %(error)s', {'event': 'catch_up_waits', 'error': str(error)}
                    )
                failing = True
                self._retry(signal)
            except Exception:
                logger.exception('catching up failed', {'event': 'catch_up_failed'})
                self._retry(signal)

    def _retry(self, signal: Signal) -> None:
        gevent.sleep(RETRY)
        signal.set()

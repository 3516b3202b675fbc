"""The log's services on a store in memory, with packets in plain text and connections that keep what they get."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, Event
from reminder.services import delivery, log
from reminder.services.delivery import Delivery, Reader
from reminder.services.events import LEAD
from reminder.services.log import NO_CHANNELS, Log
from reminder.services.offsets import parse_since
from tests.memory import BASE, Database, MemoryStore, event

FIRST = f'{1:016x}'
"""The id of a database's first log."""


class Packets(tuple[bytes, ...]):
    """Packets in plain text, as what is encoded and as what is written."""

    def __init__(self, packets: Iterable[bytes] = ()) -> None:
        self.size = sum(map(len, self))

    def cut(self, first: int, last: int, tail: Sequence[bytes]) -> 'Packets':
        return Packets([*self[first:last], *tail])

    def select(self, numbers: Sequence[int]) -> 'Packets':
        return Packets(self[number] for number in numbers)


class PlainWire:
    """Packets as plain text: a kind, a space, and what it is about."""

    def encode(self, packets: Sequence[bytes], offset: Callable[[int], str] | None = None) -> Packets:
        return Packets(packets)

    def reminder(self, event: Event) -> bytes:
        return f'reminder {event.id}'.encode()

    def cursor(self, offset: str) -> bytes:
        return f'cursor {offset}'.encode()

    def replayed(self, count: int, complete: bool) -> bytes:
        return f'replayed {count} {complete}'.encode()


class Recorder(Reader):
    """A connection that takes everything at once, unless `idle` is set to False, and keeps it in `packets`."""

    idle = True

    def __init__(self, channels: frozenset[str] = NO_CHANNELS) -> None:
        super().__init__(channels)
        self.packets: list[str] = []

    def write(self, chunk: Packets) -> None:
        self.packets += [packet.decode() for packet in chunk]

    @property
    def reminders(self) -> list[int]:
        """The numbers of the events that it was reminded of."""
        return [int(packet.split()[1], 16) for packet in self.packets if packet.startswith('reminder')]

    @property
    def offset(self) -> str:
        """What its last cursor said."""
        return [packet.split()[1] for packet in self.packets if packet.startswith('cursor')][-1]

    @property
    def replayed(self) -> list[tuple[int, bool]]:
        """The counts of its `replayed` packets, and whether they were complete."""
        told = [packet.split() for packet in self.packets if packet.startswith('replayed')]
        return [(int(count), complete == 'True') for _, count, complete in told]


class Services:
    """A log and its delivery on one store, at the instant `now`, which the test sets."""

    def __init__(
        self,
        database: Database | None = None,
        *,
        now: int = BASE,
        replay_limit: int = 10_000,
        recovery_window: int = 5 * MINUTE,
    ) -> None:
        self.now = now
        self.store = MemoryStore(database or Database())
        self.woken = 0
        self.pauses: list[Callable[[], object]] = []
        """What others do in the next pauses of a batch."""
        self.rests: list[float] = []
        """How long (s) replays have left the store to others."""
        wire = PlainWire()
        self.log = Log(
            self.store, wire, replay_limit=replay_limit, recovery_window=recovery_window, rest=self.rests.append
        )
        self.delivery = Delivery(self.log, wire, pause=self._pause, wake=self._wake)

    def close(self, minute: int) -> None:
        """Closes `minute`, 0.2 s before it or now, whatever is later."""
        self.now = max(self.now, minute - LEAD)
        self.delivery.close(minute, lambda: self.now)

    def pass_to(self, minute: int) -> None:
        """Closes and publishes `minute`, and lets all that are behind catch up."""
        self.close(minute)
        self.now = max(self.now, minute)
        self.delivery.publish()
        self.log.settle()
        self.catch_up()

    def catch_up(self) -> None:
        """Lets all that are behind read on."""
        while self.delivery.step() or self.delivery.read():
            pass

    def add(self, *numbers: int, time: int, channel: str | None = None) -> None:
        """Adds events of those numbers, which are due at `time`."""
        for number in numbers:
            self.store.add(replace(event(number, time), channel=channel))

    def forget_pages(self) -> None:
        """As when they are too many to be kept: who wants them has to have them read again."""
        self.log._pages = type(self.log._pages)()

    def join(self, since: str | None = None, channels: frozenset[str] = NO_CHANNELS) -> Recorder:
        """A connection that says where it left off, or knows no place."""
        reader, log = Recorder(channels), self.log
        start = log.resume(parse_since(since), channels) if since else log.begin(self.now, channels)
        self.delivery.join(reader, start)
        return reader

    def meanwhile(self, verb: str, happens: Callable[[], object]) -> None:
        """Has something happen while the store is asked for `verb` the next time, before it is done."""
        original = getattr(self.store, verb)

        def once(*args: Any) -> Any:
            setattr(self.store, verb, original)
            happens()
            return original(*args)

        setattr(self.store, verb, once)

    def fail(self, verb: str) -> None:
        """Has the store fail when it is asked for `verb` the next time."""

        def away() -> None:
            raise StoreUnavailable('away')

        self.meanwhile(verb, away)

    def _pause(self) -> None:
        if self.pauses:
            self.pauses.pop(0)()

    def _wake(self, verb: str) -> None:
        self.woken += 1


def shrink_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes pages of 4 reminders with a cursor after 2, of which 2 are ready ahead; batches pause for each reader."""
    monkeypatch.setattr(log, 'PAGE', 4)
    monkeypatch.setattr(log, 'CURSOR_EVERY', 2)
    monkeypatch.setattr(log, 'AHEAD', 2)
    monkeypatch.setattr(delivery, 'YIELD_EVERY', 1)

"""The model is able to fail: with any one rule broken, it finds a loss, a repeat or a disorder."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reminder.errors import MinuteClosed, StoreUnavailable
from reminder.models.event import MINUTE, Event, Place
from reminder.models.store import Channels
from reminder.services.delivery import Delivery, Reader
from reminder.services.log import NO_CHANNELS, Log, Replay, Start
from reminder.services.offsets import Since
from reminder.services.pages import Page
from tests.memory import MemoryStore
from tests.model.clients import Violation
from tests.model.clocks import ClockWorld
from tests.model.servers import Server
from tests.model.world import World

pytestmark = pytest.mark.long

BUDGET = 2_000
"""Runs within which each mutant has to be found."""


class FenceBeforeCommit(MemoryStore):
    """`closed` is read before the event is durable, not after."""

    def add(self, event: Event) -> Event:
        if event.time <= self.record().closed:
            raise MinuteClosed('closed')
        self.call(lambda: self.database.insert(event))
        return event


class ChangeWithoutFence(MemoryStore):
    """What is claimed is changed, whatever is closed."""

    def _is_open(self, log: str, minute: int) -> bool:
        return True


class FenceBeforeClaim(MemoryStore):
    """`closed` is read before the claim is set, not after."""

    def replace(self, old: Event, new: Event) -> Event:
        self._was_open = super()._is_open(self.record().log, min(old.time, new.time))
        return super().replace(old, new)

    def _is_open(self, log: str, minute: int) -> bool:
        return self._was_open


class FenceOfOneMinute(MemoryStore):
    """An event may move to a minute that is closed."""

    def replace(self, old: Event, new: Event) -> Event:
        self._minute = old.time
        return super().replace(old, new)

    def _is_open(self, log: str, minute: int) -> bool:
        return super()._is_open(log, self._minute)


class AddOverReopening(MemoryStore):
    """What a reopening has marked before it was acknowledged stays marked."""

    def add(self, event: Event) -> Event:
        self.database.unskip = lambda id: None  # type: ignore[method-assign]
        return super().add(event)


class ClaimsStay(MemoryStore):
    """Changes that are under way are left alone when a minute is closed."""

    def settle(self, closed: int) -> None:
        pass


class MoveInTwoSteps(MemoryStore):
    """The new entry counts as soon as it is there."""

    def replace(self, old: Event, new: Event) -> Event:
        insert = self.database.insert_row
        self.database.insert_row = lambda row: insert(replace(row, moved_from=None))  # type: ignore[method-assign]
        try:
            return super().replace(old, new)
        finally:
            self.database.insert_row = insert  # type: ignore[method-assign]


class ReadBeforeClose(Log):
    """The minute is read a moment before it is closed."""

    def close(self, minute: int, now: Callable[[], int]) -> bool:
        if self.record is not None and self.end < Place.after(minute):
            self._read(self.end, Place.after(minute))
        return super().close(minute, now)


class StaleNow(Log):
    """Whether a clock was wrong is judged by what time it was before the store was asked."""

    def close(self, minute: int, now: Callable[[], int]) -> bool:
        moment = now()
        return super().close(minute, lambda: moment)


class GiveUp(Log):
    """A minute for which the store failed is passed over."""

    def read_ahead(self) -> Page | None:
        try:
            return super().read_ahead()
        except StoreUnavailable:
            self.publish()
            raise


class Overlap(Log):
    """To be safe, the minute before is read again."""

    def close(self, minute: int, now: Callable[[], int]) -> bool:
        self.end = Place(max(0, self.end.time - MINUTE), '')
        return super().close(minute, now)


class CursorOfTheMinute(Log):
    """Cursors name the minute, as if it had been written to its end."""

    def cursor(self, place: Place) -> bytes:
        return super().cursor(Place.after(place.time) if place.id else place)


class CursorWithoutId(Log):
    """Cursors name the minute, as if nothing of it had been written."""

    def cursor(self, place: Place) -> bytes:
        return super().cursor(Place(place.time, ''))


class ReplayFromTheEnd(Log):
    """What falls due while a replay is being prepared is left out."""

    def resume(self, since: Since, channels: frozenset[str] = NO_CHANNELS, known: Channels = None) -> Start:
        start = super().resume(since, channels, known)
        return Start(max(start.place or self.end, self.end), start.replay)


class BeyondTheEnd(Log):
    """A client that another server, whose clock is ahead, has served already, begins at the end."""

    def resume(self, since: Since, channels: frozenset[str] = NO_CHANNELS, known: Channels = None) -> Start:
        start = super().resume(since, channels, known)
        return Start(min(start.place or self.end, self.end), start.replay)


class OldEnd(Delivery):
    """The end is published after the batch was written, not before."""

    def publish(self) -> Any:
        start, pause = self._log.end, self._pause

        def pause_at_start() -> None:
            end, self._log.end = self._log.end, start
            pause()
            self._log.end = end

        self._pause = pause_at_start
        try:
            return super().publish()
        finally:
            self._pause = pause


class NobodyBehind(Delivery):
    """A connection that is not idle misses the batch."""

    def _fall_behind(self, reader: Reader, place: Place) -> None:
        pass


class AllLive(Delivery):
    """A connection is live wherever its place is."""

    def _queue(self, reader: Reader) -> None:
        if reader.place is not None and reader not in self._behind:
            reader.place = None
            self._live[reader] = None


class EarlyIsLive(Delivery):
    """A connection that is ahead of this server gets the next batch whole."""

    def _queue(self, reader: Reader) -> None:
        if reader.place is not None and reader.place > self._log.end:
            reader.place = self._log.end
        super()._queue(reader)


class Forgetful(Delivery):
    """A reader for which the store failed does not wait again."""

    def read(self) -> bool:
        try:
            return super().read()
        except StoreUnavailable:
            self._unread.clear()
            raise


class Impatient(Delivery):
    """Connections are written to whether they are idle or not."""

    def _write_all(self, readers: list[Reader], start: Place, page: Any) -> None:
        for reader in readers:
            reader.write(page.cut(start, page.end))


class Clinging(Delivery):
    """Connections that have ended are written to."""

    def leave(self, reader: Reader) -> None:
        reader.place = None


class KeptPages(Log):
    """Pages of the old log are kept over a reopening."""

    def close(self, minute: int, now: Callable[[], int]) -> bool:
        pages, is_new = self._pages, super().close(minute, now)
        self._pages = pages
        return is_new


class OldOffset(Log):
    """A client with an offset of the old log begins at the end."""

    def resume(self, since: Since, channels: frozenset[str] = NO_CHANNELS, known: Channels = None) -> Start:
        start = super().resume(since, channels, known)
        is_old = self.record is not None and since.log != self.record.log
        return Start(self.end, Replay(self.end, False)) if is_old else start


class LeftAhead(Delivery):
    """Readers who were early are left where they are by a reopening."""

    def _replace(self) -> None:
        readers = self._readers
        self._readers = {reader: None for reader in readers if reader not in self._early}
        super()._replace()
        self._readers = readers


class PutBackTooFar(Delivery):
    """Readers are put back to this server's end, wherever the log was reopened."""

    def _replace(self) -> None:
        super()._replace()
        for reader in self._readers:
            reader.place = reader.place and min(reader.place, self._log.end)


STORES = [
    FenceBeforeCommit,
    ChangeWithoutFence,
    FenceBeforeClaim,
    FenceOfOneMinute,
    ClaimsStay,
    MoveInTwoSteps,
]
LOGS = [ReadBeforeClose, StaleNow, GiveUp, Overlap, CursorOfTheMinute, CursorWithoutId, ReplayFromTheEnd, BeyondTheEnd]
DELIVERIES = [OldEnd, NobodyBehind, AllLive, EarlyIsLive, Forgetful, Impatient, Clinging]
CLOCK_STORES = [AddOverReopening]
CLOCK_LOGS = [KeptPages, OldOffset]
CLOCK_DELIVERIES = [LeftAhead, PutBackTooFar]
MUTANTS = [
    *[pytest.param(World, {'store_class': store}, id=store.__name__) for store in STORES],
    *[pytest.param(World, {'log_class': log}, id=log.__name__) for log in LOGS],
    *[pytest.param(World, {'delivery_class': delivery}, id=delivery.__name__) for delivery in DELIVERIES],
    *[pytest.param(ClockWorld, {'store_class': store}, id=store.__name__) for store in CLOCK_STORES],
    *[pytest.param(ClockWorld, {'log_class': log}, id=log.__name__) for log in CLOCK_LOGS],
    *[pytest.param(ClockWorld, {'delivery_class': delivery}, id=delivery.__name__) for delivery in CLOCK_DELIVERIES],
]


@pytest.mark.parametrize(('world', 'parts'), MUTANTS)
def test_the_model_finds_a_broken_rule(world: type[World], parts: dict[str, Any]) -> None:
    # Given a server that is like ours but for one rule
    server = type('Mutant', (Server,), parts)
    mutant = type('MutantWorld', (world,), {'server_class': server})
    # When it runs as often as it may / Then the model finds out
    with pytest.raises(Violation):
        for seed in range(BUDGET):
            mutant(random.Random(seed).randbytes(400)).run()

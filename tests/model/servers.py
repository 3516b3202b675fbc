"""A server of the model: the real log, delivery and job of each minute, on tasks of a `Schedule`."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

from reminder.errors import Changed, MinuteClosed, StoreUnavailable
from reminder.models.event import MINUTE, Event, Record
from reminder.scheduler.clock import Clock
from reminder.scheduler.handlers import Context
from reminder.scheduler.handlers.deliver import EARLY, Deliver
from reminder.services.delivery import Delivery
from reminder.services.events import closing
from reminder.services.log import Log
from reminder.websocket import recovery
from tests.memory import MemoryStore
from tests.model.ledger import Change
from tests.services import PlainWire

if TYPE_CHECKING:
    from tests.model.clients import Connection
    from tests.model.world import World

T = TypeVar('T')

_seen: ContextVar[str] = ContextVar('seen')
"""The id of the log that a task has seen last: a command that succeeds was decided in it, however late it ends."""


class VirtualClock(Clock):
    """A machine's clock that is `skew` ms ahead of the schedule's time."""

    def __init__(self, world: 'World', skew: int) -> None:
        super().__init__()
        self._world = world
        self.skew = skew

    def machine(self) -> int:
        return self._world.wall + self.skew


class Wire(PlainWire):
    """Packets in plain text, in which reminders name the entry, as an event may have several; the world sees each."""

    def __init__(self, world: 'World') -> None:
        self._world = world

    def reminder(self, event: Event) -> bytes:
        self._world.encoded(event)
        return f'reminder {event.place.id}'.encode()


class Server:
    """One process. Where it blocks it may be held back, fail, or be ended."""

    log_class = Log
    delivery_class = Delivery
    store_class = MemoryStore

    def __init__(self, world: 'World', skew: int, replay_limit: int) -> None:
        self.world = world
        self.schedule = world.schedule
        self.clock = VirtualClock(world, skew)
        self.store = self.store_class(world.database, self._call)
        wire = Wire(world)
        with patch('reminder.services.log.Gate', self.schedule.gate):
            self.log = self.log_class(self.store, wire, replay_limit=replay_limit, recovery_window=5 * MINUTE)
        self.delivery = self.delivery_class(self.log, wire, pause=self._pause, wake=self._wake)
        self._deliver = Deliver(Context(self.store, self.log, self.delivery, self.clock, self._sleep, None))
        self._woken: set[str] = set()
        self.schedule.spawn(self, self._tick)
        self.schedule.spawn(self, lambda: self._catch_up('step'))
        self.schedule.spawn(self, lambda: self._catch_up('read'))

    # -- its tasks ----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """What the scheduler does by `jobs.json`: a job at second :59, and one each second where that failed."""
        while True:
            if self.clock.now() % MINUTE >= MINUTE - EARLY:
                self._deliver.minute()
            self._deliver.second()
            now = self.clock.now()
            until_job = (MINUTE - EARLY - now % MINUTE) % MINUTE or MINUTE
            self._sleep(min(until_job, EARLY if self.log.due(now) else MINUTE) / 1000)

    def _catch_up(self, verb: str) -> None:
        """What `websocket.broadcast.CatchUp` does on each of its greenlets."""
        work: Callable[[], bool] = getattr(self.delivery, verb)
        while True:
            self.schedule.block(lambda: verb in self._woken)
            self._woken.discard(verb)
            try:
                while work():
                    self.schedule.block()
            except StoreUnavailable:
                self._sleep(1)
                self._woken.add(verb)

    def _call(self, step: Callable[[], T]) -> T:
        result = self.schedule.call(step)
        if isinstance(result, Record):
            _seen.set(result.log)
        return result

    def add(self, event: Event) -> None:
        """A client's command: answers it by an entry in the world's ledger."""
        ledger, database = self.world.ledger, self.world.database
        try:
            if event.time <= closing(self.clock.now()):
                raise MinuteClosed('by the clock')
            before = database.get_record().log
            self.store.add(event)
            ledger.kept[event.id] = event, (before, _seen.get())
        except MinuteClosed:
            ledger.refused.add(event.id)
        except StoreUnavailable:
            pass  # it may have been kept or not, and the client knows that

    def change(self, id: str, changes: dict[str, Any]) -> None:
        """A client's command: looks at the event and has it become another, with a name that no other change gives."""
        ledger, database = self.world.ledger, self.world.database
        try:
            old = self.store.get(id)
        except StoreUnavailable:
            return
        if old is None or old.cancelled:
            return
        new = replace(old, name=database.token(), **changes)
        if min(old.time, new.time) <= closing(self.clock.now()):
            return
        ledger.changes.append(change := Change(old, new))
        before = database.get_record().log
        try:
            change.new = self.store.replace(old, new)
            change.logs = before, _seen.get()
            ledger.places[change.new.place.id] = change.new.place
        except (Changed, MinuteClosed):
            ledger.changes.remove(change)
        except StoreUnavailable:
            pass

    def connect(self, connection: 'Connection', payload: Any) -> None:
        """What `websocket.server` does at a CONNECT."""
        try:
            start, pid = recovery.start(self.log, payload, self.clock.now())
        except StoreUnavailable:
            connection.cut()
            return
        if connection.is_open:
            connection.accept(pid)
            self.delivery.join(connection, start)

    def _pause(self) -> None:
        self.schedule.block()

    def _wake(self, verb: str) -> None:
        self._woken.add(verb)

    def _sleep(self, seconds: float) -> None:
        self.schedule.sleep(self.schedule.now + max(1, round(seconds * 1000)))

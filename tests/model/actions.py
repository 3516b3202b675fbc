"""What can happen next in the model, and the tape that says what does."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, Event
from tests.model.schedule import Fate

if TYPE_CHECKING:
    from tests.model.clients import Client
    from tests.model.world import World


class Tape:
    """Bytes as choices. A tape that has ended chooses the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._data)

    def below(self, count: int) -> int:
        """A number from 0 to `count - 1`."""
        byte = 0 if self.ended else self._data[self._at]
        self._at += 1
        return byte % count


def _flow(world: 'World') -> None:
    # Slower around the minute, where the order of things matters most.
    near = abs((world.wall + MINUTE // 2) % MINUTE - MINUTE // 2) < 3_000
    world.schedule.flow(1 + world.tape.below(3 if near else 12))


def _run(world: 'World') -> None:
    runnable = world.schedule.runnable()
    if runnable:
        task = runnable[world.tape.below(len(runnable))]
        fates = [Fate.DONE] * 8 + list(Fate)
        world.schedule.run(task, fates[world.tape.below(len(fates))])


def _hold(world: 'World') -> None:
    tasks = list(world.schedule.tasks)
    if tasks:
        tasks[world.tape.below(len(tasks))].held = True


def _let_go(world: 'World') -> None:
    held = [task for task in world.schedule.tasks if task.held]
    if held:
        held[world.tape.below(len(held))].held = False


def _pass_time(world: 'World') -> None:
    world.schedule.now += (1, 150, 1_000, 5_000, 25_000)[world.tape.below(5)]


def _add(world: 'World') -> None:
    server = world.any_server()
    if server is None:
        return
    for _ in range(1 + world.tape.below(4)):
        choice = world.tape.below(256)
        time = (world.wall // MINUTE + (1, 1, 1, 2)[choice % 4]) * MINUTE
        event = Event(f'{choice:02x}{len(world.ledger.tried):022x}', 'name', time)
        world.ledger.tried[event.id] = event
        world.ledger.places[event.id] = event.place
        task = world.schedule.spawn(server, server.add, event)
        for _ in range(choice // 64):
            if task in world.schedule.tasks:
                world.schedule.run(task)
        task.held = choice % 64 >= 40


def _change(world: 'World') -> None:
    server = world.any_server()
    if server is None or not world.ledger.tried:
        return
    recent = list(world.ledger.tried)[-8:]
    id, choice = recent[world.tape.below(len(recent))], world.tape.below(256)
    changes: dict[str, Any] = {'cancelled': True} if choice % 4 == 0 else {}
    if choice % 4 > 1:
        changes['time'] = (world.wall // MINUTE + (1, 1, 2)[choice % 3]) * MINUTE
    task = world.schedule.spawn(server, server.change, id, changes)
    # Held where a minute is most likely to be closed at the wrong moment: when it has claimed, read `closed`, decided.
    for _ in range(5 + choice // 64):
        if task in world.schedule.tasks:
            world.schedule.run(task)
    task.held = choice % 64 >= 20


def _client(world: 'World') -> None:
    client = world.clients[world.tape.below(len(world.clients))]
    choice = world.tape.below(16)
    if client.connection is None:
        _connect(world, client, clogged=choice % 2 == 1)
    elif choice < 4:
        client.connection.take(1 + choice)
    elif choice < 9:
        client.connection.take(1_000)
    elif choice < 11:
        client.connection.is_clogged = not client.connection.is_clogged
    else:
        client.connection.take((0, 2, 5, 1_000, 1_000)[choice - 11])
        client.connection.cut()
        if choice % 2 == 1:
            _connect(world, client, clogged=False)


def _connect(world: 'World', client: 'Client', clogged: bool) -> None:
    server = world.any_server()
    if server is not None:
        client.connect(server, clogged)


def _start_or_crash(world: 'World') -> None:
    dead = [number for number, server in enumerate(world.servers) if server is None]
    if dead:
        world.start(dead[0])
    elif world.tape.below(3) == 0:
        world.crash(world.tape.below(len(world.servers)))


def _fail(world: 'World') -> None:
    world.schedule.failing = world.tape.below(12)


def _late(world: 'World') -> None:
    if world.schedule.late:
        with suppress(StoreUnavailable):
            world.schedule.late.pop(0)()


ACTIONS: tuple[Callable[['World'], None], ...] = (
    10 * (_flow,)
    + 4 * (_run,)
    + (_hold,)
    + 2 * (_let_go,)
    + (_pass_time,)
    + 3 * (_add,)
    + 3 * (_change,)
    + 7 * (_client,)
    + 2 * (_start_or_crash,)
    + (_fail,)
    + (_late,)
)
"""Each as often as it is likely."""

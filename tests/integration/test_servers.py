"""Several servers on one database: each client of each server is reminded of each event once, whoever dies."""

import time
from collections.abc import Iterator, Sequence

import pytest

from tests.clients import Client, Clients
from tests.faults import (
    ClockedServer,
    Load,
    Proxy,
    Reminder,
    in_order,
    mongodb_for,
    reminders,
    repeated,
    schedule_many,
    wait_until_back,
)
from tests.mongodb import Ferret
from tests.server import Server, wall

CLOCK = '2026-03-01 10:00:48'
SLOW = 200
"""Events a second on each server that the test database takes in its time limit on a busy machine, too."""
SETTLE = 1.0
"""Seconds in which anything that comes twice would have come."""


@pytest.fixture
def sqlite_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClockedServer]]:
    """Two servers that share a file."""
    one = ClockedServer(tmp_path_factory.mktemp('one'), CLOCK, COMMAND_RATE_LIMIT='0')
    settings = {name: one.settings[name] for name in ('DATABASE_URL', 'COMMAND_RATE_LIMIT')}
    two = ClockedServer(tmp_path_factory.mktemp('two'), CLOCK, **settings)
    with one.start(), two.start():
        yield [one, two]


@pytest.fixture
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[ClockedServer], Ferret]]:
    """Two servers that share a database, and that."""
    folders = [tmp_path_factory.mktemp(name) for name in ('one', 'two', 'database')]
    servers = [ClockedServer(folder, CLOCK, COMMAND_RATE_LIMIT='0') for folder in folders[:2]]
    with mongodb_for(servers, folders[2]) as database, servers[0].start(), servers[1].start():
        yield servers, database


def set_clocks(servers: Sequence[ClockedServer], instant: int) -> None:
    for server in servers:
        server.set_clock(instant)


def schedule_in_the_last_moment(
    servers: Sequence[Server], listeners: Sequence[Client], due: int, rate: int
) -> tuple[list[Reminder], list[str]]:
    """Schedules `rate` events a second on each server until the minute `due` begins, which is that of a second later.

    Returns what was acked, when all listeners have been reminded of the last of it and anything else would have come,
    and why other commands failed.
    """
    servers[0].wait_until(due - 1_000)
    loads = [Load(server, due, rate) for server in servers]
    servers[0].wait_until(due)
    for load in loads:
        load.stop()
    acked = in_order(event for load in loads for event in load.end()[0])
    refused = [error for load in loads for error in load.refusals]
    print(f'{len(acked)} in time, {len(refused)} too late')
    for listener in listeners:
        listener.wait_for_reminder(acked[-1]['_id'])
    time.sleep(SETTLE)
    return acked, refused


def too_late(due: int) -> str:
    return f"time='{wall(due)}' should be in future"


LISTENERS = ['js-4.8', 'js-3.1']


def test_what_is_acked_at_the_last_moment_reaches_everybody_once(
    sqlite_servers: list[ClockedServer], connect: Clients
) -> None:
    # Given clients of both servers
    listeners = [connect(server.url, kind) for server in sqlite_servers for kind in LISTENERS]
    due = sqlite_servers[0].next_minute(margin=3)
    set_clocks(sqlite_servers, due - 1_500)

    # When events are scheduled on both until the minute begins
    acked, refused = schedule_in_the_last_moment(sqlite_servers, listeners, due, 1_000)

    # Then some come too late, and everybody is reminded of all others, once
    assert set(refused) == {too_late(due)}
    for listener in listeners:
        assert reminders(listener) == acked


def test_what_is_acked_at_the_last_moment_reaches_everybody_once_over_mongodb(
    mongodb: tuple[list[ClockedServer], Ferret], connect: Clients
) -> None:
    # Given clients of both servers
    servers, database = mongodb
    listeners = [connect(server.url, kind) for server in servers for kind in LISTENERS]
    due = servers[0].next_minute(margin=5)
    database.stop()
    set_clocks(servers, due - 3_000)
    database.start(servers[0].ahead)

    # When events are scheduled on both until the minute begins
    acked, refused = schedule_in_the_last_moment(servers, listeners, due, SLOW)

    # Then some come too late, and everybody is reminded of all others, once
    assert set(refused) == {too_late(due)}
    of = {event['_id'] for event in acked}
    for listener in listeners:
        received = reminders(listener)
        # What was refused may have been read before it was taken back.
        assert [reminder for reminder in received if reminder['_id'] in of] == acked
        assert len(received) - len(acked) <= len(refused)
        assert repeated(received) == 0


TRANSPORTS = ['websocket'] * 7 + ['polling'] * 3


@pytest.mark.long
def test_a_server_that_dies_within_a_batch_costs_nobody_a_reminder(
    sqlite_servers: list[ClockedServer], connect: Clients
) -> None:
    # Given two servers with ten clients each, and a thousand events of one minute
    dies, lives = sqlite_servers
    with Proxy(dies) as proxy, Proxy(lives) as other_proxy:
        wandering = [connect(proxy.url, transport=transport) for transport in TRANSPORTS]
        staying = [connect(other_proxy.url, transport=transport) for transport in TRANSPORTS]
        due = dies.next_minute()
        events = schedule_many(dies.url, [f'{number:04}' for number in range(1_000)], due)

        # When one server dies within that minute's batch, with a third of it on the way to its clients
        proxy.hold(after=40_000)
        set_clocks(sqlite_servers, due - 1_500)
        for client in wandering[:7]:
            client.wait(lambda event: event.get('name') == 'eventReminder')
        dies.kill()
        proxy.switch(lives)

        # Then all of its clients have all of it soon after, from the other one
        for client in wandering:
            assert wait_until_back(client)['recovered'] is True
            client.wait_for_reminder(events[-1]['_id'])
        time.sleep(SETTLE)
        print(f'repeated: {[repeated(reminders(client)) for client in wandering]}')
        for client in wandering:
            received = reminders(client)
            assert received[-len(events) :] == events
            assert received[: -len(events)] == events[: repeated(received)]
            assert repeated(received) <= 500

        # Then the other one's clients got nothing twice
        for client in staying:
            assert reminders(client) == events

        # When one more server takes its place, and one more minute comes
        dies.skip_to(lives.now())
        dies.start()
        proxy.switch(dies)
        for client in wandering:
            assert wait_until_back(client, 2)['recovered'] is True
        due = dies.next_minute()
        (event,) = schedule_many(lives.url, ['one more'], due)
        set_clocks(sqlite_servers, due - 1_500)

        # Then everybody gets that once
        for client in wandering + staying:
            client.wait_for_reminder(event['_id'])
        time.sleep(SETTLE)
        for client in wandering + staying:
            assert client.reminders(event['_id']) == [[event]]
            assert reminders(client)[-1] == event

"""`kill -9` at any time loses no acked event and repeats none, whatever client waits for it, on either database."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.clients import JS, Client, Clients, Driver, schedule_event
from tests.mongodb import Ferret
from tests.server import MINUTE, Server, wall

CLOCK = '2026-03-01 10:00:50'
PAIRS = [(kind, transport) for kind in ('js-4.8', 'js-3.1', 'python') for transport in ('websocket', 'polling')]
SETTLE = 1.0
"""Seconds in which anything that comes twice would have come."""


class ServerOnMongo(Server):
    """A server with a MongoDB of its own, which gets the same clock at each start."""

    def __init__(self, folder: Path, clock: str) -> None:
        (folder / 'mongodb').mkdir()
        self._ferret = Ferret(folder / 'mongodb')
        super().__init__(folder, clock, DATABASE_URL=self._ferret.url)

    def start_database(self) -> None:
        self._ferret.stop()
        self._ferret.start(self.ahead)

    def start(self, ready: str | None = '/readyz', within: float = 30) -> Self:
        self.start_database()
        return super().start(ready, within)

    def __exit__(self, *exc_info: object) -> None:
        try:
            super().__exit__(*exc_info)
        finally:
            self._ferret.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, CLOCK) as server:
        yield server


@pytest.fixture
def server_on_mongo(tmp_path: Path) -> Iterator[ServerOnMongo]:
    server = ServerOnMongo(tmp_path, CLOCK)
    with server:
        yield server


@pytest.fixture(params=['server', 'server_on_mongo'], ids=['sqlite', 'mongodb'])
def either_server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


def kill(server: Server, *clients: Client) -> None:
    """Kills the server; returns when each of the clients knows."""
    known = [len(client.events) for client in clients]
    server.kill()
    for client, since in zip(clients, known, strict=True):
        client.wait_for('disconnect', since=since)


def wait_until_back(*clients: Client) -> None:
    """Returns when each client has connected again by itself after it lost its connection last."""
    for client in clients:
        last = max(number for number, event in enumerate(client.events) if event['event'] == 'disconnect')
        client.wait_for('connect', since=last)


def test_an_event_survives_a_kill_before_its_minute_and_is_not_repeated_by_one_after_it(
    either_server: Server, connect: Clients
) -> None:
    # Given clients of each kind, and an event of each
    server = either_server.start()
    clients = [connect(server.url, *pair) for pair in PAIRS]
    due = server.next_minute(margin=15)
    events = [client.schedule(str(pair), wall(due)) for pair, client in zip(PAIRS, clients, strict=True)]

    # When the server is killed and comes back shortly before their minute
    kill(server, *clients)
    server.skip_to(due - 5_000)
    server.start()
    wait_until_back(*clients)

    # Then each client is reminded of each event in that minute
    server.wait_until(due)
    for client in clients:
        for event in events:
            assert client.wait_for_reminder(event['_id']) == [event]

    # When it is killed and comes back a moment later
    time.sleep(SETTLE)
    kill(server, *clients)
    server.start()
    wait_until_back(*clients)

    # Then nobody is reminded a second time
    time.sleep(SETTLE)
    for client in clients:
        assert sorted(args[0]['_id'] for args in client.messages('eventReminder')) == [event['_id'] for event in events]


def test_what_falls_due_while_the_server_is_down_reaches_clients_that_come_back(
    either_server: Server, connect: Clients
) -> None:
    # Given events due in two minutes that the server does not live to see
    server = either_server.start()
    clients = [connect(server.url, *pair) for pair in PAIRS]
    due = server.next_minute()
    events = [clients[0].schedule('first', wall(due)), clients[-1].schedule('second', wall(due + MINUTE))]
    kill(server, *clients)

    # When it starts long after, and clients come back within the recovery window
    server.skip_to(due + 100_000)
    server.start()
    wait_until_back(*clients)
    new = connect(server.url)

    # Then each gets both, in the order in which they were due, once; so does one that was never there before
    everybody = [*clients, new]
    for client in everybody:
        for event in events:
            client.wait_for_reminder(event['_id'])
    time.sleep(SETTLE)
    for client in everybody:
        assert client.messages('eventReminder') == [[event] for event in events]


def test_events_that_the_node_server_saved_fall_due_on_ours(
    server_on_mongo: ServerOnMongo, connect: Clients, driver: Driver
) -> None:
    # Given a database with a pending event that mongoose saved before our server first saw it
    server = server_on_mongo
    server.start_database()
    due = server.next_minute(margin=15)
    expected = [save_with_mongoose(server.settings['DATABASE_URL'], 'before', due)]

    # When our server takes over, and mongoose saves another one while it runs
    server.skip_to(due - 10_000)
    server.start()
    clients = [connect(server.url, *pair) for pair in PAIRS]
    expected.append(save_with_mongoose(server.settings['DATABASE_URL'], 'beside', due))

    # Then both are delivered when they are due, in the form that existing clients know
    server.wait_until(due)
    for client in clients:
        for event in expected:
            assert client.wait_for_reminder(event['_id']) == [event]


def save_with_mongoose(url: str, name: str, due: int) -> dict[str, str]:
    """Saves an event as the Node.js server did; what clients are to get of it."""
    time = f'{wall(due).replace(" ", "T")}:00.000Z'
    program = ['node', 'mongoose.mjs', url, name, time]
    id = subprocess.run(program, cwd=JS, capture_output=True, text=True, check=True).stdout
    return {'name': name, 'time': time, '_id': id}


def test_a_client_that_comes_after_the_recovery_window_begins_at_the_end(server: Server, connect: Clients) -> None:
    # Given an event that fell due while the server was down
    server.settings['RECOVERY_WINDOW'] = '1'
    server.start()
    due = server.next_minute()
    connect(server.url).schedule('missed', wall(due))
    server.kill()
    server.skip_to(due + 10_000)
    server.start()

    # When a client without an offset connects after the window
    time.sleep(1.5)
    client = connect(server.url)

    # Then it hears nothing of it
    time.sleep(SETTLE)
    assert client.messages('eventReminder') == []


def test_every_event_of_a_burst_that_was_acked_before_a_kill_is_kept(server: Server, connect: Clients) -> None:
    # Given a pipelined burst of commands, killed in its midst
    server.start()
    client = connect(server.url)
    due = server.next_minute(margin=15)
    for number in range(1_000):
        client.ask('command', schedule_event(str(number), wall(due)))
    client.wait(lambda event: event.get('ack', 0) >= 100)
    kill(server, client)  # what was acked has arrived by then
    acked = [event['args'][0]['response'] for event in client.events if event['event'] == 'ack']

    # When the server comes back after the minute
    server.skip_to(due + 5_000)
    server.start()

    # Then all that was acked is there, as it was acked
    for event in acked:
        assert client.wait_for_reminder(event['_id']) == [event]

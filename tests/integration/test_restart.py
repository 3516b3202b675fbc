"""`kill -9` at any time loses no acked event and repeats none, whatever client waits for it."""

import time
from pathlib import Path

import pytest

from tests.clients import Client, Clients, schedule_event
from tests.server import Server, wall

CLOCK = '2026-03-01 10:00:50'
KINDS = ['js-4.8', 'js-3.1', 'python']


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Not under `with`: each test kills it."""
    return Server(tmp_path, CLOCK)


@pytest.fixture
def clients(server: Server, connect: Clients) -> dict[str, Client]:
    """A client of each kind, connected to the server's first life."""
    server.start()
    return {kind: connect(server.url, kind) for kind in KINDS}


def wait_until_back(*clients: Client) -> None:
    """Returns when each client has lost its connection and connected again by itself."""
    for client in clients:
        client.wait_for('connect', since=client.events.index(client.wait_for('disconnect')))


def test_an_event_survives_a_kill_before_its_minute(server: Server, clients: dict[str, Client]) -> None:
    # Given an event of each client
    due = server.next_minute(margin=15)
    events = {kind: client.schedule(kind, wall(due)) for kind, client in clients.items()}

    # When the server is killed and comes back shortly before that minute
    server.kill()
    server.skip_to(due - 6_000)
    with server.start():
        wait_until_back(*clients.values())

        # Then each client is reminded of each event, once, in the minute
        server.wait_until(due)
        for client in clients.values():
            for event in events.values():
                assert client.wait_for_reminder(event['_id']) == [event]
        server.wait_until(due + 1_500)
        for client in clients.values():
            assert len(client.messages('eventReminder')) == len(events)


def test_what_falls_due_while_the_server_is_down_reaches_clients_that_come_back(
    server: Server, clients: dict[str, Client], connect: Clients
) -> None:
    # Given events due in two minutes that the server does not live to see
    due = server.next_minute()
    events = [clients['python'].schedule('first', wall(due)), clients['js-4.8'].schedule('second', wall(due + 60_000))]
    server.kill()

    # When it starts long after, and clients come back within the recovery window
    server.skip_to(due + 100_000)
    with server.start():
        wait_until_back(*clients.values())
        new = connect(server.url)

        # Then each gets both, in the order in which they were due, once; so does one that was never there before
        everybody = [*clients.values(), new]
        for client in everybody:
            for event in events:
                assert client.wait_for_reminder(event['_id']) == [event]
        time.sleep(1)
        for client in everybody:
            assert client.messages('eventReminder') == [[event] for event in events]


def test_a_client_that_comes_after_the_recovery_window_begins_at_the_end(tmp_path: Path, connect: Clients) -> None:
    # Given an event that fell due while the server was down
    server = Server(tmp_path, CLOCK, RECOVERY_WINDOW='1').start()
    due = server.next_minute()
    connect(server.url).schedule('missed', wall(due))
    server.kill()
    server.skip_to(due + 10_000)
    with server.start():
        # When a client without an offset connects after the window
        time.sleep(1.5)
        client = connect(server.url)

        # Then it hears nothing of it
        time.sleep(1)
        assert client.messages('eventReminder') == []


def test_what_was_delivered_before_a_kill_is_not_delivered_again(server: Server, clients: dict[str, Client]) -> None:
    # Given an event that every client was reminded of, a moment before the kill
    due = server.next_minute()
    event = clients['python'].schedule('delivered', wall(due))
    server.wait_until(due)
    for client in clients.values():
        client.wait_for_reminder(event['_id'])
    time.sleep(1)
    server.kill()

    # When the server and then its clients come back
    with server.start():
        wait_until_back(*clients.values())

        # Then nobody is reminded a second time
        time.sleep(1.5)
        for client in clients.values():
            assert client.reminders(event['_id']) == [[event]]


def test_every_event_of_a_burst_that_was_acked_before_a_kill_is_kept(server: Server, connect: Clients) -> None:
    # Given a pipelined burst of commands, killed in its midst
    server.start()
    client = connect(server.url)
    due = server.next_minute(margin=15)
    for number in range(1_000):
        client.ask('command', schedule_event(str(number), wall(due)))
    client.wait(lambda event: event['event'] == 'ack' and event['ack'] >= 100)
    server.kill()
    client.wait_for('disconnect')  # what was acked has arrived by then
    acked = [event['args'][0]['response'] for event in client.events if event['event'] == 'ack']

    # When the server comes back after the minute
    server.skip_to(due + 5_000)
    with server.start():
        wait_until_back(client)

        # Then all that was acked is there, as it was acked
        for event in acked:
            assert client.wait_for_reminder(event['_id']) == [event]


@pytest.mark.parametrize('kind', KINDS)
def test_a_client_on_long_polling_comes_back_too(server: Server, connect: Clients, kind: str) -> None:
    server.start()
    client = connect(server.url, kind, 'polling')
    due = server.next_minute()
    event = client.schedule('due while down', wall(due))
    server.kill()
    server.skip_to(due + 5_000)
    with server.start():
        assert client.wait_for_reminder(event['_id']) == [event]
        time.sleep(1)
        assert client.messages('eventReminder') == [[event]]

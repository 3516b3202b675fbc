"""The Socket.IO Admin UI: who is let in, what it is told, and that nobody else notices."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.clients import Client, Clients
from tests.faults import ClockedServer, in_order, reminders
from tests.server import Server, wall
from tests.wire import SocketIO, WebSocket

CLOCK = '2026-03-01 10:00:10'
NAME, PASSWORD = 'operator', 'correct horse \N{BLACK CHESS KNIGHT} battery'
COST = 10
LOGIN = {'username': NAME, 'password': PASSWORD}


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()
    settings = {'ADMIN_UI_USERNAME': NAME, 'ADMIN_UI_PASSWORD': hashed, 'LOG_LEVEL': 'debug'}
    with ClockedServer(tmp_path_factory.mktemp('admin'), CLOCK, **settings) as server:
        server.start()
        yield server
    assert 'Traceback' not in server.log(), server.log()
    assert PASSWORD not in server.log() and hashed not in server.log()


def stats(admin: Client, since: int = 0) -> dict[str, Any]:
    """What the admin is told next of the server."""
    told = admin.wait(lambda one: one.get('name') == 'server_stats', since=since)['args'][0]
    assert isinstance(told, dict)
    return told


def test_an_admin_sees_how_many_there_are_and_nothing_of_what_they_get(server: ClockedServer, connect: Clients) -> None:
    # Given an official client at the namespace of the UI, as the UI connects, and others
    admin = connect(f'{server.url}/admin', auth=LOGIN)
    listener, poller = connect(server.url), connect(server.url, transport='polling')
    (offset,) = listener.wait(lambda one: one.get('name') == 'cursor')['args']

    # When a minute comes
    due = server.next_minute()
    events = in_order(listener.schedule(f'secret {number}', wall(due)) for number in range(5))
    server.set_clock(due - 1_000)
    for client in (listener, poller):
        client.wait_for_reminder(events[-1]['_id'])

    # Then clients get what they always get, live and later
    resumed = connect(server.url, auth={'since': offset})
    resumed.wait_for_reminder(events[-1]['_id'])
    for client in (listener, poller, resumed):
        assert reminders(client) == events

    # And the admin is told what it may ask for (nothing), and the figures
    assert admin.messages('config') == [[{'supportedFeatures': ['AGGREGATED_EVENTS']}]]
    told = stats(admin, since=len(admin.events))
    assert (told['clientsCount'], told['pollingClientsCount']) == (4, 1)
    assert told['serverId'].endswith(f':{server.port}')
    assert {each['name']: each['socketsCount'] for each in told['namespaces']} == {'/': 3, '/admin': 1}
    messages = [one for one in admin.events if one['event'] == 'message']
    assert {one['name'] for one in messages} == {'config', 'server_stats'}
    assert 'secret' not in json.dumps(messages)


@pytest.mark.parametrize(
    'auth',
    [
        None,
        {},
        {'username': NAME},
        {'username': NAME, 'password': PASSWORD[:-1]},
        {'username': NAME.upper(), 'password': PASSWORD},
        {'username': NAME, 'password': ''},
        {'username': NAME, 'password': PASSWORD * 9},
        {'username': [NAME], 'password': [PASSWORD]},
        {'username': '\ud800', 'password': '\ud800\0'},
    ],
    ids=str,
)
def test_who_does_not_know_the_password_is_refused(server: ClockedServer, auth: Any) -> None:
    with SocketIO(server.url) as client:
        client.send('40/admin,' + ('' if auth is None else json.dumps(auth)))
        assert client.read_message() == '44/admin,{"message":"authentication failed"}'
        # And is a client like any other
        client.send('420["command",{"command":"getAllTimeZones"}]')
        assert client.read_message().startswith('430[{"status":"success"')


def test_an_official_client_is_told_why(server: ClockedServer, connect: Clients) -> None:
    client = connect(f'{server.url}/admin', wait=False, auth={'username': NAME, 'password': 'wrong'})
    assert client.wait_for('connect_error')['message'] == 'authentication failed'


def test_an_admin_can_only_look(server: ClockedServer) -> None:
    events: list[list[Any]] = [
        ['_disconnect', '/', True, None],
        ['emit', '/', None, 'eventReminder', {}],
        ['join', '/', 'room', None],
        ['leave', '/', 'room', None],
        ['command', {'command': 'getAllTimeZones'}],
    ]
    with SocketIO(server.url) as listener, admin(server) as watching:
        for event in events:
            watching.send('42/admin,' + json.dumps(event))
        watching.send('41/admin,')
        listener.send('420["command",{"command":"getStatus"}]')
        assert listener.read_message().startswith('430[{"status":"success"')


def admin(server: Server) -> WebSocket:
    """Who has logged in, on a connection of their own."""
    client = WebSocket(server.url)
    client.read()
    client.send('40/admin,' + json.dumps(LOGIN))
    assert client.read().startswith('40/admin,{"sid"')
    return client


def test_one_connection_may_be_both(server: ClockedServer) -> None:
    with SocketIO(server.url) as client:
        client.send('40/admin,' + json.dumps(LOGIN))
        assert client.read_message().startswith('40/admin,{"sid"')
        told = client.read_message()
        while told.startswith('42/admin,["server_stats"'):  # which come by a clock of their own, and may come first
            told = client.read_message()
        assert told == '42/admin,["config",{"supportedFeatures":["AGGREGATED_EVENTS"]}]'
        client.send('40/admin,' + json.dumps(LOGIN))  # again, which no client does
        assert client.close_code() is not None


def test_who_leaves_while_being_decided_on_is_not_counted_for_good(server: ClockedServer, connect: Clients) -> None:
    for _ in range(3):
        client = WebSocket(server.url)
        client.read()
        client.send('40/admin,' + json.dumps(LOGIN))
        client.close()
    watching = connect(f'{server.url}/admin', auth=LOGIN)
    admins = -1
    end = time.monotonic() + 15
    while admins != 1:
        assert time.monotonic() < end, admins
        (admins,) = (
            each['socketsCount']
            for each in stats(watching, len(watching.events))['namespaces']
            if each['name'] == '/admin'
        )


def test_a_flood_of_logins_keeps_nobody_waiting(server: ClockedServer) -> None:
    def attack(number: int) -> str:
        with WebSocket(server.url) as client:
            client.read()
            client.send('40/admin,' + json.dumps({'username': NAME, 'password': str(number)}))
            return client.read()

    with SocketIO(server.url) as client, ThreadPoolExecutor(40) as pool:
        attackers = [pool.submit(attack, number) for number in range(40)]
        worst = 0.0
        for number in range(20):
            begun = time.monotonic()
            client.send(f'42{number}["command",{{"command":"getStatus"}}]')
            assert client.read_message().startswith(f'43{number}[')
            worst = max(worst, time.monotonic() - begun)
        answers = {attacker.result() for attacker in attackers}
    assert answers == {
        '44/admin,{"message":"authentication failed"}',
        '44/admin,{"message":"too many ask for the same just now; please try again later"}',
    }
    assert worst < 1, worst


def test_without_the_settings_the_namespace_does_not_exist(tmp_path: Path) -> None:
    with Server(tmp_path) as server, server.start(), WebSocket(server.url) as client:
        client.read()
        client.send('40/admin,' + json.dumps(LOGIN))
        assert client.read() == '44/admin,{"message":"Invalid namespace"}'

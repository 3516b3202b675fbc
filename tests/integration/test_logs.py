"""The log of a server with clients who want to be in it: no name of an event, no line that is not the server's own."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients import schedule_event
from tests.faults import ClockedServer
from tests.logs import parse
from tests.server import MINUTE, Server, wall
from tests.wire import SocketIO, WebSocket

FORGED = 'time=2030-01-01T00:00:00.000Z level=error logger=reminder.app event=forged message=forged'
SECRET = 'a private matter'
NAMES = [f'{SECRET}{separator}{FORGED}' for separator in ('\n', '\r', '\r\n', '\x85', '\u2028', '\x1b[2J', '')]


@dataclass
class Told:
    """What servers told after the same clients: in which form and from which level on."""

    form: str
    level: str
    connection: str
    """How the id of the session begins whose commands were answered."""
    log: str

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The values of each line, all of which have that form, or this fails."""
        return [parse(line, self.form) for line in self.log.splitlines()]


@pytest.fixture(scope='module', params=[('text', 'debug'), ('json', 'debug'), ('json', 'info')])
def told(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Told]:
    form, level = request.param
    settings = {'LOG_FORMAT': form, 'LOG_LEVEL': level, 'HOST': '0.0.0.0'}
    server = ClockedServer(tmp_path_factory.mktemp('logs'), '2026-03-01 10:00:30', **settings)
    with server:
        server.start()
        due = server.now() // MINUTE * MINUTE + MINUTE
        with SocketIO(server.url) as client:
            for name in NAMES:
                told = ask(client, schedule_event(name, wall(due)))
                assert told['response']['name'] == name
            for message in (
                schedule_event('x', name),
                schedule_event('x', wall(due), name),
                {'command': name},
                {'command': 'getStatus', 'data': {'_id': name}},
                name,
            ):
                assert ask(client, message)['status'] == 'failure'
            server.set_clock(due - 1_000)
            while 'eventReminder' not in client.read_message():
                pass
        misbehave(server)
        for path in ('/readyz', '/nothing'):
            server.status(path)
        assert server.status('/healthz') == 200
        assert server.terminate()[0] == 0
        yield Told(form, level, client.opened['sid'][:8], server.log())


def ask(client: SocketIO, message: Any) -> Any:
    client.send(f'421{json.dumps(["command", message])}')
    while not (said := client.read_message()).startswith('431'):
        pass
    return json.loads(said[3:])[0]


def misbehave(server: ClockedServer) -> None:
    """Says what no client says, with the names of events in it."""
    for name in NAMES:
        for packet in (f'40{json.dumps({"since": name})}', f'40/{name},', f'4{name}', f'9{name}', f'42["{name}'):
            with WebSocket(server.url) as stranger:
                stranger.read()
                stranger.send(packet)
                stranger.read_frame()
        raw = name.encode()
        for request in (
            b'GET /' + raw + b' HTTP/1.1\r\nHost: a\r\n\r\n',
            b'GET /socket.io/?EIO=4&transport=' + raw + b' HTTP/1.1\r\nHost: a\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: ' + raw + b'\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: a\r\nX: ' + raw + b'\r\n\r\n',
            raw + b'\r\n\r\n',
            b'POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nContent-Length: ' + raw + b'\r\n\r\n',
        ):
            with socket.create_connection(('127.0.0.1', server.port), 5) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass


def test_each_line_is_the_servers_own(told: Told) -> None:
    assert told.entries
    for entry in told.entries:
        assert {'time', 'level', 'logger', 'message'} <= entry.keys()
        assert entry['logger'].startswith('reminder.')
        assert 'event' in entry, entry
    assert [line for line in told.log.splitlines() if line.startswith(FORGED)] == []
    assert told.log.replace('\n', '').isprintable()


def test_no_name_is_told_above_debug(told: Told) -> None:
    loud = [entry for entry in told.entries if entry['level'] != 'debug']
    assert [entry for entry in loud if SECRET in str(entry) or 'forged' in str(entry)] == []
    if told.level == 'info':
        assert loud == told.entries


def test_at_info_there_is_a_line_for_each_thing_that_happened_and_none_for_a_client(told: Told) -> None:
    happened = [entry['event'] for entry in told.entries if entry['level'] != 'debug']
    assert happened == ['settings', 'listening', 'batch', 'stopping', 'stopped']


def test_a_batch_is_told_in_numbers(told: Told) -> None:
    (batch,) = [entry for entry in told.entries if entry.get('event') == 'batch']
    assert {name: str(batch[name]) for name in ('minute', 'reminders', 'clients')} == {
        'minute': '2026-03-01T10:01:00.000Z',
        'reminders': str(len(NAMES)),
        'clients': '1',
    }
    assert 0 <= int(batch['lateness_ms']) < 5_000


def test_at_debug_each_command_says_how_it_went_and_whose_it_was(told: Told) -> None:
    commands = [entry for entry in told.entries if entry.get('event') == 'command']
    if told.level == 'info':
        assert commands == []
        return
    asked = [(entry['command'], entry['outcome']) for entry in commands]
    assert asked == [('scheduleEvent', 'success')] * len(NAMES) + [
        ('scheduleEvent', 'failure'),
        ('scheduleEvent', 'failure'),
        ('unknown', 'failure'),
        ('getStatus', 'failure'),
        ('unknown', 'failure'),
    ]
    assert all(float(entry['duration_ms']) >= 0 and entry['door'] == 'socket.io' for entry in commands)
    assert {entry['connection'] for entry in commands} == {told.connection}


def test_nothing_went_wrong(told: Told) -> None:
    assert 'Traceback' not in told.log


def test_a_server_that_lets_everybody_in_says_so_in_one_line(told: Told) -> None:
    assert len([line for line in told.log.splitlines() if 'AUTH_SECRET' in line]) == 1


@pytest.mark.parametrize('form', ['text', 'json'])
def test_all_lines_of_a_command_have_the_id_of_its_connection(tmp_path: Path, form: str) -> None:
    """Given a server without a database, which says of each command that it was asked and how that ended."""
    url = f'sqlite:///{tmp_path}/nowhere/events.db'
    with Server(tmp_path, DATABASE_URL=url, LOG_LEVEL='debug', LOG_FORMAT=form) as server:
        server.start('/healthz')
        with SocketIO(server.url) as one, SocketIO(server.url) as other:
            for client in (one, other, one):
                ask(client, {'command': 'getEvent', 'data': {'_id': '0' * 24}})
            names = [client.opened['sid'][:8] for client in (one, other, one)]
    lines = [parse(line, form) for line in server.log().splitlines()]
    told = [(line['event'], line['connection']) for line in lines if line.get('command') == 'getEvent']
    assert told == [(event, name) for name in names for event in ('database_error', 'command')]

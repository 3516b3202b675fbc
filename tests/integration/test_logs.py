"""The log of a server with clients who want to be in it: no name of an event, no line that is not the server's own."""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients import schedule_event
from tests.faults import ClockedServer
from tests.server import MINUTE, wall
from tests.wire import SocketIO, WebSocket

LINE = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) [a-z.]+: .*|    .*')
FORGED = '2030-01-01T00:00:00.000Z ERROR reminder.app: forged'
SECRET = 'a private matter'
NAMES = [f'{SECRET}{separator}{FORGED}' for separator in ('\n', '\r', '\r\n', '\x85', '\u2028', '\x1b[2J', '')]


@dataclass
class Told:
    """What servers told after the same clients: in which form and from which level on."""

    form: str
    level: str
    log: str


@pytest.fixture(scope='module', params=[('text', 'debug'), ('json', 'info')])
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
        assert server.status('/healthz') == 200
        assert server.terminate()[0] == 0
        yield Told(form, level, server.log())


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
    assert told.log
    if told.form == 'json':
        entries = [json.loads(line) for line in told.log.splitlines()]
        assert all(entry.keys() <= {'time', 'level', 'logger', 'message', 'exception'} for entry in entries)
    else:
        lines = told.log.splitlines()
        assert [line for line in lines if not LINE.fullmatch(line)] == []
        assert [line for line in lines if line.startswith(FORGED)] == []
        assert all(line.isprintable() for line in lines)


def test_no_name_is_told_above_debug(told: Told) -> None:
    lines = told.log.splitlines()
    if told.form == 'json':
        loud = [line for line in lines if json.loads(line)['level'] != 'debug']
    else:
        loud = [line for line in lines if ' DEBUG ' not in line]
    assert any('reminders to' in line for line in loud)
    assert [line for line in loud if SECRET in line or 'forged' in line] == []
    if told.level == 'info':
        assert loud == lines


def test_nothing_went_wrong(told: Told) -> None:
    assert 'Traceback' not in told.log


def test_a_server_that_lets_everybody_in_says_so_in_one_line(told: Told) -> None:
    assert len([line for line in told.log.splitlines() if 'AUTH_SECRET' in line]) == 1

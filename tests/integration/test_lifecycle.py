"""Start and end of the process: signals, wrong settings, a busy port, a database that is not there yet."""

import json
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.clients import Clients, schedule_event
from tests.mongodb import Ferret
from tests.server import Server, wall
from tests.wire import SocketIO

PAIRS = [('js-4.8', 'websocket'), ('js-4.8', 'polling'), ('js-3.1', 'websocket'), ('js-3.1', 'polling')]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def half_open(server: Server) -> Iterator[socket.socket]:
    """A connection whose request never ends."""
    server.start()
    with socket.create_connection(('127.0.0.1', server.port)) as connection:
        connection.sendall(b'GET / HTTP/1.1\r\nHost: ')
        yield connection


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures('half_open')
def test_a_signal_ends_the_server_in_order_and_its_clients_come_back(
    server: Server, connect: Clients, how: signal.Signals
) -> None:
    # Given clients of every kind, and one connection whose request never ends
    clients = [connect(server.url, *pair) for pair in PAIRS]
    clients += [connect(server.url, 'python', transport) for transport in ('websocket', 'polling')]

    # When the server gets the signal
    code, seconds = server.terminate(how)

    # Then it ends well and soon, and without a traceback
    assert (code, 'Traceback' in server.log()) == (0, False), server.log()
    assert seconds < 5

    # Then its JavaScript clients are not told to stay away, and all come back to the next server by themselves
    for client in clients[: len(PAIRS)]:
        assert client.wait_for('disconnect')['reason'] in ('transport close', 'transport error')
    server.start()
    for client in clients:
        client.wait_for('connect', since=client.events.index(client.wait_for('disconnect')))
        assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'


def test_a_second_signal_changes_nothing_and_the_port_is_free_afterwards(server: Server, connect: Clients) -> None:
    server.start()
    connect(server.url)
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', server.port))


def test_commands_in_flight_at_the_end_are_acked_and_nothing_else_is_kept(tmp_path: Path, connect: Clients) -> None:
    # Given a server in the midst of many commands over both transports
    with Server(tmp_path, clock='2026-03-01 10:00:00') as server:
        server.start()
        clients = [connect(server.url, 'js-4.8', transport) for transport in ('websocket', 'polling')]
        due = server.next_minute(margin=15)
        for number in range(200):
            for client in clients:
                client.ask('command', schedule_event(str(number), wall(due)))
        for client in clients:
            client.wait_for('ack')

        # When it is ended, and started again after the minute
        assert server.terminate()[0] == 0
        for client in clients:
            client.wait_for('disconnect')
        answers = [event['args'][0] for client in clients for event in client.events if event['event'] == 'ack']
        server.skip_to(due + 5_000)
        server.start()
        late = connect(server.url)

        # Then what was kept is what was acked, one for one
        acked = {answer['response']['_id'] for answer in answers if answer['status'] == 'success'}
        for of in acked:
            late.wait_for_reminder(of)
        time.sleep(0.5)
        assert sorted(args[0]['_id'] for args in late.messages('eventReminder')) == sorted(acked)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        ('PORT', 'many'),
        ('PING_TIMEOUT', 'soon'),
        ('DATABASE_URL', 'oracle://scott:tiger@localhost'),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line_that_names_it(server: Server, setting: str, value: str) -> None:
    server.settings[setting] = value
    server.start(ready=None)
    assert server.exit_code() not in (0, -signal.SIGKILL)
    (line,) = server.stderr().splitlines()
    assert setting in line
    assert 'tiger' not in line


def test_a_busy_port_ends_the_start_with_one_line_that_names_it(server: Server) -> None:
    with closing(socket.create_server(('127.0.0.1', server.port))):
        server.start(ready=None)
        assert server.exit_code() != 0
    (line,) = server.stderr().splitlines()
    assert str(server.port) in line


def test_two_servers_do_not_share_a_port(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    server.start()
    with Server(tmp_path_factory.mktemp('second'), PORT=str(server.port)) as second:
        second.start(ready=None)
        assert second.exit_code() != 0
    assert server.status('/healthz') == 200


def test_the_first_run_needs_no_settings_at_all(server: Server) -> None:
    del server.settings['DATABASE_URL']
    server.start()
    assert list(server.folder.glob('*.db*')) or list(server.folder.glob('*.sqlite*'))


@pytest.fixture(params=['sqlite', 'mongodb'])
def late_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """The url of a database that is not there yet, and what makes it appear."""
    place = tmp_path / 'database'
    if request.param == 'sqlite':
        place.write_text('in the way of a folder, as a volume that is mounted later')

        def mount() -> None:
            place.unlink()
            place.mkdir()

        yield f'sqlite:///{place / "events.db"}', mount
    else:
        place.mkdir()
        ferret = Ferret(place)
        yield ferret.url, ferret.start
        ferret.stop()


def test_a_server_waits_for_its_database_and_works_when_it_appears(
    server: Server, connect: Clients, late_database: tuple[str, Callable[[], object]]
) -> None:
    # Given a database that is not there yet
    server.settings['DATABASE_URL'], appear = late_database

    # Then the server listens, is alive, is not ready, and says so to who asks
    server.start(ready='/healthz')
    assert server.status('/readyz') == 503
    client = connect(server.url)
    message = schedule_event('early', '2099-01-01 00:00')
    refused = client.command(message)
    assert (refused['status'], set(refused)) == ('failure', {'status', 'error'})
    assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'

    # When the database appears
    appear()

    # Then all works, without a restart or a new connection
    server.wait_for('/readyz', 200)
    assert client.command(message)['status'] == 'success'
    assert [event for event in client.events if event['event'] == 'disconnect'] == []
    assert 'Traceback' not in server.log()


def test_clients_that_have_a_place_come_again_until_the_database_is_there(
    server: Server, connect: Clients, late_database: tuple[str, Callable[[], object]]
) -> None:
    """Each is sent away, also in the midst of an upgrade, and none so that it waits for a ping to notice it."""
    server.settings['DATABASE_URL'], appear = late_database
    server.start(ready='/healthz')
    place = {'since': f'{"0" * 16}.1770000000000.'}
    clients = [
        connect(server.url, kind, transport, wait=False, auth=place)
        for kind, transport in [*PAIRS, *[('js-4.8', 'upgrade'), ('js-3.1', 'upgrade')] * 5]
    ]
    time.sleep(1.5)
    assert not any(client.messages('cursor') for client in clients)
    appear()
    server.wait_for('/readyz', 200)
    for client in clients:
        client.wait_for('connect')


def test_a_server_ends_in_time_although_its_database_is_gone(server: Server, tmp_path: Path) -> None:
    # Given a server that has used many sessions of a MongoDB at once, which then goes away
    (tmp_path / 'mongodb').mkdir()
    ferret = Ferret(tmp_path / 'mongodb')
    server.settings['DATABASE_URL'] = ferret.url
    with ferret:
        server.start()
        with SocketIO(server.url) as client:
            message = json.dumps(['command', schedule_event('x', '2099-01-01 00:00')])
            for number in range(50):
                client.send(f'42{number}{message}')
            for _ in range(50):
                assert '"success"' in client.read_message()
    time.sleep(0.7)

    # When it is told to end, then it does
    code, seconds = server.terminate()
    assert code == 0
    assert seconds < 5


def test_a_server_without_room_for_one_more_file_says_so_once_and_goes_on(server: Server, connect: Clients) -> None:
    # Given a server with a client that may open ten files more
    client = connect(server.start().url)
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    room = len(list(Path(f'/proc/{server.pid}/fd').iterdir())) + 10
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (room, limits[1]))

    # When more connect, for so long that it tries again
    with ExitStack() as connections:
        for _ in range(30):
            connections.enter_context(socket.create_connection(('127.0.0.1', server.port)))
        time.sleep(2.5)
        assert 'Too many open files' in server.log()
        # Then who is connected is served
        assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'

    # And others are again when there is room
    server.wait_for('/healthz', 200)
    log = server.log()
    assert (log.count('accepting_waits'), log.count('accepting_again')) == (1, 1)
    assert 'Traceback' not in log


def test_json_logs_are_one_object_a_line(server: Server, connect: Clients) -> None:
    server.settings['LOG_FORMAT'] = 'json'
    server.start()
    connect(server.url).command({'command': 'getAllTimeZones'})
    server.terminate()
    lines = server.log().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)

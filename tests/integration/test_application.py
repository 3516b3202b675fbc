"""The whole server in this process: it starts, stops, starts again, and leaves nothing behind."""

import gc
import logging
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import pytest
import requests
from gevent.event import Event

from reminder.app import Application
from reminder.config import Config
from reminder.errors import ConfigError, StartError
from reminder.websocket import outbox, transport
from reminder.websocket.broadcast import Connection
from reminder.websocket.handler import Handler
from reminder.websocket.outbox import Outbox
from reminder.websocket.session import Session
from reminder.websocket.streams import Stream
from reminder.websocket.upgrade import Probe
from tests import wire
from tests.wire import Polling, SocketIO, WebSocket

Start = Callable[..., Application]


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, 'LINGER', 0.05)


def config(folder: Path, **settings: str) -> Config:
    return Config.from_env({'PORT': '0', 'DATABASE_URL': f'sqlite:///{folder / "events.db"}', **settings})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts applications, by their settings; those that the test did not stop are stopped after it."""
    running: list[Application] = []

    def start(folder: Path = tmp_path, **settings: str) -> Application:
        application = Application(config(folder, **settings))
        running.append(application)
        application.start()
        return application

    yield start
    for application in running:
        application.stop()


def url(application: Application) -> str:
    return f'http://127.0.0.1:{application.port}'


def wait_for(condition: Callable[[], Any], within: float = 5) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, 'it did not come to it'
        gevent.sleep(0.01)


def wait_until_ready(application: Application) -> None:
    wait_for(lambda: requests.get(url(application) + '/readyz', timeout=2).ok)


def schedule(client: SocketIO, name: str = 'x', year: int = 2090) -> str:
    client.send(
        f'421["command",{{"command":"scheduleEvent","data":'
        f'{{"eventName":"{name}","timeZone":"UTC","time":"{year}-01-01 00:00"}}}}]'
    )
    return client.read_message()


class Left:
    """What is there now beside what was there when this was made."""

    def __init__(self) -> None:
        self._greenlets = self._ids()
        self._descriptors = self._open()
        self._threads = set(threading.enumerate())

    def _ids(self) -> set[int]:
        gc.collect()
        return {id(thing) for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead}

    def _open(self) -> dict[int, str]:
        found = {}
        for name in os.listdir('/proc/self/fd'):  # noqa: PTH208
            try:
                found[int(name)] = os.readlink(f'/proc/self/fd/{name}')  # noqa: PTH115
            except OSError:
                continue  # the listing's own
        return found

    @property
    def greenlets(self) -> list[str]:
        gc.collect()
        return [
            repr(thing)
            for thing in gc.get_objects()
            if isinstance(thing, gevent.Greenlet) and not thing.dead and id(thing) not in self._greenlets
        ]

    @property
    def descriptors(self) -> list[str]:
        return sorted(self._open()[one] for one in self._open().keys() - self._descriptors.keys())

    @property
    def threads(self) -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread not in self._threads]

    def anything(self) -> list[str]:
        return [*self.greenlets, *self.descriptors, *self.threads]


class TestStart:
    def test_a_port_of_0_is_one_that_is_free(self, start: Start) -> None:
        first, second = start(), start()
        assert 0 < first.port != second.port > 0
        assert requests.get(url(second) + '/healthz', timeout=2).text == 'ok\n'

    def test_it_serves_at_once_and_is_ready_soon(self, start: Start) -> None:
        application = start()
        assert requests.get(url(application) + '/healthz', timeout=2).status_code == 200
        wait_until_ready(application)
        assert application.health() == {}

    @pytest.mark.parametrize('host', ['127.0.0.1', '0.0.0.0', '::1', 'localhost'])
    def test_it_listens_where_it_is_told(self, start: Start, host: str) -> None:
        try:
            application = start(HOST=host)
        except StartError:
            if host != '::1' or Path('/proc/net/if_inet6').exists():
                raise
            pytest.skip('no IPv6 here')
        with socket.create_connection(('127.0.0.1' if host == '0.0.0.0' else host, application.port), timeout=2):
            pass

    def test_a_busy_port_is_a_start_error_that_names_it(self, start: Start) -> None:
        port = str(start().port)
        with pytest.raises(StartError, match=f'cannot listen on 127.0.0.1:{port}: Address already in use'):
            start(PORT=port)

    @pytest.mark.parametrize('host', ['192.0.2.1', 'no-such-host.invalid'])
    def test_an_address_that_is_not_ours_is_a_start_error(self, start: Start, host: str) -> None:
        with pytest.raises(StartError, match=f'cannot listen on {host}:'):
            start(HOST=host)

    def test_a_start_that_failed_leaves_nothing_behind_once_it_is_stopped(self, start: Start, tmp_path: Path) -> None:
        port = str(start().port)
        left = Left()
        application = Application(config(tmp_path, PORT=port))
        with pytest.raises(StartError):
            application.start()
        application.stop()
        del application
        wait_for(lambda: not left.anything())

    def test_building_one_does_nothing_yet(self, tmp_path: Path) -> None:
        left = Left()
        application = Application(config(tmp_path))
        assert left.anything() == []
        assert list(tmp_path.iterdir()) == []
        del application

    def test_a_database_of_an_unknown_kind_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            Application(config(tmp_path, DATABASE_URL='sqlite:///:memory:'))

    def test_the_settings_warnings_are_logged(
        self, start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        start(DYNO='web.1', DATABASE_URL=f'sqlite:///{tmp_path / "events.db"}')
        assert any('lost each day' in record.getMessage() for record in caplog.records)

    def test_it_says_where_it_listens_without_a_password(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        application = start(DATABASE_URL='mongodb://user:secret@127.0.0.1:9/x?serverSelectionTimeoutMS=1')
        assert f'listening on {url(application)}' in caplog.text
        application.stop()
        assert 'secret' not in caplog.text


class TestDatabaseThatIsNotThereYet:
    def test_the_server_says_so_and_works_once_it_is_there(
        self, start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Given a server whose database's folder is not mounted yet
        application = start(tmp_path / 'later')
        answer = requests.get(url(application) + '/readyz', timeout=2)
        assert (answer.status_code, answer.json()) == (503, {'ready': False, 'database': 'does not answer'})
        assert requests.get(url(application) + '/healthz', timeout=2).status_code == 200

        # When a client connects, it is let in and its commands are answered
        with SocketIO(url(application)) as client:
            assert '"status":"failure","error":"the database is unavailable' in schedule(client)

            # Then all works once the folder is there, for that client too
            (tmp_path / 'later').mkdir()
            wait_until_ready(application)
            assert '"status":"success"' in schedule(client)
        messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len([text for text in messages if 'wait for the database' in text]) == 1

    def test_it_can_be_stopped(self, start: Start, tmp_path: Path) -> None:
        application = start(tmp_path / 'never')
        begin = time.monotonic()
        application.stop()
        assert time.monotonic() - begin < 3


class TestStop:
    def test_clients_are_told_to_come_back_and_new_ones_are_refused(self, start: Start) -> None:
        application = start()
        address = url(application)
        with SocketIO(address) as client:
            application.stop()
            assert client.close_code() == 1001
        with pytest.raises(requests.ConnectionError):
            requests.get(address, timeout=2)

    def test_a_command_that_is_being_handled_is_answered(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        application = start()
        wait_until_ready(application)
        store = application._store
        begun, go_on, add = Event(), Event(), store.add

        def slow_add(event: Any) -> Any:
            begun.set()
            go_on.wait()
            return add(event)

        monkeypatch.setattr(store, 'add', slow_add)
        with SocketIO(url(application)) as client:
            answering = gevent.spawn(schedule, client)
            begun.wait()
            stopping = gevent.spawn(application.stop)
            gevent.sleep(0.05)
            assert application.health() == {'server': 'is stopping'}
            go_on.set()
            assert '"status":"success"' in answering.get(timeout=2)
            assert client.close_code() == 1001
            stopping.join(3)
            assert stopping.ready()

    def test_twice_is_once(self, start: Start) -> None:
        application = start()
        application.stop()
        application.stop()

    def test_it_is_quick_with_clients_that_do_nothing(self, start: Start) -> None:
        application = start()
        silent = [socket.create_connection(('127.0.0.1', application.port)) for _ in range(3)]
        silent[1].sendall(b'GET /')
        kept = requests.Session()
        kept.get(url(application) + '/healthz', timeout=2)
        polling = Polling(url(application))
        polling.post('40')
        polling.get()
        waiting = gevent.spawn(polling.get)
        websocket = WebSocket(url(application))
        gevent.sleep(0.05)
        begin = time.monotonic()
        application.stop()
        assert time.monotonic() - begin < 4
        waiting.join(2)
        assert waiting.ready()
        for one in silent:
            one.close()
        kept.close()
        websocket.close()


def connect_and_leave(application: Application) -> None:
    """Clients of every kind, which leave in every way, or stay."""
    address = url(application)
    for _ in range(5):
        with SocketIO(address) as client:
            schedule(client)
            client.send_frame(wire.FIN | wire.CLOSE, b'\x03\xe8')
            client.close_code()
        with SocketIO(address) as client:
            client.send('1')
            client.close_code()
        with SocketIO(address) as client:
            client.send('malformed')
            client.close_code()
        with SocketIO(address) as client:
            client.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        polling = Polling(address)
        polling.post('40')
        polling.get()
        polling.post('1')
        moved = Polling(address)
        moved.post('40')
        with moved.probe() as probe:
            probe.send('2probe')
            probe.read()
            probe.send('5')
            probe.send('1')
            probe.close_code()
        with socket.create_connection(('127.0.0.1', application.port)) as raw:
            raw.sendall(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            while raw.recv(1000):
                continue


class TestNothingIsLeft:
    def test_after_a_start_and_a_stop(self, start: Start) -> None:
        start().stop()  # what libraries keep for good
        left = Left()
        for _ in range(3):
            application = start()
            wait_until_ready(application)
            application.stop()
        del application
        wait_for(lambda: not left.anything(), within=1)

    def test_of_clients_that_left_while_it_ran(self, start: Start) -> None:
        application = start()
        wait_until_ready(application)
        connect_and_leave(application)
        gevent.sleep(0.2)
        left = Left()
        connect_and_leave(application)
        wait_for(lambda: not left.anything(), within=2)

    def test_of_clients_that_were_there_when_it_stopped(self, start: Start) -> None:
        application = start()
        wait_until_ready(application)
        connect_and_leave(application)
        application.stop()
        gevent.sleep(0.2)
        left = Left()

        application = start()
        address = url(application)
        websockets = [SocketIO(address) for _ in range(3)]
        polling = Polling(address)
        polling.post('40')
        polling.get()
        waiting = gevent.spawn(polling.get)
        probe = Polling(address).probe()
        probe.send('2probe')
        kept = requests.Session()
        kept.get(address + '/healthz', timeout=2)
        silent = [socket.create_connection(('127.0.0.1', application.port)) for _ in range(3)]
        silent[1].sendall(b'GET /')
        gevent.sleep(0.05)
        application.stop()
        waiting.join(2)
        # What is the server's goes without the clients' help; what is theirs, when they close it.
        gevent.sleep(0.1)
        assert left.greenlets == []
        one: Any
        for one in (*websockets, probe, kept, *silent):
            one.close()
        del application, websockets, polling, waiting, probe, kept, silent, one
        gc.collect()
        wait_for(lambda: not left.anything(), within=1)


@pytest.fixture
def uncollected() -> Iterator[Callable[[], list[str]]]:
    """What of each client's own objects there is more than now, while nobody collects garbage."""
    kinds = (Connection, Handler, Outbox, Probe, Session, Stream, transport.Polling)

    def those() -> Counter[str]:
        return Counter(type(one).__qualname__ for one in gc.get_objects() if isinstance(one, kinds))

    gc.collect()
    gc.disable()
    before = those()
    yield lambda: sorted((those() - before).elements())
    gc.enable()


def leave_by_websocket(address: str) -> None:
    with SocketIO(address) as client:
        client.send('421["command",{}]')
        client.read_message()
        client.send('41')


def break_the_protocol(address: str) -> None:
    with SocketIO(address) as client:
        client.send('4zzz')
        client.close_code()


def leave_by_polling(address: str) -> None:
    polling = Polling(address)
    polling.post('40')
    polling.get()
    polling.post('1')


def move_and_leave(address: str) -> None:
    polling = Polling(address)
    polling.post('40')
    polling.get()
    with polling.probe() as client:
        client.send('2probe')
        client.read()
        client.send('5')
        client.send('421["command",{}]')
        client.read()


def give_a_probe_up(address: str) -> None:
    polling = Polling(address)
    polling.probe().close()
    polling.post('1')


def leave_a_stream(address: str) -> None:
    with requests.get(address + '/api/reminders/stream', stream=True, timeout=2) as answer:
        answer.raw.read(1)


def ask_by_http(address: str) -> None:
    requests.post(address + '/api/getEvent', json={}, timeout=2)
    requests.get(address + '/nothing', timeout=2)


@pytest.mark.parametrize(
    'visit',
    [
        leave_by_websocket,
        break_the_protocol,
        leave_by_polling,
        move_and_leave,
        give_a_probe_up,
        leave_a_stream,
        ask_by_http,
    ],
)
def test_who_has_left_is_gone_without_the_garbage_collector(
    start: Start, uncollected: Callable[[], list[str]], visit: Callable[[str], None]
) -> None:
    """Memory would grow until it comes, which is the rarer the more there is."""
    application = start()
    wait_until_ready(application)
    for _ in range(3):
        visit(url(application))
    wait_for(lambda: not uncollected())


def test_a_second_start_on_the_same_files_goes_on_where_the_first_ended(start: Start, tmp_path: Path) -> None:
    application = start()
    wait_until_ready(application)
    with SocketIO(url(application)) as client:
        assert '"status":"success"' in schedule(client, 'kept')
        past = datetime.now(UTC).year - 1
        assert 'should be in future' in schedule(client, 'late', past)
    application.stop()
    again = start()
    wait_until_ready(again)
    with SocketIO(url(again)) as client:
        assert '"status":"success"' in schedule(client, 'another')

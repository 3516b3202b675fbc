"""The page's own Socket.IO client, `static/socket.js`, in Node.js against real servers."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tokens
from tests.clients import Client, Driver, install
from tests.faults import ClockedServer, Proxy, schedule_many
from tests.page.browser import FOLDER
from tests.server import MINUTE, free_port, wall

SETTINGS = {'PING_INTERVAL': '0.3', 'PING_TIMEOUT': '0.3'}


class PageClient(Client):
    """One of the page's own clients."""

    def __init__(self, driver: Driver, url: str, options: dict[str, Any]) -> None:
        super().__init__()
        self._driver = driver
        self._id = driver.adopt(self)
        driver.tell('open', self._id, url=url, options=options)

    def do(self, verb: str, **rest: Any) -> None:
        self._driver.tell(verb, self._id, **rest)

    def close(self) -> None:
        self.do('close')

    def begin(self, name: str, data: Any, **options: Any) -> int:
        """Begins a command; returns the number that `answer` takes."""
        ack = next(self._acks)
        self.do('command', ack=ack, name=name, data=data, options=options)
        return ack

    def run(self, name: str, **data: Any) -> Any:
        """What a command is answered with, or the error that it fails with."""
        return self.answer(self.begin(name, data))

    @property
    def names(self) -> list[tuple[str, bool]]:
        """Of what it was reminded, and whether it was told that it had missed that."""
        return [(reminder['name'], more['missed']) for reminder, more in self.messages('eventReminder')]


Open = Callable[..., PageClient]


@pytest.fixture(scope='module')
def program() -> Iterator[Driver]:
    install(FOLDER)
    program = Driver(FOLDER / 'client.mjs')
    yield program
    program.close()


@pytest.fixture
def open_client(program: Driver) -> Iterator[Open]:
    opened: list[PageClient] = []

    def open_client(url: str, wait: bool = True, **options: Any) -> PageClient:
        opened.append(PageClient(program, url, options))
        if wait:
            opened[-1].wait(lambda event: event.get('name') == 'cursor')
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClockedServer]:
    with ClockedServer(tmp_path, '2027-01-15 09:59:10', **SETTINGS) as server:
        yield server.start()


def event(name: str, due: int) -> dict[str, str]:
    return {'eventName': name, 'time': wall(due), 'timeZone': 'UTC'}


def test_commands_are_answered_or_fail_with_the_field_that_is_wrong(server: ClockedServer, open_client: Open) -> None:
    client = open_client(server.url)
    due = server.next_minute()
    scheduled = client.run('scheduleEvent', **event('Tea', due))['response']
    assert set(scheduled) == {'name', 'time', '_id'}
    assert client.run('scheduleEvent', **event('Tea', due))['response']['_id'] != scheduled['_id']
    gap = client.run('scheduleEvent', eventName='Gap', time='2027-03-28 02:30', timeZone='Europe/Berlin')
    assert 'does not exist in Europe/Berlin' in gap['warning']
    for data, field in (({}, 'eventName'), ({'eventName': 'x'}, 'timeZone'), (event('x', due - MINUTE), 'time')):
        failure = client.run('scheduleEvent', **data)
        assert (failure['name'], failure['field']) == ('CommandFailed', field)
    assert 'field' not in client.run('scheduleParty')


def test_it_resumes_over_a_kill_and_tells_what_was_missed(server: ClockedServer, open_client: Open) -> None:
    client = open_client(server.url)
    due = server.next_minute()
    schedule_many(server.url, ['live'], due)
    server.set_clock(due - 1_000)
    client.wait(lambda event: event.get('name') == 'eventReminder')
    schedule_many(server.url, ['missed 1', 'missed 2'], due + MINUTE)
    server.kill()
    assert client.wait_for('waiting')['reason'] == 'the connection was lost'
    server.skip_to(due + MINUTE + 1_000)
    server.start()
    replayed = client.wait(lambda event: event.get('name') == 'replayed')
    assert replayed['args'] == [{'count': 2, 'complete': True}]
    assert [one['recovered'] for one in client.events if one['event'] == 'connected'] == [False, True]
    assert client.names == [('live', False), ('missed 1', True), ('missed 2', True)]
    server.set_clock(due + 2 * MINUTE - 2_000)
    schedule_many(server.url, ['live again'], due + 2 * MINUTE)
    client.wait(lambda event: event.get('name') == 'eventReminder' and event['args'][0]['name'] == 'live again')
    assert client.names[-1] == ('live again', False)


def test_each_reminder_comes_once_where_a_batch_was_cut(server: ClockedServer, open_client: Open) -> None:
    with Proxy(server) as proxy:
        client = open_client(proxy.url)
        due = server.next_minute()
        expected = [one['_id'] for one in schedule_many(server.url, map(str, range(400)), due)]
        proxy.hold(after=20_000)
        server.set_clock(due - 1_000)
        client.wait(lambda event: len(client.messages('eventReminder')) > 50)
        assert len(client.messages('eventReminder')) < 400
        proxy.release()
        proxy.cut()
        client.wait(lambda event: event.get('name') == 'replayed')
        assert [reminder['_id'] for reminder, _ in client.messages('eventReminder')] == expected


def test_a_command_waits_for_the_connection_or_says_that_nothing_was_done(tmp_path: Path, open_client: Open) -> None:
    port = free_port()
    client = open_client(f'http://127.0.0.1:{port}', wait=False)
    client.wait_for('waiting')
    waiting = client.begin('getAllTimeZones', {})  # which needs no database, as that may be opened later
    given_up = client.answer(client.begin('getStatus', {}, patience=100))
    assert (given_up['name'], given_up['sent']) == ('NoAnswer', False)
    assert 'nothing was done' in given_up['message']
    with ClockedServer(tmp_path, '2027-01-15 09:59:10', PORT=str(port), **SETTINGS) as server:
        server.start()
        assert client.answer(waiting)['response'][0] == 'Africa/Abidjan'


def test_what_was_not_answered_is_sent_again_and_done_once(server: ClockedServer, open_client: Open) -> None:
    with Proxy(server) as proxy:
        client = open_client(proxy.url)
        proxy.hold()
        due = server.next_minute()
        # The server has done it, and its answer is lost with the connection.
        ack = client.begin('scheduleEvent', event('once', due))
        unanswered = client.answer(client.begin('getStatus', {}, patience=100))
        assert (unanswered['name'], unanswered['sent']) == ('NoAnswer', True)
        other = open_client(server.url)
        while not (done := other.run('listEvents')['response']['events']):
            time.sleep(0.02)
        proxy.release()
        proxy.cut()
        assert client.answer(ack)['response']['_id'] == done[0]['_id']
        assert other.run('listEvents')['response']['events'] == done


def test_silence_ends_a_connection(server: ClockedServer, open_client: Open) -> None:
    client = open_client(server.url)
    time.sleep(0.8)  # longer than silence may last: pings are answered
    assert [one['event'] for one in client.events if one['event'] == 'waiting'] == []
    begin = time.monotonic()
    server.signal(signal.SIGSTOP)
    assert client.wait_for('waiting')['reason'] == 'the server was silent'
    assert time.monotonic() - begin < 1.5
    server.signal(signal.SIGCONT)
    assert client.wait(lambda event: event['event'] == 'connected' and event['recovered'])


def test_a_refusal_is_told_and_ends_the_attempts(tmp_path: Path, open_client: Open) -> None:
    with ClockedServer(tmp_path, '2027-01-15 09:59:10', AUTH_SECRET=tokens.SECRET, **SETTINGS) as server:
        server.start()
        client = open_client(server.url, wait=False)
        assert client.wait_for('refused')['reason'] == 'token is missing'
        time.sleep(0.5)
        assert len([one for one in client.events if one['event'] == 'connecting']) == 1
        client.do('reopen')
        client.wait(lambda event: len([one for one in client.events if one['event'] == 'refused']) == 2)
        good = tokens.token(server.now(), aud=None, iss=None)
        assert open_client(server.url, auth={'token': good}).run('listEvents')['response']['events'] == []


def test_a_closed_client_is_gone(server: ClockedServer, open_client: Open) -> None:
    client = open_client(server.url)
    server.signal(signal.SIGSTOP)
    ack = client.begin('getStatus', {})
    client.close()
    assert client.answer(ack)['name'] == 'NoAnswer'
    server.signal(signal.SIGCONT)
    time.sleep(0.5)
    assert client.events[-2]['event'] == 'closed'

"""Commands over HTTP: the envelope is that of Socket.IO, and the status repeats what it says."""

import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults import ClockedServer, mongodb_for
from tests.metrics import scrape, scrape_until
from tests.server import MINUTE, Server, wall
from tests.tokens import AUDIENCE, ISSUER, SECRET, token
from tests.wire import SocketIO

CLOCK = '2026-03-01 10:00:05'
LARGEST = 65_536


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    with ClockedServer(tmp_path_factory.mktemp('api'), CLOCK, CORS_ORIGINS='https://friend.example') as server:
        yield server.start()


@pytest.fixture(scope='module')
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    settings = {'AUTH_SECRET': SECRET, 'AUTH_AUDIENCE': AUDIENCE, 'AUTH_ISSUER': ISSUER}
    with ClockedServer(tmp_path_factory.mktemp('guarded'), CLOCK, **settings) as server:
        yield server.start()


def ask(server: Server, command: str, headers: dict[str, str] | None = None, **data: Any) -> requests.Response:
    return requests.post(f'{server.url}/api/{command}', json=data, headers=headers, timeout=10)


def tea(server: Server, **more: Any) -> dict[str, Any]:
    return {'eventName': 'Tea', 'time': wall(server.now() + 60 * MINUTE), 'timeZone': 'UTC', **more}


def acked(client: SocketIO) -> Any:
    while not (packet := client.read()).startswith('431'):
        pass
    return json.loads(packet[3:])[0]


def raw(server: Server, request: bytes) -> bytes:
    """What those bytes are answered with, until the server closes or has said all."""
    with socket.create_connection(('127.0.0.1', server.port), 5) as link:
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        answer = b''
        while piece := link.recv(65_536):
            answer += piece
        return answer


class TestAnswers:
    def test_are_those_of_socket_io(self, server: ClockedServer) -> None:
        answer = ask(server, 'scheduleEvent', **tea(server))
        assert (answer.status_code, answer.headers['Content-Type']) == (200, 'application/json')
        event = answer.json()['response']
        with SocketIO(server.url) as client:
            for status, name, data in (
                (200, 'getEvent', {'_id': event['_id']}),
                (400, 'getEvent', {'_id': 'nobody'}),
                (400, 'scheduleEvent', {'eventName': ''}),
                (200, 'getAllTimeZones', {}),
                (404, 'made up', {}),
            ):
                answer = ask(server, name, **data)
                assert answer.status_code == status
                client.send('421' + json.dumps(['command', {'command': name, 'data': data}]))
                assert answer.json() == acked(client)

    def test_come_without_a_body_where_no_data_is_needed(self, server: ClockedServer) -> None:
        assert requests.post(f'{server.url}/api/getStatus', timeout=5).json()['status'] == 'success'

    def test_tell_of_times_that_are_not_as_they_were_asked_for(self, server: ClockedServer) -> None:
        answer = ask(server, 'scheduleEvent', eventName='Early', time='2026-03-29 02:30', timeZone='Europe/Berlin')
        assert answer.json()['response']['time'] == '2026-03-29T01:30:00.000Z'
        assert 'warning' in answer.json()

    @pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH'])
    def test_are_for_posts(self, server: ClockedServer, method: str) -> None:
        answer = requests.request(method, f'{server.url}/api/getStatus', timeout=5)
        assert answer.status_code == 405
        assert 'POST' in answer.headers['Allow']


class TestBodies:
    @pytest.mark.parametrize('kind', ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', ''])
    def test_have_to_say_that_they_are_json(self, server: ClockedServer, kind: str) -> None:
        answer = requests.post(f'{server.url}/api/getStatus', b'{}', headers={'Content-Type': kind}, timeout=5)
        assert (answer.status_code, answer.json()['status']) == (415, 'failure')

    @pytest.mark.parametrize(
        'body', [b'{', b'\xff', b'{"a": NaN}', b'[' * 30_000, b'"\\ud800', b'{} {}', b'\xef\xbb\xbf{}', b' ']
    )
    def test_that_are_no_json_are_refused(self, server: ClockedServer, body: bytes) -> None:
        answer = requests.post(
            f'{server.url}/api/getStatus', body, headers={'Content-Type': 'application/json'}, timeout=5
        )
        assert (answer.status_code, answer.json()) == (
            400,
            {'status': 'failure', 'error': 'the body is no JSON in UTF-8'},
        )

    @pytest.mark.parametrize('data', [7, 'x', [], [None], False])
    def test_are_objects(self, server: ClockedServer, data: Any) -> None:
        answer = requests.post(f'{server.url}/api/getStatus', json=data, timeout=5)
        assert (answer.status_code, answer.json()['error']) == (400, 'the body has to be a JSON object')

    @pytest.mark.parametrize('data', [{}, {'eventName': '\ud800'}, {'eventName': 1e308}])
    def test_of_any_object_are_answered_by_the_command(self, server: ClockedServer, data: Any) -> None:
        answer = requests.post(f'{server.url}/api/scheduleEvent', json=data, timeout=5)
        assert answer.status_code == 400
        assert "'eventName'" in answer.json()['error']

    def test_have_a_largest_size(self, server: ClockedServer) -> None:
        headers = {'Content-Type': 'application/json'}
        body = b'{"a": "%s"}' % (b'x' * (LARGEST - 9))
        assert len(body) == LARGEST
        url = f'{server.url}/api/getStatus'
        assert requests.post(url, body, headers=headers, timeout=5).status_code == 200
        assert requests.post(url, body + b' ', headers=headers, timeout=5).status_code == 413

    def test_in_chunks_are_refused_as_all_else_is(self, server: ClockedServer) -> None:
        headers = {'Content-Type': 'application/json', 'X-Request-Id': 'mine'}
        url = f'{server.url}/api/getStatus?token=secret'
        answer = requests.post(url, iter([b'{', b'}']), headers=headers, timeout=5)
        assert (answer.status_code, answer.reason) == (411, 'Length Required')
        assert answer.json() == {
            'status': 'failure',
            'error': 'the length of the body has to be given, as Content-Length',
        }
        assert (answer.headers['X-Request-Id'], answer.headers['Connection']) == ('mine', 'close')
        other = requests.get(f'{server.url}/nowhere', timeout=5).headers
        assert {**other, **answer.headers}.keys() - other.keys() == {'Connection'}

    def test_that_break_off_or_whose_end_is_not_clear_are_refused(self, server: ClockedServer) -> None:
        head = b'POST /api/getStatus HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
        assert raw(server, head + b'Content-Length: 9\r\n\r\n{}').startswith(b'HTTP/1.1 400 ')
        for lengths in (
            b'Content-Length: 2\r\n' * 2 + b'\r\n{}',
            b'Content-Length: +2\r\n\r\n{}',
            b'Content-Length: 0_2\r\n\r\n{}',
            b'X: a\rContent-Length: 2\r\n\r\n{}',
        ):
            assert raw(server, head + lengths).startswith(b'HTTP/1.1 400 ')


class TestKeys:
    def test_the_header_is_the_key(self, server: ClockedServer) -> None:
        data, headers = tea(server), {'Idempotency-Key': 'tea of today'}
        first, again = ask(server, 'scheduleEvent', headers, **data), ask(server, 'scheduleEvent', headers, **data)
        assert first.json() == again.json()
        assert ask(server, 'scheduleEvent', **data, key='tea of today').json() == first.json()
        assert ask(server, 'scheduleEvent', headers, **data | {'eventName': 'Coffee'}).status_code == 400

    def test_two_that_differ_are_refused(self, server: ClockedServer) -> None:
        answer = ask(server, 'scheduleEvent', {'Idempotency-Key': 'a'}, **tea(server, key='b'))
        assert (answer.status_code, answer.json()['error']) == (400, "'key' and Idempotency-Key are not the same")

    def test_a_header_is_text(self, server: ClockedServer) -> None:
        data, key = tea(server), 'Tee für zwei ☕'
        header = key.encode().decode('latin-1')
        first = ask(server, 'scheduleEvent', {'Idempotency-Key': header}, **data)
        assert ask(server, 'scheduleEvent', **data, key=key).json() == first.json()
        assert ask(server, 'scheduleEvent', {'Idempotency-Key': '\xff'}, **data).status_code == 400


class TestOrigins:
    def test_other_pages_are_refused_before_anything_is_done(self, server: ClockedServer) -> None:
        data = tea(server, key='from elsewhere')
        answer = ask(server, 'scheduleEvent', {'Origin': 'https://evil.example'}, **data)
        assert (answer.status_code, answer.json()['status']) == (403, 'failure')
        assert 'Access-Control-Allow-Origin' not in answer.headers
        assert ask(server, 'scheduleEvent', **data | {'eventName': 'Mine'}).status_code == 200

    def test_those_of_the_settings_are_let_in(self, server: ClockedServer) -> None:
        headers = {'Origin': 'https://friend.example'}
        asked = requests.options(
            f'{server.url}/api/getStatus',
            headers={**headers, 'Access-Control-Request-Headers': 'content-type,idempotency-key'},
            timeout=5,
        )
        assert (asked.status_code, asked.headers['Access-Control-Allow-Methods']) == (204, 'POST')
        assert asked.headers['Access-Control-Allow-Headers'] == 'content-type,idempotency-key'
        answer = ask(server, 'getStatus', headers)
        assert (answer.status_code, answer.headers['Access-Control-Allow-Origin']) == (200, 'https://friend.example')
        assert answer.headers['Access-Control-Expose-Headers'] == 'Retry-After, X-Request-Id'

    def test_they_may_read_why_something_is_refused(self, server: ClockedServer) -> None:
        headers = {'Origin': 'https://friend.example', 'Content-Type': 'text/plain'}
        answer = requests.post(f'{server.url}/api/getStatus', b'{}', headers=headers, timeout=5)
        assert (answer.status_code, answer.headers['Access-Control-Allow-Origin']) == (415, 'https://friend.example')
        assert answer.headers['Access-Control-Expose-Headers'] == 'Retry-After, X-Request-Id'


class TestTokens:
    def test_who_has_none_is_not_served(self, guarded: ClockedServer) -> None:
        for headers in ({}, {'Authorization': 'Bearer x'}, {'Authorization': 'Basic eDp4'}):
            answer = ask(guarded, 'getStatus', headers)
            assert (answer.status_code, answer.headers['WWW-Authenticate']) == (401, 'Bearer')
            assert answer.json()['error'].startswith('token is ')

    def test_each_may_what_the_token_says(self, guarded: ClockedServer) -> None:
        def status(command: str, data: dict[str, Any], **claims: Any) -> int:
            headers = {'Authorization': f'Bearer {token(guarded.now(), **claims)}'}
            return ask(guarded, command, headers, **data).status_code

        assert status('scheduleEvent', tea(guarded), scope='listen') == 403
        assert status('scheduleEvent', tea(guarded), scope='schedule') == 200
        assert status('scheduleEvent', tea(guarded, channel='a'), channels=['a']) == 200
        assert status('scheduleEvent', tea(guarded, channel='b'), channels=['a']) == 403
        assert status('listEvents', {}, scope='schedule') == 403
        assert status('listEvents', {}, exp=1) == 401

    def test_what_others_have_scheduled_takes_more(self, guarded: ClockedServer) -> None:
        def headers(subject: str, scope: str = 'schedule listen') -> dict[str, str]:
            return {'Authorization': f'Bearer {token(guarded.now(), sub=subject, scope=scope)}'}

        event = ask(guarded, 'scheduleEvent', headers('ann'), **tea(guarded)).json()['response']
        assert ask(guarded, 'updateEvent', headers('bob'), _id=event['_id'], eventName='Mine').status_code == 403
        assert ask(guarded, 'cancelEvent', headers('bob', 'manage'), _id=event['_id']).status_code == 200


class TestLimits:
    def test_who_asks_too_often_is_told_when_to_come_back(self, tmp_path: Path) -> None:
        with Server(tmp_path, COMMAND_RATE_LIMIT='2', TRUSTED_PROXIES='1') as server, requests.Session() as session:
            server.start()

            def status(address: str) -> requests.Response:
                headers = {'X-Forwarded-For': address}
                return session.post(f'{server.url}/api/getStatus', headers=headers, timeout=5)

            answers = [status('192.0.2.1') for _ in range(30)]
            refused = [answer for answer in answers if answer.status_code != 200]
            assert {answer.status_code for answer in refused} == {429}
            assert 5 < len(refused) < 10
            assert 1 <= int(refused[-1].headers['Retry-After']) <= 2
            assert status('192.0.2.2').status_code == 200
            assert scrape(server.url)('reminder_limit_hits_total', limit='rate') == len(refused)

    def test_data_that_is_too_large_is_counted(self, tmp_path: Path) -> None:
        with Server(tmp_path) as server:
            server.start()
            assert scrape(server.url)('reminder_limit_hits_total', limit='body') == 0
            assert ask(server, 'getStatus', more='x' * LARGEST).status_code == 413
            assert scrape(server.url)('reminder_limit_hits_total', limit='body') == 1

    def test_this_machines_own_connections_are_limited_each_by_itself(self, tmp_path: Path) -> None:
        with Server(tmp_path, COMMAND_RATE_LIMIT='1') as server:
            server.start()
            url = f'{server.url}/api/getStatus'
            with requests.Session() as one, requests.Session() as other:
                assert {one.post(url, timeout=5).status_code for _ in range(15)} == {200, 429}
                assert other.post(url, timeout=5).status_code == 200

    def test_a_server_that_stops_answers_what_it_has_begun_and_takes_no_more(self, tmp_path: Path) -> None:
        with Server(tmp_path) as server, requests.Session() as session, ThreadPoolExecutor() as pool:
            server.start()
            assert session.post(f'{server.url}/api/getStatus', timeout=5).status_code == 200
            with sqlite3.connect(tmp_path / 'events.db', isolation_level=None) as lock:
                lock.execute('BEGIN IMMEDIATE')  # so that a commit has to wait
                begun = pool.submit(ask, server, 'scheduleEvent', **tea(server))
                scrape_until(server.url, lambda found: found('reminder_commands_running') > 0)
                server.signal(signal.SIGTERM)
                deadline = time.monotonic() + 5
                while 'event=stopping' not in server.log():
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                answer = session.post(f'{server.url}/api/getStatus', timeout=5)
                assert (answer.status_code, answer.json()['error']) == (503, 'server is stopping')
                assert int(answer.headers['Retry-After']) > 0
                time.sleep(1)  # longer than a server takes to stop that does not wait for anything
                lock.execute('ROLLBACK')
            assert begun.result().status_code == 200
            assert server.exit_code() == 0

    def test_a_database_that_is_away_is_no_fault_of_the_client(self, tmp_path: Path) -> None:
        server = ClockedServer(tmp_path / 'server', CLOCK)
        (tmp_path / 'server').mkdir()
        (tmp_path / 'database').mkdir()
        with mongodb_for([server], tmp_path / 'database') as database, server.start():
            assert ask(server, 'scheduleEvent', **tea(server)).status_code == 200
            database.stop()
            answer = ask(server, 'scheduleEvent', **tea(server))
            assert (answer.status_code, answer.json()['status']) == (503, 'failure')
            assert int(answer.headers['Retry-After']) > 0
            database.start(server.ahead)
            server.wait_for('/readyz', 200)
            assert ask(server, 'scheduleEvent', **tea(server)).status_code == 200


def test_a_key_is_one_event_on_two_servers(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ('one', 'two')]
    for folder in folders:
        folder.mkdir()
    one = ClockedServer(folders[0], CLOCK)
    two = ClockedServer(folders[1], CLOCK, DATABASE_URL=one.settings['DATABASE_URL'])
    with one.start(), two.start():
        data, headers = tea(one), {'Idempotency-Key': 'once'}
        answers = [ask(server, 'scheduleEvent', headers, **data).json() for server in (one, two, one)]
    assert answers[0]['status'] == 'success'
    assert json.dumps(answers[0]) == json.dumps(answers[1]) == json.dumps(answers[2])

"""A server that asks for tokens: who gets in, who does not and why, what they may do, and for how long."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from socketio.exceptions import ConnectionError as ConnectionRefused

from tests.clients import Client, Clients, schedule_event
from tests.faults import ClockedServer, reminders, wait_until_back
from tests.server import MINUTE, Server, wall
from tests.tokens import (
    AUDIENCE,
    ISSUER,
    SECRET,
    SIGNERS,
    claims,
    confused,
    public_pem,
    refused,
    token,
)
from tests.wire import Polling, SocketIO, WebSocket

CLOCK = '2026-03-01 10:00:30'
SETTINGS = {'AUTH_SECRET': SECRET, 'AUTH_AUDIENCE': AUDIENCE, 'AUTH_ISSUER': ISSUER}
TIME_ZONES = {'command': 'getAllTimeZones'}
OFFICIAL = [(kind, transport) for kind in ('js-4.8', 'js-3.1', 'python') for transport in ('polling', 'websocket')]


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    """A server that tells all that it does."""
    folder = tmp_path_factory.mktemp('auth')
    server = ClockedServer(folder, CLOCK, LOG_LEVEL='debug', PING_INTERVAL='5', **SETTINGS)
    with server:
        server.start()
        yield server
    assert 'Traceback' not in server.log(), server.log()


def connect_packet(**auth: object) -> str:
    return f'40{json.dumps(auth)}'


def answer(url: str, packet: str) -> Any:
    """What CONNECT is answered with: the reason of a refusal, or else an object."""
    with WebSocket(url) as client:
        client.read()
        client.send(packet)
        said = client.read()
        assert said.startswith(('40{', '44{')), said
        told = json.loads(said[2:])
        if said.startswith('44'):
            assert told.keys() == {'message'}
            return told['message']
        return told


class TestWhoIsRefused:
    def test_each_wrong_token_with_its_reason(self, server: ClockedServer) -> None:
        answers = {
            name: (answer(server.url, connect_packet(token=wrong)), reason)
            for name, wrong, reason in refused(server.now())
        }
        assert len(answers) > 60
        assert {name: pair for name, pair in answers.items() if not str(pair[0]).startswith(pair[1])} == {}

    @pytest.mark.parametrize('packet', ['40', '40{}', '40{"Token":"x"}', '40{"auth":{"token":"x"}}'])
    def test_who_brings_none(self, server: ClockedServer, packet: str) -> None:
        assert answer(server.url, packet) == 'token is missing'

    def test_over_long_polling_too(self, server: ClockedServer) -> None:
        client = Polling(server.url)
        client.post(connect_packet(token=token(server.now(), exp=0)))
        assert client.get().text == '44{"message":"token has expired"}'

    def test_is_not_served(self, server: ClockedServer) -> None:
        with WebSocket(server.url) as client:
            client.read()
            for _ in range(3):  # as often as they like
                client.send(connect_packet(token='guessed'))
                assert client.read() == '44{"message":"token is not valid"}'
            client.send('421["command",{"command":"getAllTimeZones"}]')
            assert client.close_code() is not None

    def test_leaves_nothing_of_a_token_in_the_log_even_at_debug(self, server: ClockedServer) -> None:
        genuine, forged = token(server.now()), jwt.encode(claims(server.now()), SECRET[::-1], 'HS256')
        for one in (genuine, forged, 'x' + genuine, genuine + 'x', [genuine], genuine * 9):
            answer(server.url, connect_packet(token=one))
        log = server.log()
        assert 'a token is refused: InvalidSignatureError' in log
        for part in (SECRET, *genuine.split('.'), *forged.split('.')):
            assert part not in log

    def test_may_try_again_at_once(self, server: ClockedServer) -> None:
        with WebSocket(server.url) as client:
            client.read()
            client.send(connect_packet(token='guessed'))
            assert client.read().startswith('44')
            client.send(connect_packet(token=token(server.now())))
            assert client.read().startswith('40{"sid":')

    def test_who_brings_one_may_connect_once(self, server: ClockedServer) -> None:
        """Another CONNECT cannot exchange a token for a better one."""
        with SocketIO(server.url, connect_packet(token=token(server.now(), scope='listen'))) as client:
            client.send(connect_packet(token=token(server.now())))
            assert client.close_code() is not None

    @pytest.mark.parametrize('kind', ['js-4.8', 'python'])
    def test_an_official_client_is_told_why(self, server: ClockedServer, connect: Clients, kind: str) -> None:
        auth = {'token': token(server.now(), exp=1)}
        if kind == 'python':
            with pytest.raises(ConnectionRefused):
                connect(server.url, kind, auth=auth)
        else:
            client = connect(server.url, kind, wait=False, auth=auth)
            assert client.wait_for('connect_error')['message'] == 'token has expired'


def test_a_public_key_lets_in_what_its_private_key_signed_and_nothing_that_it_signs_itself(tmp_path: Path) -> None:
    signer = SIGNERS['RS256']
    with Server(tmp_path, AUTH_PUBLIC_KEY=public_pem(signer).replace('\n', '\\n')) as server:
        server.start()
        genuine = jwt.encode(claims(server.now(), aud=None), signer, 'RS256')
        assert answer(server.url, connect_packet(token=genuine)).keys() == {'sid', 'pid'}
        for name, forged in confused(signer, server.now()):
            assert answer(server.url, connect_packet(token=forged)) == 'token is not valid', name
        assert answer(server.url, connect_packet(token=token(server.now()))) == 'token is not valid'


def test_a_damaged_key_ends_the_start_with_one_line(tmp_path: Path) -> None:
    server = Server(tmp_path, AUTH_PUBLIC_KEY=public_pem(SIGNERS['ES256']).replace('E', 'F', 9)).start(ready=None)
    assert server.exit_code() == 2
    (line,) = server.log().splitlines()
    assert 'AUTH_PUBLIC_KEY' in line


@dataclass
class Minute:
    """Clients of each kind, transport and scope; an event, of which those who may were reminded; and what each was
    answered that tried to schedule another one."""

    clients: dict[tuple[str, str, str], Client]
    event: dict[str, str]
    answers: dict[tuple[str, str, str], Any]


@pytest.fixture(scope='module')
def minute(server: ClockedServer, request: pytest.FixtureRequest) -> Iterator[Minute]:
    due = server.now() // MINUTE * MINUTE + MINUTE
    with Clients(lambda: request.getfixturevalue('driver')) as connect:
        clients = {
            (*pair, scope): connect(server.url, *pair, auth={'token': token(server.now(), scope=scope)})
            for pair in OFFICIAL
            for scope in ('listen', 'schedule', 'listen schedule')
        }
        event = clients['js-4.8', 'websocket', 'schedule'].schedule('tea', wall(due))
        message = schedule_event('later', wall(due + 60 * MINUTE))
        answers = {key: client.command(message) for key, client in clients.items()}
        server.set_clock(due - 1_000)
        for (*_, scope), client in clients.items():
            if 'listen' in scope:
                client.wait_for_reminder(event['_id'])
        for client in clients.values():
            assert client.command(TIME_ZONES)['status'] == 'success'
        yield Minute(clients, event, answers)


class TestWhatTheyMayDo:
    def test_who_may_not_schedule_is_told_so(self, minute: Minute) -> None:
        for (*_, scope), told in minute.answers.items():
            if 'schedule' in scope:
                assert told['status'] == 'success'
            else:
                assert told == {'status': 'failure', 'error': "scope 'schedule' is required"}

    def test_who_may_listen_is_reminded(self, minute: Minute) -> None:
        for (*_, scope), client in minute.clients.items():
            if 'listen' in scope:
                assert reminders(client) == [minute.event]

    def test_who_may_not_hears_nothing_at_all(self, minute: Minute) -> None:
        silent = [client for (*_, scope), client in minute.clients.items() if 'listen' not in scope]
        assert len(silent) == len(OFFICIAL)
        for client in silent:
            assert [event for event in client.events if event['event'] == 'message'] == []

    def test_nobody_lost_the_connection(self, minute: Minute) -> None:
        for client in minute.clients.values():
            assert [event for event in client.events if event['event'] in ('disconnect', 'connect_error')] == []


class TestRecovery:
    """Whoever comes back needs a token as much as whoever comes."""

    @pytest.fixture
    def left(self, server: ClockedServer) -> dict[str, str]:
        """What a client remembers that was connected: its `pid` and the last offset."""
        with SocketIO(server.url, connect_packet(token=token(server.now()))) as client:
            cursor = client.read()
            assert cursor.startswith('42["cursor",')
            return {'pid': client.connected['pid'], 'offset': json.loads(cursor[2:])[1]}

    def test_with_a_token_it_goes_on(self, server: ClockedServer, left: dict[str, str]) -> None:
        connected = answer(server.url, connect_packet(token=token(server.now()), **left))
        assert connected['pid'] == left['pid']

    def test_without_a_token_there_is_none(self, server: ClockedServer, left: dict[str, str]) -> None:
        assert answer(server.url, connect_packet(**left)) == 'token is missing'
        assert answer(server.url, connect_packet(since=left['offset'])) == 'token is missing'

    def test_nor_with_one_that_has_expired(self, server: ClockedServer, left: dict[str, str]) -> None:
        assert answer(server.url, connect_packet(token=token(server.now(), exp=1), **left)) == 'token has expired'

    @pytest.mark.parametrize('more', ['left', 'since'])
    def test_who_may_not_listen_gets_nothing_back(self, server: ClockedServer, left: dict[str, str], more: str) -> None:
        resumes = left if more == 'left' else {'since': '2026-01-01T00:00:00Z'}
        with SocketIO(server.url, connect_packet(token=token(server.now(), scope='schedule'), **resumes)) as client:
            assert client.connected.keys() == {'sid'}
            client.send('421["command",{"command":"getAllTimeZones"}]')
            assert client.read().startswith('431[')  # no cursor, no reminder and no `replayed` came before

    def test_a_stranger_learns_nothing_of_the_log(self, server: ClockedServer) -> None:
        """Given a `since` that is wrong, those alone who have a token are told so."""
        assert answer(server.url, connect_packet(since='nonsense')) == 'token is missing'
        told = answer(server.url, connect_packet(since='nonsense', token=token(server.now())))
        assert "'since' must be" in told


class TestExpiry:
    @pytest.mark.parametrize(('kind', 'transport'), OFFICIAL)
    def test_it_ends_the_connection_and_the_old_token_opens_no_other(
        self, server: ClockedServer, connect: Clients, kind: str, transport: str
    ) -> None:
        expires = server.now() // 1000 + 600
        client = connect(server.url, kind, transport, auth={'token': token(server.now(), exp=expires)})
        assert client.command(TIME_ZONES)['status'] == 'success'
        server.set_clock(expires * 1000)
        client.wait_for('disconnect')
        if (kind, transport) == ('python', 'polling'):  # which does not come back to a server that says good-bye
            with pytest.raises(ConnectionRefused):
                connect(server.url, kind, transport, auth={'token': token(server.now(), exp=expires)})
        else:
            assert client.wait_for('connect_error')['message'] == 'token has expired'
        assert len([event for event in client.events if event['event'] == 'connect']) == 1

    def test_it_ends_no_other_connection(self, server: ClockedServer, connect: Clients) -> None:
        soon, later = server.now() // 1000 + 600, server.now() // 1000 + 1_200
        staying = connect(server.url, 'python', auth={'token': token(server.now(), exp=later)})
        with SocketIO(server.url, connect_packet(token=token(server.now(), exp=soon))) as leaving:
            server.set_clock(soon * 1000)
            assert leaving.close_code() is not None
        assert staying.command(TIME_ZONES)['status'] == 'success'
        assert [event for event in staying.events if event['event'] == 'disconnect'] == []

    def test_a_client_that_has_a_new_token_by_then_goes_on(self, server: ClockedServer, connect: Clients) -> None:
        """Given a client that asks for a token each time, then it is back by itself."""
        expires = server.now() // 1000 + 600
        tokens = iter([token(server.now(), exp=expires), token(server.now(), exp=expires + 600)])
        client = connect(server.url, 'python', auth=lambda: {'token': next(tokens)})
        server.set_clock(expires * 1000)
        wait_until_back(client)
        assert client.command(TIME_ZONES)['status'] == 'success'

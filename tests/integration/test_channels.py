"""Channels: each client gets what is for everybody and for its own channels, live, resumed and after a kill.

A token can name the channels that its owner may know of.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from socketio.exceptions import ConnectionError as ConnectionRefused

from tests.clients import Client, Clients, schedule_event
from tests.faults import ClockedServer, in_order, reminders, wait_until_back
from tests.server import MINUTE, wall
from tests.tokens import SECRET, token
from tests.wire import SocketIO

CLOCK = '2026-03-01 10:00:30'
SETTLE = 1.0
"""Seconds in which anything that comes too much would have come."""
OFFICIAL = [(kind, transport) for kind in ('js-4.8', 'python') for transport in ('polling', 'websocket')]
AUDIENCES: dict[str, list[str] | None] = {'nobody': None, 'a': ['a'], 'a and b': ['a', 'b', 'a'], 'others': ['z']}
NAMES = [None, 'a', 'b', 'c']
"""The channels of the events in each minute."""


def schedule(client: Client, name: str, due: int, channel: str | None) -> dict[str, Any]:
    """Schedules an event, which must succeed; what was acked."""
    message = schedule_event(name, wall(due))
    if channel is not None:
        message['data']['channel'] = channel
    answer = client.command(message)
    assert answer['status'] == 'success', answer
    response: dict[str, Any] = answer['response']
    assert response.get('channel') == channel
    return response


def for_them(events: list[dict[str, Any]], channels: list[str] | None) -> list[dict[str, Any]]:
    """Of those events, what clients of these channels are to get, in order."""
    return in_order([event for event in events if event.get('channel') in (None, *(channels or []))])


def wait_for_cursors(client: Client, count: int) -> None:
    client.wait(lambda _: len(client.messages('cursor')) == count)


@dataclass
class Story:
    """Clients of each kind, transport and audience, and what was scheduled for before and after a kill, and in it."""

    clients: dict[tuple[str, str, str], Client]
    live: list[dict[str, Any]]
    missed: list[dict[str, Any]]
    later: list[dict[str, Any]]


@pytest.fixture(scope='module')
def story(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Story]:
    server = ClockedServer(tmp_path_factory.mktemp('channels'), CLOCK)
    with server.start(), Clients(lambda: request.getfixturevalue('driver')) as connect:
        clients = {
            (*pair, audience): connect(server.url, *pair, auth=channels and {'channels': channels})
            for pair in OFFICIAL
            for audience, channels in AUDIENCES.items()
        }
        due = server.next_minute()
        anybody = clients['js-4.8', 'websocket', 'nobody']
        live, missed, later = (
            [schedule(anybody, f'{part} {name}', due + number * MINUTE, name) for name in NAMES]
            for number, part in enumerate(('live', 'missed', 'later'))
        )
        server.set_clock(due - 1_000)
        wait_for_all(clients, live)
        for client in clients.values():
            # One came when it connected, one comes last: without it what came before would come again.
            wait_for_cursors(client, 2)
        server.kill()
        server.skip_to(due + MINUTE + 20_000)
        server.start()
        for client in clients.values():
            wait_until_back(client)
        wait_for_all(clients, missed)
        server.set_clock(due + 2 * MINUTE - 1_000)
        wait_for_all(clients, later)
        time.sleep(SETTLE)
        yield Story(clients, live, missed, later)
    assert 'Traceback' not in server.log(), server.log()


def wait_for_all(clients: dict[tuple[str, str, str], Client], events: list[dict[str, Any]]) -> None:
    for (*_, audience), client in clients.items():
        for event in for_them(events, AUDIENCES[audience]):
            client.wait_for_reminder(event['_id'])


@pytest.mark.parametrize('audience', AUDIENCES)
@pytest.mark.parametrize('pair', OFFICIAL, ids='-'.join)
def test_each_client_gets_its_own_once_in_order(story: Story, pair: tuple[str, str], audience: str) -> None:
    """Given clients that were connected at one minute, came back after another, which fell due while the server was
    killed, and stayed for a third, each got what is for everybody and for its channels, as it was acked."""
    channels = AUDIENCES[audience]
    expected = [event for part in (story.live, story.missed, story.later) for event in for_them(part, channels)]
    assert reminders(story.clients[(*pair, audience)]) == expected


@pytest.mark.parametrize('audience', AUDIENCES)
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_an_unmodified_javascript_client_is_recovered(story: Story, transport: str, audience: str) -> None:
    client = story.clients['js-4.8', transport, audience]
    connects = [event for event in client.events if event['event'] == 'connect']
    assert [connect['recovered'] for connect in connects] == [False, True]
    missed = for_them(story.missed, AUDIENCES[audience])
    assert client.messages('replayed') == [[{'count': len(missed), 'complete': True}]]


def test_all_are_told_the_same_place(story: Story) -> None:
    """Whoever gets nothing of a minute moves on with the others, and has nothing searched when it comes back."""
    assert len({client.messages('cursor')[-1][0] for client in story.clients.values()}) == 1


# -- without and with tokens ------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    with ClockedServer(tmp_path_factory.mktemp('plain'), CLOCK) as server:
        yield server.start()


@pytest.fixture(scope='module')
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    """A server that asks for tokens."""
    with ClockedServer(tmp_path_factory.mktemp('guarded'), CLOCK, AUTH_SECRET=SECRET, PING_INTERVAL='5') as server:
        yield server.start()


def refusal(client: Client) -> str:
    message: str = client.wait_for('connect_error')['message']
    return message


@pytest.mark.parametrize(
    ('channels', 'reason'),
    [
        ('a', "'channels' has to be a list of at most 100 names"),
        ([str(number) for number in range(101)], "'channels' has to be a list of at most 100 names"),
        (['a', 'not this one'], "'channels' holds 'not this one', which is invalid"),
        ([['a']], "'channels' holds "),
    ],
    ids=['a text', 'too many', 'no name', 'a list'],
)
def test_a_client_that_asks_for_what_is_no_channel_is_told_so(
    plain: ClockedServer, connect: Clients, channels: object, reason: str
) -> None:
    client = connect(plain.url, wait=False, auth={'channels': channels})
    assert refusal(client).startswith(reason)
    with pytest.raises(ConnectionRefused):
        connect(plain.url, 'python', auth={'channels': channels})


def test_a_client_may_come_back_for_other_channels(plain: ClockedServer) -> None:
    """Given a client that was there for one channel, when it resumes for another, it gets what is for that."""
    due = plain.next_minute(margin=1)
    with SocketIO(plain.url, '40{"channels":["first"]}') as client:
        offset = json.loads(client.read()[2:])[1]
        for number, channel in enumerate(('first', 'second')):
            message = schedule_event(channel, wall(due))
            message['data']['channel'] = channel
            client.send(f'42{number}["command",{json.dumps(message)}]')
            assert '"success"' in client.read_message()
        plain.set_clock(due - 500)
        assert '"first"' in client.read_message()
    with SocketIO(plain.url, f'40{json.dumps({"channels": ["second"], "since": offset})}') as client:
        assert '"second"' in client.read_message()
        assert client.read_message() == '42["replayed",{"count":1,"complete":true}]'


class TestTokens:
    """A client knows of no channel that its token does not name."""

    def auth(self, server: ClockedServer, claim: object, **more: object) -> dict[str, Any]:
        changes = {} if claim is None else {'channels': claim}
        return {'token': token(server.now(), aud=None, iss=None, **changes), **more}

    @pytest.mark.parametrize('claim', [['a', 'b'], 'a b', []], ids=['a list', 'a text', 'none'])
    def test_it_cannot_ask_for_another(self, guarded: ClockedServer, connect: Clients, claim: object) -> None:
        client = connect(
            guarded.url, wait=False, auth=self.auth(guarded, claim, channels=['a', 'c'] if claim else ['c'])
        )
        assert refusal(client) == "channel='c' is not among the channels of your token"

    def test_it_gets_none_of_another_live_or_replayed(self, guarded: ClockedServer, connect: Clients) -> None:
        # Given clients whose tokens name a channel, several, none, and any, which ask for all that they may
        asked: dict[str, tuple[object, list[str]]] = {
            'one': (['a'], ['a']),
            'two': ('a b', ['a', 'b']),
            'none': ([], []),
            'any': (None, ['a', 'b', 'c']),
            'any, asking for none': (None, []),
        }
        cast = {
            name: connect(guarded.url, auth=self.auth(guarded, claim, channels=channels))
            for name, (claim, channels) in asked.items()
        }
        due = guarded.next_minute()
        events = [schedule(cast['any'], f'{name}', due, name) for name in NAMES]
        guarded.set_clock(due - 1_000)
        cast['any'].wait_for_reminder(events[-1]['_id'])
        # When others come back from before
        since = '2026-03-01T10:00:00Z'
        for name, (claim, channels) in asked.items():
            cast[f'{name}, later'] = connect(
                guarded.url, 'python', auth=self.auth(guarded, claim, channels=channels, since=since)
            )
        # Then each of both gets its own
        for name, client in cast.items():
            channels = asked[name.removesuffix(', later')][1]
            for event in for_them(events, channels):
                client.wait_for_reminder(event['_id'])
        time.sleep(SETTLE)
        for name, client in cast.items():
            assert reminders(client) == for_them(events, asked[name.removesuffix(', later')][1]), name

    def test_it_cannot_schedule_for_another(self, guarded: ClockedServer, connect: Clients) -> None:
        client = connect(guarded.url, auth=self.auth(guarded, ['a']))
        message = schedule_event('x', wall(guarded.now() + 9 * MINUTE))
        message['data']['channel'] = 'b'
        answer = client.command(message)
        assert answer['status'] == 'failure'
        assert "channel='b'" in answer['error']

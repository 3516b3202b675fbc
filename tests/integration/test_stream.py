"""Event streams: each client gets what other clients get, live and resumed, and harms nobody."""

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.clients import Client, Clients, Driver
from tests.faults import ClockedServer, Proxy, in_order, reminders, schedule_many, wait_until_back
from tests.hostile.fortress import Fortress, wait_until
from tests.integration.test_channels import for_them, schedule, wait_for_cursors
from tests.server import MINUTE, Server
from tests.streams import Stream, closing_all, listen, stream_url
from tests.tokens import AUDIENCE, ISSUER, SECRET, token
from tests.wire import SocketIO

CLOCK = '2026-03-01 10:00:30'
KINDS = ['js', 'python']
SETTLE = 1.0
"""Seconds in which anything that comes too much would have come."""
AUDIENCES: dict[str, list[str]] = {'nobody': [], 'a and b': ['a', 'b']}
NAMES = [None, 'a', 'b', 'c']
"""The channels of the events in each minute."""
BATCH = 1_200
"""Reminders of a minute that is cut: a page and a part of another."""


# -- live, missed, and live again -------------------------------------------------------------------------------


@dataclass
class Story:
    """Streams of each kind and audience, and what was scheduled for before and after a kill, and in it."""

    streams: dict[tuple[str, str], Client]
    other: Client
    """A Socket.IO client beside them."""
    live: list[dict[str, Any]]
    missed: list[dict[str, Any]]
    later: list[dict[str, Any]]


@pytest.fixture(scope='module')
def story(tmp_path_factory: pytest.TempPathFactory, driver: Driver) -> Iterator[Story]:
    server = ClockedServer(tmp_path_factory.mktemp('stream'), CLOCK)
    with server.start(), Clients(lambda: driver) as connect:
        streams = {
            (kind, audience): listen(driver, kind, server.url, channels=','.join(channels))
            for kind in KINDS
            for audience, channels in AUDIENCES.items()
        }
        with closing_all(*streams.values()):
            other = connect(server.url)
            due = server.next_minute()
            live, missed, later = (
                [schedule(other, f'{part} "ü\n\x1e\u2028" {name}', due + number * MINUTE, name) for name in NAMES]
                for number, part in enumerate(('live', 'missed', 'later'))
            )
            server.set_clock(due - 1_000)
            wait_for_all(streams, live)
            for client in (*streams.values(), other):
                # One came when it connected, one comes last.
                wait_for_cursors(client, 2)
            server.kill()
            server.skip_to(due + MINUTE + 20_000)
            server.start()
            for client in streams.values():
                wait_until_back(client)
            wait_for_all(streams, missed)
            server.set_clock(due + 2 * MINUTE - 1_000)
            wait_for_all(streams, later)
            other.wait(lambda event: event.get('args') == [in_order(for_them(later, None))[-1]])
            time.sleep(SETTLE)
            yield Story(streams, other, live, missed, later)
    assert 'Traceback' not in server.log(), server.log()


def wait_for_all(streams: dict[tuple[str, str], Client], events: list[dict[str, Any]]) -> None:
    for (_, audience), client in streams.items():
        for event in for_them(events, AUDIENCES[audience]):
            client.wait_for_reminder(event['_id'])


@pytest.mark.parametrize('audience', AUDIENCES)
@pytest.mark.parametrize('kind', KINDS)
def test_each_stream_gets_its_own_once_in_order(story: Story, kind: str, audience: str) -> None:
    """Given streams that were open at one minute, came back by themselves after another, which fell due while the
    server was killed, and stayed for a third, each got what is for everybody and for its channels, as it was acked."""
    expected = [
        event for part in (story.live, story.missed, story.later) for event in for_them(part, AUDIENCES[audience])
    ]
    assert reminders(story.streams[kind, audience]) == expected


@pytest.mark.parametrize('audience', AUDIENCES)
@pytest.mark.parametrize('kind', KINDS)
def test_a_stream_that_came_back_was_told_that_it_had_all(story: Story, kind: str, audience: str) -> None:
    missed = for_them(story.missed, AUDIENCES[audience])
    assert story.streams[kind, audience].messages('replayed') == [[{'count': len(missed), 'complete': True}]]


def test_streams_and_other_clients_are_told_the_same_place(story: Story) -> None:
    places = [client.messages('cursor')[-1][0] for client in (*story.streams.values(), story.other)]
    assert len(set(places)) == 1


@pytest.mark.parametrize('kind', KINDS)
def test_a_cursors_id_is_the_cursor(story: Story, kind: str) -> None:
    events = [event for event in story.streams[kind, 'nobody'].events if event.get('name') == 'cursor']
    assert [event['lastEventId'] for event in events] == [event['args'][0] for event in events]


# -- a batch that is cut ----------------------------------------------------------------------------------------


def test_a_kill_within_a_batch_loses_nothing_and_repeats_nothing(tmp_path: Path, driver: Driver) -> None:
    """Each reminder has an id of its own: streams go on behind the last one that they had whole."""
    with ClockedServer(tmp_path, CLOCK, COMMAND_RATE_LIMIT='0') as server, Proxy(server) as proxy:
        # Given streams which get no more than so many bytes of a batch
        server.start()
        due = server.next_minute(margin=5)
        events = schedule_many(server.url, [f'{number:04} {"x" * 200}' for number in range(BATCH)], due)
        streams = [listen(driver, kind, proxy.url) for kind in KINDS * 2]
        with closing_all(*streams):
            for stream in streams:
                stream.wait_for('message')  # the cursor of the beginning
            proxy.hold(after=100_000)
            server.set_clock(due - 1_500)
            for stream in streams:
                stream.wait(lambda event: event.get('name') == 'eventReminder')
            wait_until(lambda: proxy.held() == len(streams), 'not all are held')

            # When the server is killed, and another one takes its place
            server.kill()
            had = [len(reminders(stream)) for stream in streams]
            proxy.switch(server)
            server.start()

            # Then each has all of it, once, in order
            for stream, before in zip(streams, had, strict=True):
                assert 0 < before < BATCH
                stream.wait_for_reminder(events[-1]['_id'], within=30)
                assert reminders(stream) == events


@pytest.mark.long
def test_a_stream_goes_on_at_another_server(tmp_path_factory: pytest.TempPathFactory, driver: Driver) -> None:
    one = ClockedServer(tmp_path_factory.mktemp('one'), CLOCK)
    two = ClockedServer(tmp_path_factory.mktemp('two'), CLOCK, DATABASE_URL=one.settings['DATABASE_URL'])
    with one.start(), two.start(), Proxy(one) as proxy:
        due = one.next_minute(margin=5)
        events = schedule_many(one.url, ['one'], due) + schedule_many(one.url, ['two'], due + MINUTE)
        streams = [listen(driver, kind, proxy.url) for kind in KINDS]
        with closing_all(*streams):
            for server in (one, two):
                server.set_clock(due - 1_500)
            for stream in streams:
                stream.wait_for_reminder(events[0]['_id'])
            # When its server is gone, and the other one has reminded all others meanwhile
            proxy.hold()
            for server in (one, two):
                server.set_clock(due + MINUTE - 1_500)
            one.wait_until(due + MINUTE + 500)
            one.kill()
            proxy.switch(two)
            # Then it gets there what it has not got
            for stream in streams:
                wait_until_back(stream)
                stream.wait_for_reminder(events[1]['_id'])
            time.sleep(SETTLE)
            assert [reminders(stream) for stream in streams] == [events] * len(streams)


# -- one request ------------------------------------------------------------------------------------------------


@dataclass
class Past:
    """A server, and what it has reminded of: three events, a minute apart."""

    server: ClockedServer
    due: int
    events: list[dict[str, str]]
    offsets: list[str]
    """After each of them."""


@pytest.fixture(scope='module')
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with ClockedServer(tmp_path_factory.mktemp('past'), CLOCK, PING_INTERVAL='0.3', PING_TIMEOUT='0.5') as server:
        server.start()
        due = server.next_minute(margin=5)
        events = [schedule_many(server.url, [str(number)], due + number * MINUTE)[0] for number in range(3)]
        stream = Stream(stream_url(server.url), {})
        offsets = []
        for number in range(3):
            server.set_clock(due + number * MINUTE - 1_000)
            while (got := stream.read_event())[0] != 'eventReminder':
                continue
            assert json.loads(got[1]) == events[number]
            offsets.append(stream.id)
        stream.close()
        yield Past(server, due, events, offsets)


def replay(past: Past, last: str | None = None, **query: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """What a stream begins with, up to `replayed`, and that."""
    stream = Stream(stream_url(past.server.url, **query), {} if last is None else {'Last-Event-ID': last})
    assert stream.status == 200
    events: list[dict[str, str]] = []
    while True:
        name, data = stream.read_event()
        if name == 'replayed':
            stream.close()
            return events, json.loads(data)
        if name == 'eventReminder':
            events.append(json.loads(data))


def test_the_answer_is_a_stream_that_nobody_keeps_or_holds_back(past: Past) -> None:
    stream = Stream(stream_url(past.server.url), {'Origin': past.server.url})
    assert stream.status == 200
    assert stream.headers['content-type'] == 'text/event-stream'
    assert stream.headers['cache-control'] == 'no-store'
    assert stream.headers['connection'] == 'close'
    assert stream.headers['x-accel-buffering'] == 'no'
    assert not {'content-length', 'transfer-encoding'} & stream.headers.keys()
    name, _, delay = stream.read_line().partition(': ')
    assert name == 'retry' and 1_000 <= int(delay) < 3_000
    stream.close()


SINCE: dict[str, Callable[[Past], tuple[dict[str, str], int]]] = {
    'an offset': lambda past: ({'since': past.offsets[0]}, 1),
    'the _id of a reminder': lambda past: ({'since': past.events[1]['_id']}, 2),
    'a time': lambda past: ({'since': past.events[1]['time']}, 1),
    'a Last-Event-ID': lambda past: ({'last': past.offsets[1]}, 2),
    'a Last-Event-ID and since': lambda past: ({'last': past.offsets[1], 'since': past.offsets[0]}, 2),
    'a Last-Event-ID that is none, and since': lambda past: ({'last': '7', 'since': past.offsets[0]}, 1),
}


@pytest.mark.parametrize('what', SINCE)
def test_a_stream_begins_where_its_client_left_off(past: Past, what: str) -> None:
    said, first = SINCE[what](past)
    assert replay(past, **said) == (past.events[first:], {'count': 3 - first, 'complete': True})


def test_what_lies_before_the_log_is_missing(past: Past) -> None:
    assert replay(past, since='2026-01-01T00:00:00Z') == (past.events, {'count': 3, 'complete': False})


@pytest.mark.parametrize('last', [None, 'no offset', '7'])
def test_who_knows_no_place_begins_at_the_end(past: Past, last: str | None) -> None:
    stream = Stream(stream_url(past.server.url), {} if last is None else {'Last-Event-ID': last})
    assert stream.read_event() == ('cursor', json.dumps(stream.id))
    stream.close()
    assert replay(past, last=stream.id) == ([], {'count': 0, 'complete': True})


def test_in_silence_there_are_comments(past: Past) -> None:
    stream = Stream(stream_url(past.server.url), {})
    stream.read_event()
    begin = time.monotonic()
    assert [stream.read_line() for _ in range(6)] == [':', ''] * 3
    assert 0.5 < time.monotonic() - begin < 3
    stream.close()


def test_head_is_get_without_the_stream(past: Past) -> None:
    answer = requests.head(stream_url(past.server.url), timeout=5)
    assert (answer.status_code, answer.headers['Content-Type']) == (200, 'text/event-stream')
    assert answer.text == ''
    assert requests.head(stream_url(past.server.url, since='x'), timeout=5).status_code == 400


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'PATCH'])
def test_other_methods_are_not_allowed(past: Past, method: str) -> None:
    assert requests.request(method, stream_url(past.server.url), timeout=5).status_code == 405


@pytest.mark.parametrize(
    'query',
    [
        {'since': ''},
        {'since': 'yesterday'},
        {'since': '2026-03-01T10:00:00'},
        {'since': '7' * 10_000},
        {'channels': 'a b'},
        {'channels': ','},
        {'channels': 'ä'},
        {'channels': 'x' * 129},
        {'channels': ','.join(map(str, range(101)))},
    ],
    ids=lambda query: str(query)[:40],
)
def test_parameters_that_are_none_are_refused(past: Past, query: dict[str, str]) -> None:
    answer = requests.get(stream_url(past.server.url, **query), timeout=5)
    if len(str(query)) > 8_192:  # longer than a request may be
        assert answer.status_code == 414
        return
    assert answer.status_code == 400
    assert answer.headers['Content-Type'].startswith('application/json')
    envelope = answer.json()
    assert envelope.keys() == {'status', 'error'} and envelope['status'] == 'failure'
    assert next(iter(query)).rstrip('s') in envelope['error']


def test_as_many_channels_as_a_client_may_have(past: Past) -> None:
    stream = Stream(stream_url(past.server.url, channels=','.join(map(str, range(100)))), {})
    assert stream.status == 200
    stream.close()


# -- tokens -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp('guarded'), AUTH_SECRET=SECRET, AUTH_AUDIENCE=AUDIENCE, AUTH_ISSUER=ISSUER
    ) as server:
        yield server.start()


def now() -> int:
    return int(time.time() * 1000)


@pytest.mark.parametrize(
    'headers',
    [{}, {'Authorization': 'Bearer nonsense'}, {'Authorization': 'Basic YTpi'}, {'Authorization': 'Bearer'}],
    ids=str,
)
def test_without_a_good_token_there_is_no_stream(guarded: Server, headers: dict[str, str]) -> None:
    answer = requests.get(stream_url(guarded.url), headers=headers, timeout=5)
    assert answer.status_code == 401
    assert answer.headers['WWW-Authenticate'].startswith('Bearer')
    assert answer.json()['error'].startswith('token is ')


def test_who_may_not_listen_gets_no_stream(guarded: Server) -> None:
    headers = {'Authorization': f'Bearer {token(now(), scope="schedule manage")}'}
    answer = requests.get(stream_url(guarded.url), headers=headers, timeout=5)
    assert (answer.status_code, answer.json()['status']) == (403, 'failure')


@pytest.mark.parametrize(('channels', 'status'), [('a', 200), ('a,b', 403)])
def test_channels_are_those_of_the_token(guarded: Server, channels: str, status: int) -> None:
    headers = {'Authorization': f'Bearer {token(now(), channels=["a"])}'}
    stream = Stream(stream_url(guarded.url, channels=channels), headers)
    assert stream.status == status
    stream.close()


@pytest.mark.parametrize('kind', KINDS)
def test_a_stream_ends_with_its_token(guarded: Server, driver: Driver, kind: str) -> None:
    """And its client, which comes back by itself, is told why and gives up."""
    client = listen(driver, kind, guarded.url, token=token(now(), exp=now() // 1000 + 2))
    with closing_all(client):
        client.wait_for('disconnect', within=6)
        assert client.wait_for('refused')['status'] == 401


# -- when there is no stream to be had --------------------------------------------------------------------------


def test_a_full_server_says_when_to_come_back_and_keeps_no_more_than_it_can(tmp_path: Path) -> None:
    with Server(tmp_path, MAX_CONNECTIONS='3').start() as server:
        url = stream_url(server.url)
        held = [Stream(url, {}) for _ in range(2)]
        held_too = SocketIO(server.url)
        # Given a server that has as many clients as it may, streams and others / Then one more is refused
        answer = requests.get(url, timeout=5)
        assert (answer.status_code, answer.json()['status']) == (503, 'failure')
        assert int(answer.headers['Retry-After']) > 0
        assert requests.head(url, timeout=5).status_code == 503
        with pytest.raises(Exception, match='503'):
            SocketIO(server.url)
        # And an EventSource, which would give up for good, gets a stream which is over, and says when to come back
        put_off = requests.get(url, headers={'Accept': 'text/event-stream'}, timeout=5)
        assert (put_off.status_code, put_off.headers['Content-Type']) == (200, 'text/event-stream')
        name, _, delay = put_off.text.strip().partition(': ')
        assert name == 'retry' and int(delay) >= 5_000
        # When one ends / Then there is room
        held.pop().close()
        wait_until(lambda: requests.head(url, timeout=5).status_code == 200, 'no room was given back')
        held_too.close()
        for stream in held:
            stream.close()


def test_a_server_that_stops_ends_its_streams_and_they_come_back(tmp_path: Path, driver: Driver) -> None:
    """Its streams end when it does not listen any more, or an EventSource would be refused, for good."""
    with Server(tmp_path) as server:
        server.start()
        streams = [listen(driver, kind, server.url) for kind in KINDS for _ in range(5)]
        with closing_all(*streams):
            for stream in streams:
                stream.wait_for('message')
            code, seconds = server.terminate()
            assert code == 0
            assert seconds < 5
            for stream in streams:
                stream.wait_for('disconnect')
            server.start()
            for stream in streams:
                wait_until_back(stream)
                replayed = stream.wait(lambda event: event.get('name') == 'replayed')
                assert replayed['args'] == [{'count': 0, 'complete': True}]
    assert 'Traceback' not in server.log(), server.log()


def test_nothing_is_left_of_streams_however_they_end(tmp_path: Path) -> None:
    settings = {'PING_INTERVAL': '0.3', 'PING_TIMEOUT': '0.3', 'RECOVERY_WINDOW': '0'}
    with Fortress(tmp_path, **settings) as server:
        server.start()
        url = stream_url(server.url)
        requests.get(server.url + '/healthz', timeout=5)
        files, census = server.files(), server.census()
        # Given streams, none of which has a greenlet
        streams = [Stream(url, {}) for _ in range(40)]
        during = server.census()
        assert during['Stream'] == 40
        assert during['Handler'] == census['Handler']
        assert during['greenlet'] <= census['greenlet'] + 2
        # When they end, in one way or another
        for number, stream in enumerate(streams):
            if number % 4 == 0:
                stream.socket.shutdown(socket.SHUT_WR)
            elif number % 4 == 1:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                stream.close()
            elif number % 4 == 2:
                stream.socket.sendall(b'GET / HTTP/1.1\r\n\r\n' * 1_000)
                stream.close()
            else:
                stream.close()
        # Then nothing is left of them
        wait_until(lambda: server.census()['Stream'] == 0, 'streams are left')
        wait_until(lambda: server.files() <= files, 'descriptors are left')
        wait_until(lambda: server.census()['greenlet'] <= census['greenlet'], 'greenlets are left')
        assert server.complaints() == []

"""The main job with the official clients: schedule, be answered, be reminded, over every transport."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytz

from tests.clients import KINDS, TRANSPORTS, Client, Clients, schedule_event
from tests.faults import ClockedServer
from tests.server import Server, wall

MATRIX = [(kind, transport) for kind in KINDS for transport in TRANSPORTS]


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    with ClockedServer(tmp_path_factory.mktemp('clients'), clock='2026-03-01 10:00:30') as server:
        yield server.start()


@dataclass
class Watched:
    """A client of the matrix, the event that it scheduled, and how late it was reminded."""

    client: Client
    event: dict[str, str]
    late: float = 0


@pytest.fixture(scope='module')
def minute(server: ClockedServer, request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Watched]]:
    """Every client of the matrix, connected to one server, after the minute for which each scheduled an event."""
    with Clients(lambda: request.getfixturevalue('driver')) as connect:
        clients = {pair: connect(server.url, *pair) for pair in MATRIX}
        due = server.next_minute()
        watched = {pair: Watched(client, client.schedule(f'by {pair}', wall(due))) for pair, client in clients.items()}
        server.set_clock(due - 1_000)
        server.wait_until(due)
        for one in watched.values():
            one.client.wait_for_reminder(one.event['_id'])
            one.late = (server.now() - due) / 1000
        yield watched


@pytest.mark.parametrize('pair', MATRIX, ids='-'.join)
class TestTheMinute:
    def test_the_reminder_is_exactly_the_acked_object_and_nothing_else(
        self, minute: dict[tuple[str, str], Watched], pair: tuple[str, str]
    ) -> None:
        one = minute[pair]
        assert set(one.event) == {'name', 'time', '_id'}
        assert one.client.reminders(one.event['_id']) == [[one.event]]

    def test_every_connected_client_is_reminded_of_every_event_once(
        self, minute: dict[tuple[str, str], Watched], pair: tuple[str, str]
    ) -> None:
        client = minute[pair].client
        for other in minute.values():
            client.wait_for_reminder(other.event['_id'])
            assert client.reminders(other.event['_id']) == [[other.event]]

    def test_it_arrives_when_the_minute_begins(
        self, minute: dict[tuple[str, str], Watched], pair: tuple[str, str]
    ) -> None:
        assert -0.05 < minute[pair].late < 2

    def test_it_arrives_over_the_transport_that_was_asked_for(
        self, minute: dict[tuple[str, str], Watched], pair: tuple[str, str]
    ) -> None:
        kind, transport = pair
        client = minute[pair].client
        connected = client.wait_for('connect')['transport']
        upgrades = [event['transport'] for event in client.events if event['event'] == 'upgrade']
        if transport != 'upgrade':
            assert (connected, upgrades) == (transport, [])
        elif kind == 'python':
            assert connected == 'websocket'
        else:
            assert upgrades == ['websocket']

    def test_the_connection_holds(self, minute: dict[tuple[str, str], Watched], pair: tuple[str, str]) -> None:
        events = [event['event'] for event in minute[pair].client.events]
        assert 'disconnect' not in events and 'connect_error' not in events


@pytest.mark.parametrize('pair', MATRIX, ids='-'.join)
def test_the_list_of_all_time_zones_arrives_whole(server: Server, connect: Clients, pair: tuple[str, str]) -> None:
    answer = connect(server.url, *pair).command({'command': 'getAllTimeZones'})
    assert answer == {'status': 'success', 'response': sorted(pytz.all_timezones)}


@pytest.mark.parametrize('pair', MATRIX, ids='-'.join)
def test_500_commands_at_once_on_one_connection_are_all_answered(
    server: Server, connect: Clients, pair: tuple[str, str]
) -> None:
    client = connect(server.url, *pair)
    names = [f'{number} of {pair}' for number in range(500)]
    asked = [client.ask('command', schedule_event(name, '2030-01-01 00:00')) for name in names]
    answers: list[Any] = [client.answer(ack, within=30) for ack in asked]
    assert [answer['status'] for answer in answers] == ['success'] * 500
    assert [answer['response']['name'] for answer in answers] == names
    assert len({answer['response']['_id'] for answer in answers}) == 500


@pytest.mark.parametrize('pair', MATRIX, ids='-'.join)
def test_the_longest_name_goes_both_ways(server: Server, connect: Clients, pair: tuple[str, str]) -> None:
    name = '🦉' * 1_000
    assert connect(server.url, *pair).schedule(name, '2030-01-01 00:00')['name'] == name


@pytest.mark.parametrize('pair', [pair for pair in MATRIX if pair[0] != 'python'], ids='-'.join)
def test_what_is_asked_for_right_before_leaving_is_done(
    server: Server, connect: Clients, pair: tuple[str, str]
) -> None:
    """Whoever needs no answer asks, and is gone. (The Python client closes before it has sent what it was given.)"""
    names = {f'{number} of {pair}' for number in range(20)}
    for name in names:
        client = connect(server.url, *pair)
        client.emit('command', schedule_event(name, '2031-01-01 00:00'))
        client.close()
    rest, deadline = connect(server.url), time.monotonic() + 10
    page = {'from': '2031-01-01T00:00:00Z', 'to': '2031-01-01T00:01:00Z', 'limit': 1_000}
    while True:
        answer = rest.command({'command': 'listEvents', 'data': page})
        if names <= {event['name'] for event in answer['response']['events']}:
            break
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)

"""The door of event streams, on a log in memory: who gets one, and what others are told."""

from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from reminder.config import Config
from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, Place
from reminder.services.log import Start
from reminder.services.origins import Origins
from reminder.services.tokens import Tokens
from reminder.web import Web
from reminder.web.stream import PATH, routes
from tests.memory import BASE
from tests.services import Services
from tests.tokens import SECRET, token

ASKED = {'Accept': 'text/event-stream'}
"""What an EventSource says."""


class Streams:
    """Notes what it is asked to open."""

    def __init__(self) -> None:
        self.room = True
        self.opened: list[tuple[Start, frozenset[str], int | None]] = []

    def has_room(self, environ: dict[str, Any]) -> bool:
        return self.room

    def open(self, environ: dict[str, Any], start: Start, channels: frozenset[str], expires: int | None) -> None:
        self.opened.append((start, channels, expires))


class Door:
    def __init__(self, services: Services, **settings: str) -> None:
        self.services = services
        self.streams = Streams()
        tokens = Tokens(Config.from_env(settings))
        self._client = Client(
            Web(routes(services.log, tokens, self.streams, Origins(['https://friend.example']), lambda: services.now))
        )

    def get(self, query: str = '', method: str = 'GET', **headers: str) -> TestResponse:
        return self._client.open(PATH + query, method=method, headers=headers)


@pytest.fixture
def door() -> Door:
    door = Door(Services())
    door.services.pass_to(BASE)
    return door


def test_one_who_knows_no_place_begins_at_the_end(door: Door) -> None:
    answer = door.get('?channels=b,a')
    assert (answer.status_code, answer.mimetype) == (200, 'text/event-stream')
    assert answer.text.startswith('retry: ')
    assert door.streams.opened == [(Start(), frozenset('ab'), None)]


def test_one_who_knows_a_place_begins_there(door: Door) -> None:
    door.get(**{'Last-Event-ID': (offset := door.services.join().offset)})
    door.services.add(1, 2, time=BASE + MINUTE)
    door.services.pass_to(BASE + MINUTE)
    door.get(**{'Last-Event-ID': offset})
    places = [start.place for start, *_ in door.streams.opened]
    assert places == [Place.after(BASE)] * 2


def test_head_opens_nothing(door: Door) -> None:
    answer = door.get(method='HEAD')
    assert (answer.status_code, answer.data, 'Content-Length' in answer.headers) == (200, b'', False)
    assert door.streams.opened == []


def test_a_token_says_until_when(door: Door) -> None:
    guarded = Door(door.services, AUTH_SECRET=SECRET)
    guarded.get(Authorization=f'Bearer {token(BASE, aud=None)}')
    ((_, _, expires),) = guarded.streams.opened
    assert expires == BASE // 1000 * 1000 + 3_600_000


@pytest.mark.parametrize('method', ['GET', 'OPTIONS'])
def test_pages_of_other_origins_are_let_in_where_they_are_named(door: Door, method: str) -> None:
    answer = door.get(method=method, Origin='https://friend.example', Host='here.example')
    assert answer.status_code == {'GET': 200, 'OPTIONS': 204}[method]
    assert answer.headers['Access-Control-Allow-Origin'] == 'https://friend.example'
    assert 'Origin' in answer.headers['Vary']
    assert len(door.streams.opened) == (method == 'GET')


@pytest.mark.parametrize('method', ['GET', 'OPTIONS'])
def test_pages_of_all_others_are_not(door: Door, method: str) -> None:
    answer = door.get(method=method, Origin='https://stranger.example', Host='here.example')
    assert (answer.status_code, 'Access-Control-Allow-Origin' in answer.headers) == (403, False)
    assert door.streams.opened == []


def test_what_browsers_ask_before_they_send_a_token_is_answered_without_one(door: Door) -> None:
    guarded = Door(door.services, AUTH_SECRET=SECRET)
    asked = {'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization'}
    answer = guarded.get(method='OPTIONS', Origin='https://friend.example', Host='here.example', **asked)
    assert answer.status_code == 204
    assert answer.headers['Access-Control-Allow-Headers'] == 'authorization'
    assert answer.headers['Access-Control-Allow-Methods'] == 'GET'


def not_open(door: Door) -> None:
    door.services.log.record = None


def away(door: Door) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable('away')

    door.services.log.resume = fail  # type: ignore[method-assign,assignment]


def full(door: Door) -> None:
    door.streams.room = False


@pytest.mark.parametrize('why', [not_open, away, full])
def test_what_cannot_be_had_now_is_told_and_an_event_source_is_put_off(door: Door, why: Any) -> None:
    why(door)
    query = '?since=2026-03-01T00:00:00Z'
    answer = door.get(query)
    assert (answer.status_code, answer.json['status']) == (503, 'failure')  # type: ignore[index]
    assert int(answer.headers['Retry-After']) > 0
    put_off = door.get(query, **ASKED)
    assert (put_off.status_code, put_off.mimetype) == (200, 'text/event-stream')
    name, _, delay = put_off.text.partition(': ')
    assert name == 'retry' and int(delay) >= 5_000
    assert put_off.headers['Content-Length'] == str(len(put_off.data))
    assert door.streams.opened == []


@pytest.mark.parametrize('query', ['?since=x', '?channels=a,,b'])
@pytest.mark.parametrize('why', [not_open, full, lambda door: None])
def test_what_will_not_be_better_the_next_time_is_refused_whatever_else(door: Door, why: Any, query: str) -> None:
    why(door)
    assert door.get(query, **ASKED).status_code == 400

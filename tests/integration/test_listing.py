"""Lists page by page: in order and complete, however much there is, and while events come, change and go."""

import random
import sqlite3
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import listing
import pytest

from reminder.models.event import MINUTE
from reminder.models.sqlite import SqliteStore
from tests.faults import ClockedServer
from tests.integration.test_commands import NOW, Server, at, other, run, server, servers
from tests.wire import SocketIO

__all__ = ['other', 'server', 'servers']  # fixtures

MANY = 3_000


def pages(server: Server, command: str, field: str, **data: Any) -> list[dict[str, Any]]:
    """All that a list has, asked for page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = server.ask(command, **data)
        assert len(page[field]) <= data['limit']
        found += page[field]
        if page['next'] is None:
            return found
        data['after'] = page['next']


def places(events: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event['time'], event['_id']) for event in events]


class TestEvents:
    def test_all_of_them_are_listed_once_in_order(self, tmp_path: Path) -> None:
        with closing(SqliteStore(f'sqlite:///{tmp_path / "events.db"}', run)) as store:
            server = Server(store)
            fill(tmp_path / 'events.db', MANY)
            for limit, channel, count in ((1_000, None, MANY), (77, None, MANY), (100, 'a', MANY // 3 * 2)):
                found = pages(server, 'listEvents', 'events', limit=limit, channel=channel)
                assert len(found) == count
                assert places(found) == sorted(set(places(found)))
                assert {event.get('channel') for event in found} == ({None, 'a'} if channel else {None, 'a', 'b'})

    def test_what_stays_is_listed_once_while_others_come_and_go(self, server: Server, other: Server) -> None:
        random.seed(9)
        stays = {server.schedule(minutes=random.randint(5, 20), eventName='stays')['_id'] for _ in range(25)}
        goes = [server.schedule(minutes=random.randint(5, 20), eventName='goes')['_id'] for _ in range(10)]
        found: list[dict[str, Any]] = []
        data: dict[str, Any] = {'limit': 4}
        while True:
            page = other.ask('listEvents', **data)
            found += page['events']
            if page['next'] is None:
                break
            data['after'] = page['next']
            # Between two pages one is cancelled or moved to the end, and one comes.
            if goes:
                if len(goes) % 2:
                    server.ask('updateEvent', _id=goes.pop(), time=at(30))
                else:
                    server.ask('cancelEvent', _id=goes.pop())
            server.schedule(minutes=random.randint(5, 20), eventName='comes')
        assert [event['time'] for event in found] == sorted(event['time'] for event in found)
        listed = [event['_id'] for event in found if event['name'] == 'stays']
        assert len(listed) == len(stays) and set(listed) == stays


class TestTheScript:
    """`scripts/listing.py`, which lists more than tests have the time for."""

    OPTIONS = Namespace(events=1_000, limit=10, channel=None)

    @pytest.fixture(scope='class')
    @classmethod
    def listed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
        """A server that looks often for who is gone, with as many events as are asked for."""
        server = ClockedServer(
            tmp_path_factory.mktemp('listing'), listing.CLOCK, PING_INTERVAL='0.2', PING_TIMEOUT='1.5'
        )
        server.start().terminate()
        listing.fill(server.folder / 'events.db', server.now(), cls.OPTIONS.events)
        with server.start():
            yield server

    @pytest.fixture
    def client(self, listed: ClockedServer) -> Iterator[SocketIO]:
        with closing(SocketIO(listed.url)) as client:
            yield client

    def test_it_stays_connected_however_long_it_takes(self, client: SocketIO) -> None:
        for _ in range(25):
            assert listing.ask(client, 'listEvents', {'limit': 1})
            time.sleep(0.1)

    @pytest.mark.parametrize(('fast', 'steady', 'code'), [(1_000, 2**30, 0), (0, 2**30, 1), (1_000, -(2**30), 1)])
    def test_it_fails_where_what_it_shows_is_not_so(
        self,
        listed: ClockedServer,
        client: SocketIO,
        monkeypatch: pytest.MonkeyPatch,
        fast: float,
        steady: int,
        code: int,
    ) -> None:
        monkeypatch.setattr(listing, 'FAST', fast)
        monkeypatch.setattr(listing, 'STEADY', steady)
        assert listing.show(listed, client, self.OPTIONS) == code


def fill(path: Path, count: int) -> None:
    """Puts events into a store's file, ten of a minute, a third each of the channels `a`, `b` and none."""
    rows = (
        (NOW + (1 + number % (count // 10)) * MINUTE, f'{number:024x}', str(number), (None, 'a', 'b')[number % 3])
        for number in range(count)
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany('INSERT INTO events (time, id, name, channel) VALUES (?, ?, ?, ?)', rows)

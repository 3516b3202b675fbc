"""The profile "scale" of docker/compose.yaml without containers: clients of every kind, HAProxy, three servers, one
MongoDB. Servers are killed and replaced under their clients, and nothing is lost.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from websocket import WebSocketException

from tests.clients import Client, Clients, Driver, schedule_event
from tests.faults import ClockedServer, Pipeline, Reminder, in_order, mongodb_for, reminders, schedule_many
from tests.haproxy import Haproxy
from tests.mongodb import Ferret
from tests.server import Server, wall
from tests.streams import closing_all, listen
from tests.wire import TIMEOUT, Polling, engine_url

pytestmark = pytest.mark.long

CLOCK = '2026-03-01 10:00:00'
KINDS = ['js-4.8', 'js-3.1', 'python']
TRANSPORTS = ['polling', 'upgrade']
EVENTS = 300


@dataclass
class Cluster:
    """What the profile "scale" has."""

    servers: list[ClockedServer]
    database: Ferret
    proxy: Haproxy

    def come_to(self, instant: int) -> None:
        """Sets all clocks to `instant` (ms, UTC). The database is away for that moment."""
        self.database.stop()
        for server in self.servers:
            server.set_clock(instant)
        self.database.start(self.servers[0].ahead)

    def clients(self) -> list[int]:
        """How many clients each server has."""
        return [_status(server)['clients'] - 1 for server in self.servers]


def _status(server: Server) -> dict[str, Any]:
    with Pipeline(server.url) as pipeline:
        pipeline.ask({'command': 'getStatus'})
        pipeline.read_answers()
        response: dict[str, Any] = pipeline.answers[0]['response']
        return response


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folders = [tmp_path_factory.mktemp(name) for name in ('1', '2', '3', 'database', 'proxy')]
    settings = {'TRUSTED_PROXIES': '1', 'COMMAND_RATE_LIMIT': '0'}
    servers = [ClockedServer(folder, CLOCK, **settings) for folder in folders[:3]]
    with mongodb_for(servers, folders[3]) as database, ExitStack() as running:
        for server in servers:
            running.enter_context(server.start(ready=None))
        for server in servers:
            server.wait_for('/readyz', 200)
        yield Cluster(servers, database, running.enter_context(Haproxy(folders[4], servers)))


@pytest.fixture
def clients(cluster: Cluster, connect: Clients, driver: Driver) -> Iterator[list[Client]]:
    """Two clients of each kind over each transport. All can resume: 4.8 by itself, Python with its last cursor, and 3.1
    from the beginning on, as it says the same each time. And an event stream of each kind."""

    def python(transport: str) -> Client:
        client: Client | None = None

        def place() -> dict[str, Any]:
            cursors = client.messages('cursor') if client else []
            return {'since': cursors[-1][0]} if cursors else {}

        client = connect(cluster.proxy.url, 'python', transport, auth=place)
        return client

    begin = datetime.fromtimestamp(cluster.servers[0].now() / 1000, UTC).isoformat()
    clients = []
    for transport in TRANSPORTS * 2:
        clients.append(connect(cluster.proxy.url, 'js-4.8', transport))
        clients.append(connect(cluster.proxy.url, 'js-3.1', transport, auth={'since': begin}))
        clients.append(python(transport))
    streams = [listen(driver, kind, cluster.proxy.url) for kind in ('js', 'python')]
    with closing_all(*streams):
        yield [*clients, *streams]


def reconnects(client: Client) -> int:
    """How often the client has come back."""
    return len([event for event in client.events if event['event'] == 'connect']) - 1


def test_a_server_that_is_killed_at_a_due_minute_costs_no_client_a_reminder(
    cluster: Cluster, clients: list[Client]
) -> None:
    # Given clients of each kind, spread over all servers, and events that came through the proxy
    spread = cluster.clients()
    due = cluster.servers[0].next_minute(margin=15)
    events = schedule_many(cluster.proxy.url, [f'{number:03}' for number in range(EVENTS)], due)

    # When a server is killed while the minute is closed and not written yet
    dies, *live = cluster.servers
    cluster.come_to(due - 1_500)
    dies.wait_until(due - 100)
    dies.kill()

    # Then each client has all of it, from whichever server it came to
    for client in clients:
        client.wait_for_reminder(events[-1]['_id'])
    time.sleep(1)
    print(f'clients of each server: {spread}; came back: {sum(map(reconnects, clients))}')
    assert min(spread) >= len(clients) // 4
    assert sum(reconnects(client) > 0 for client in clients) == spread[0]
    for client in clients:
        received = reminders(client)
        assert in_order({event['_id']: event for event in received}.values()) == events
        assert reconnects(client) or received == events, (
            'a reminder came twice to a client that was connected all along'
        )

    # Then it goes on, with a minute that is as any other, for those that came back as well
    later = due + 60_000
    event = schedule_many(cluster.proxy.url, ['later'], later)[0]
    cluster.database.stop()
    for server in live:
        server.set_clock(later - 1_500)
    cluster.database.start(live[0].ahead)
    for client in clients:
        client.wait_for_reminder(event['_id'])
        assert len(client.reminders(event['_id'])) == 1


@dataclass
class Worker:
    """Schedules events through the proxy, one after the other, and asks again with the same key where no answer came.

    Beside it somebody new comes to the proxy all the time, and must be let in.
    """

    url: str
    due: int
    acked: list[Reminder] = field(default_factory=list)
    asked_again: int = 0
    visits: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._schedule, self._visit)]
        for thread in self._threads:
            thread.start()

    def end(self, acked: int) -> None:
        """Ends when more than that are acked."""
        deadline = time.monotonic() + 20
        while len(self.acked) <= acked:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _schedule(self) -> None:
        pipeline = None
        for number in count():
            if self._stop.is_set():
                break
            message = schedule_event(f'{number:05}', wall(self.due))
            message['data']['key'] = f'{number:05}'
            asked = None
            while asked is None:
                try:
                    pipeline = pipeline or Pipeline(self.url)
                    asked = pipeline.ask(message)
                    pipeline.read_answers()
                except (OSError, WebSocketException, AssertionError):  # the last: a CLOSE in place of an answer
                    pipeline = asked = None
                    self.asked_again += 1
            assert pipeline is not None
            answer = pipeline.answered[asked]
            assert answer['status'] == 'success', answer
            self.acked.append(answer['response'])
            self._stop.wait(0.005)

    def _visit(self) -> None:
        address = engine_url(self.url, EIO='4', transport='polling')
        while not self._stop.wait(0.02):
            for visited in (address, f'{self.url}/healthz'):
                self.visits[requests.get(visited, timeout=TIMEOUT).status_code] += 1


def test_a_rolling_restart_under_load_has_no_gap(cluster: Cluster, clients: list[Client]) -> None:
    # Given clients of each kind, and a load through the proxy
    due = cluster.servers[0].next_minute(margin=60)
    worker = Worker(cluster.proxy.url, due)

    # When one server after the other is told to end, and replaced once it has
    for server in cluster.servers:
        before = len(worker.acked)
        code, seconds = server.terminate()
        assert (code, seconds < 5) == (0, True)
        server.start()
        cluster.proxy.wait_for_checks(len(cluster.servers))
        assert len(worker.acked) > before + 10
    worker.end(acked=200)

    # Then everybody who came meanwhile was let in
    print(f'{len(worker.acked)} acked, {worker.asked_again} asked again, visits by status: {dict(worker.visits)}')
    assert set(worker.visits) == {200}
    assert worker.visits[200] > 100

    # Then each client is reminded of all that was acked
    cluster.come_to(due - 1_500)
    events = in_order(worker.acked)
    assert len({event['_id'] for event in events}) == len(events) > 200
    for client in clients:
        client.wait_for_reminder(events[-1]['_id'])
        assert reconnects(client) >= 1
        received = {event['_id']: event for event in reminders(client)}
        assert in_order(received.values()) == events


def test_who_is_ready_decides_who_comes_not_who_stays(cluster: Cluster, connect: Clients, driver: Driver) -> None:
    # Given clients, of which those on long-polling ask again and again
    clients = [connect(cluster.proxy.url, transport=transport) for transport in TRANSPORTS for _ in range(3)]
    session = Polling(cluster.proxy.url)
    assert session.post('40').status_code == 200
    session.get()

    # When the database is away, then nobody new is let in, and all who are there stay
    cluster.database.stop()
    cluster.proxy.wait(ready=False, within=20)
    refused = requests.get(engine_url(cluster.proxy.url, EIO='4', transport='polling'), timeout=TIMEOUT)
    assert refused.status_code == 503
    assert session.post('42["nothing"]').status_code == 200

    # Then an event source, which no failure would let come back, waits
    stream = listen(driver, 'js', cluster.proxy.url)
    with closing_all(stream):
        stream.wait_for('disconnect')

        # When the database is back, so is everything
        cluster.database.start(cluster.servers[0].ahead)
        cluster.proxy.wait()
        for client in clients:
            assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'
            assert reconnects(client) == 0
        stream.wait(lambda event: event.get('name') == 'cursor')


def open_until_refused(url: str, forwarded: str, most: int) -> int:
    """How many sessions whoever writes that `X-Forwarded-For` gets, up to `most`."""
    address, headers = engine_url(url, EIO='4', transport='polling'), {'X-Forwarded-For': forwarded}
    for number in range(most):
        if requests.get(address, headers=headers, timeout=TIMEOUT).status_code != 200:
            return number
    return most


@pytest.mark.parametrize(('proxies', 'sessions'), [('1', 6), ('2', 3)])
def test_whose_share_it_is_is_told_by_the_proxies_not_by_clients(tmp_path: Path, proxies: str, sessions: int) -> None:
    """With one trusted proxy what a client writes counts for nothing: it comes from this machine, which has no share.
    With two, the client here is the outer one, and what it writes is whom it speaks for."""
    with (
        Server(tmp_path, TRUSTED_PROXIES=proxies, MAX_CONNECTIONS='12') as server,
        Haproxy(tmp_path, [server.start()]) as proxy,
    ):
        assert open_until_refused(proxy.url, '203.0.113.9', most=6) == sessions
        assert open_until_refused(proxy.url, '203.0.113.9, 203.0.113.77', most=6) == sessions


def test_the_proxy_keeps_figures_to_itself(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Haproxy(tmp_path, [server.start()]) as proxy:
        for path in ('/metrics', '/metrics?x', '/%6detrics'):
            answer = requests.get(proxy.url + path, timeout=TIMEOUT)
            assert (answer.status_code, answer.content) == (404, b''), 'a server would say more'


def test_who_is_refused_by_a_server_is_let_in_by_another(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One that is full says what one says that stops: 503."""
    one, other, folder = (tmp_path_factory.mktemp(name) for name in ('one', 'other', 'proxy'))
    with (
        Server(one, MAX_CONNECTIONS='1') as full,
        Server(other) as free,
        Haproxy(folder, [full.start(), free.start()]) as proxy,
        Pipeline(full.url),
    ):
        for _ in range(8):
            assert Polling(proxy.url).post('40').status_code == 200

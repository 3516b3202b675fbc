"""What a server tells Prometheus: each figure moves when what it stands for happens, and nothing else is told."""

import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from reminder.app import Application
from reminder.config import Config
from reminder.services.punctuality import BOUNDS
from reminder.websocket.outbox import FEW, MAX_UNREAD, most_waiting
from tests.clients import schedule_event
from tests.faults import ClockedServer, Pipeline, schedule_many
from tests.metrics import Metrics, scrape, scrape_until
from tests.server import MINUTE, Server, wall
from tests.streams import Stream, stream_url
from tests.tokens import AUDIENCE, ISSUER, SECRET, token
from tests.wire import Polling, SocketIO, WebSocket

CLOCK = '2026-03-01 10:00:20'
NAME = 'a private matter'
DUE = 3
"""Events of the minute that comes."""
RATE, ROOM = 30, 8
BURST = 12 * RATE
"""More commands than a client may be ahead of that rate."""
WINDOW = 1_000
"""More commands than may wait."""
GETTING = {'command': 'getAllTimeZones'}
OPENMETRICS = 'application/openmetrics-text; version=1.0.0'
parse_openmetrics: Callable[[str], Iterable[Metric]] = text_string_to_metric_families  # which has no types itself


@dataclass
class Story:
    """What a server exposed: at the start, with clients, after a minute, after a flood, and without its database."""

    start: Metrics
    connected: Metrics
    delivered: Metrics
    resumed: Metrics
    flooded: Metrics
    failed: Metrics
    openmetrics: str


@pytest.fixture(scope='module')
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp('metrics')
    server = ClockedServer(folder, CLOCK, COMMAND_RATE_LIMIT=str(RATE), MAX_CONNECTIONS=str(ROOM))
    with server.start():
        start = scrape(server.url)
        with SocketIO(server.url) as client, closing(Stream(stream_url(server.url), {})):
            polling = Polling(server.url)
            polling.post('40')
            polling.post(f'421{json.dumps(["command", GETTING])}')
            ask(client, {'command': NAME}, {'command': 'getStatus'})
            due = server.next_minute()
            schedule_many(server.url, [NAME] * DUE, due)
            connected = scrape_until(server.url, lambda found: found('reminder_bytes_queued') > 0)
            server.set_clock(due - 30_500)
            scrape_until(server.url, lambda found: 'reminder_pending_events' in found.names)
            server.set_clock(due - 1_500)
            delivered = scrape_until(server.url, lambda found: found('reminder_batch_lateness_seconds_count') > 0)
            polling.post('1')
        with SocketIO(server.url, f'40{json.dumps({"since": "2026-03-01T10:00:00Z"})}') as returned:
            while 'replayed' not in returned.read_message():
                pass
            resumed = scrape_until(server.url, lambda found: found.total('reminder_clients') == 1)
        flooded = flood(server)
        failed = without_database(server, folder, due + 60 * MINUTE)
        request = urllib.request.Request(f'{server.url}/metrics', headers={'Accept': OPENMETRICS})
        with urllib.request.urlopen(request) as response:
            openmetrics = response.read().decode()
        yield Story(start, connected, delivered, resumed, flooded, failed, openmetrics)
    assert 'Traceback' not in server.log(), server.log()


def ask(client: SocketIO, *messages: object) -> None:
    for message in messages:
        client.send(f'421{json.dumps(["command", message])}')
        assert client.read_message().startswith('431')


def flood(server: Server) -> Metrics:
    """Reaches limits: commands a second, commands ahead, clients in all, bytes of a POST."""
    with Pipeline(server.url) as pipeline:
        for _ in range(BURST + WINDOW):
            pipeline.ask({'command': 'getStatus'})
        pipeline.read_answers(until=WINDOW)
    with WebSocket(server.url) as stranger:
        stranger.send('9')
        stranger.close_code()
    clients = [Polling(server.url)]
    assert clients[0].post_bytes(b'4' * 1_000_001).status_code == 413
    with pytest.raises(AssertionError, match='Too many'):
        while len(clients) <= ROOM:
            clients.append(Polling(server.url))
    for client in clients:
        client.post('1')
    return scrape_until(server.url, lambda found: found.total('reminder_clients') == 0)


def without_database(server: Server, folder: Path, due: int) -> Metrics:
    """What is exposed after another program has kept the database for itself, and a command has failed by that."""
    with SocketIO(server.url) as client, closing(sqlite3.connect(folder / 'events.db', isolation_level=None)) as other:
        other.execute('BEGIN IMMEDIATE')
        ask(client, schedule_event('late', wall(due)))
        return scrape(server.url)


def test_clients_by_transport(story: Story) -> None:
    for transport in ('websocket', 'polling', 'stream'):
        assert story.connected('reminder_clients', transport=transport) == 1
    assert story.start.total('reminder_clients') == 0
    assert story.start('reminder_clients_limit') == ROOM


def test_a_client_that_does_not_take_its_answers_has_bytes_queued(story: Story) -> None:
    assert story.start('reminder_bytes_queued') == 0
    assert story.connected('reminder_bytes_queued') > 5_000
    assert story.connected('reminder_bytes_queued_limit') == 3 * 262_144 == most_waiting(3)


def test_the_bytes_that_may_wait_have_a_bound_for_all_together() -> None:
    assert most_waiting(0) == 0
    assert most_waiting(10_000) == MAX_UNREAD + 10_000 * FEW


def test_commands_by_door_name_and_outcome(story: Story) -> None:
    def count(command: str, outcome: str) -> float:
        return story.connected('reminder_commands_total', door='socket.io', command=command, outcome=outcome)

    assert count('getStatus', 'success') == 1
    assert count('scheduleEvent', 'success') == DUE
    assert count('unknown', 'failure') == 1
    assert story.connected('reminder_command_duration_seconds_count', command='scheduleEvent') == DUE
    assert 0 < story.connected('reminder_command_duration_seconds_sum', command='scheduleEvent') < 60


def test_lateness_of_a_batch_in_buckets_from_a_millisecond_to_a_minute(story: Story) -> None:
    family = story.delivered.families['reminder_batch_lateness_seconds']
    bounds = [sample.labels['le'] for sample in family.samples if sample.name.endswith('_bucket')]
    assert [float(bound) for bound in bounds] == [*(bound / 1000 for bound in BOUNDS), float('inf')]
    assert story.start('reminder_batch_lateness_seconds_count') == 0
    assert story.delivered('reminder_batch_lateness_seconds_count') == 1
    assert 0 <= story.delivered('reminder_batch_lateness_seconds_sum') < 5


def test_reminders_are_counted_for_each_client_that_got_them(story: Story) -> None:
    assert story.start('reminder_reminders_sent_total') == 0
    # One of the three does not poll, and gets them when it does.
    assert story.delivered('reminder_reminders_sent_total') == 2 * DUE
    assert story.resumed('reminder_reminders_sent_total') == 3 * DUE


def test_replays_and_their_size(story: Story) -> None:
    assert story.delivered('reminder_replay_reminders_count') == 0
    assert story.resumed('reminder_replay_reminders_count') == 1
    assert story.resumed('reminder_replay_reminders_sum') == DUE
    assert story.resumed('reminder_replays_incomplete_total') == 1  # the log began later than 10:00:00


def test_the_horizon_and_the_tick(story: Story) -> None:
    for horizon in ('closed', 'delivered'):
        assert 0 <= story.delivered('reminder_horizon_age_seconds', horizon=horizon) < 60
    assert 0 <= story.delivered('reminder_last_tick_age_seconds') < 5


def test_what_is_pending_is_counted_by_a_job(story: Story) -> None:
    assert 'reminder_pending_events' not in story.start.names
    assert story.delivered('reminder_pending_events') == DUE


def test_limits_that_are_reached(story: Story) -> None:
    for limit in ('rate', 'window', 'connections', 'body'):
        assert story.resumed('reminder_limit_hits_total', limit=limit) == 0, limit
        assert story.flooded('reminder_limit_hits_total', limit=limit) > 0, limit
    for limit in ('share', 'visitors', 'outbox', 'rules', 'lists', 'changes'):
        assert story.flooded('reminder_limit_hits_total', limit=limit) == 0, limit


def test_clients_that_are_gone_by_reason(story: Story) -> None:
    assert story.flooded('reminder_clients_dropped_total', reason='client disconnect') >= 2
    assert story.flooded('reminder_clients_dropped_total', reason='transport error') == 1
    assert story.flooded('reminder_clients_dropped_total', reason='transport close') >= 2
    assert story.start.total('reminder_clients_dropped_total') == 0


def test_a_database_that_does_not_answer(story: Story) -> None:
    assert story.flooded('reminder_database_up') == 1
    assert story.failed('reminder_database_up') == 0
    assert story.flooded('reminder_database_errors_total', operation='add') == 0
    assert story.failed('reminder_database_errors_total', operation='add') == 1
    labels = {'door': 'socket.io', 'command': 'scheduleEvent', 'outcome': 'unavailable'}
    assert story.failed('reminder_commands_total', **labels) == 1
    name = 'reminder_database_operation_duration_seconds'
    assert story.failed(f'{name}_sum', operation='add') > 3
    assert story.failed(f'{name}_count', operation='add') == DUE + 1


def test_what_is_running(story: Story) -> None:
    (build,) = story.start.families['reminder_build_info'].samples
    assert build.labels.keys() == {'version', 'python', 'database'}
    assert build.labels['database'] == 'sqlite'
    assert story.start('process_resident_memory_bytes') > 10_000_000
    assert story.failed('process_cpu_seconds_total') >= story.start('process_cpu_seconds_total') > 0


def test_names_that_clients_make_up_become_no_labels(story: Story) -> None:
    assert NAME not in story.failed.text + story.openmetrics
    assert '127.0.0.1' not in story.failed.text


def test_openmetrics_is_valid_and_tells_the_same(story: Story) -> None:
    families = {family.name: family for family in parse_openmetrics(story.openmetrics)}
    names = {sample.name for family in families.values() for sample in family.samples}
    assert names == story.failed.names
    assert all(family.documentation for family in families.values())


def test_all_metrics_are_documented(story: Story) -> None:
    text = (Path(__file__).parents[2] / 'docs' / 'alerts.rst').read_text().partition('\nMetrics\n')[2]
    table = text.partition('\nLog lines\n')[0].splitlines()
    documented = {line.strip(' *-`') for line in table if line.startswith('   * - ``')}
    exposed = {
        f'{family.name}_total' if family.type == 'counter' else family.name for family in story.failed.families.values()
    }
    assert {name for name in exposed if not name.startswith('process_')} == documented


@pytest.mark.parametrize(
    ('scope', 'status'), [(None, 401), ('listen schedule', 403), ('manage', 200), ('manage listen', 200)]
)
def test_a_server_that_asks_for_tokens_shows_them_to_who_may_manage(
    guarded: Server, scope: str | None, status: int
) -> None:
    given = token(int(time.time() * 1000), scope=scope, sub='nobody else') if scope else None
    try:
        assert 'nobody else' not in scrape(guarded.url, given).text
        found = 200
    except urllib.error.HTTPError as error:
        found = error.code
        assert (error.headers['WWW-Authenticate'] is not None) == (found == 401)
        assert b'reminder_' not in error.read()
    assert found == status


@pytest.fixture(scope='module')
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {'AUTH_SECRET': SECRET, 'AUTH_AUDIENCE': AUDIENCE, 'AUTH_ISSUER': ISSUER}
    with Server(tmp_path_factory.mktemp('guarded'), **settings) as server:
        yield server.start()


def test_servers_in_one_process_have_figures_of_their_own(tmp_path: Path) -> None:
    applications = []
    try:
        for name in 'ab':
            config = Config.from_env({'PORT': '0', 'DATABASE_URL': f'sqlite:///{tmp_path / name}.db'})
            applications.append(Application(config))
            applications[-1].start()
        urls = [f'http://127.0.0.1:{application.port}' for application in applications]
        with SocketIO(urls[0]):
            assert [scrape(url).total('reminder_clients') for url in urls] == [1, 0]
    finally:
        for application in applications:
            application.stop()

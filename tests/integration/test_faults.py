"""Databases that are away, full disks, wrong clocks, suspended processes: nothing is lost and nothing comes twice."""

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Client, Clients, schedule_event
from tests.faults import ClockedServer, Proxy, Reminder, mongodb_for, reminders, schedule_many, wait_until_back
from tests.server import MINUTE, Server, millis, wall
from tests.wire import SocketIO

CLOCK = '2026-03-01 10:00:20'
HOUR = 60 * MINUTE
SETTLE = 1.0
"""Seconds in which anything that comes twice would have come."""
KINDS = [('js-4.8', 'websocket'), ('js-4.8', 'polling'), ('js-3.1', 'websocket'), ('python', 'websocket')]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClockedServer]:
    with ClockedServer(tmp_path, CLOCK) as server:
        yield server.start()


@pytest.fixture
def clients(server: ClockedServer, connect: Clients) -> list[Client]:
    return [connect(server.url, *pair) for pair in KINDS]


def expect(clients: list[Client], events: list[Reminder], within: float = 15) -> None:
    """Each client has been reminded of just these events, in order, once each, when the last of them came."""
    for client in clients:
        client.wait(lambda event: event.get('args') == [events[-1]], within)
        assert reminders(client) == events


def expect_no_more(clients: list[Client], events: list[Reminder]) -> None:
    """As `expect`, and a moment later nothing else has come."""
    expect(clients, events)
    time.sleep(SETTLE)
    expect(clients, events)


def refusal(client: Client, due: int) -> tuple[str, float]:
    """The failure that the client is answered when it schedules an event for `due`, and how many seconds that took."""
    begin = time.monotonic()
    answer = client.command(schedule_event('refused', wall(due)))
    assert set(answer) == {'status', 'error'} and answer['status'] == 'failure', answer
    return answer['error'], time.monotonic() - begin


def status(client: Client) -> dict[str, Any]:
    """What the server says of the log."""
    answer = client.command({'command': 'getStatus'})
    assert answer['status'] == 'success', answer
    response: dict[str, Any] = answer['response']
    return response


UNAVAILABLE = 'the database is unavailable, so this may not have been done; please try again later'


# -- the database is away ---------------------------------------------------------------------------------------


def test_a_database_that_is_away_over_a_minute_costs_nothing(
    tmp_path_factory: pytest.TempPathFactory, connect: Clients
) -> None:
    # Given clients, and events of the next minute
    server = ClockedServer(tmp_path_factory.mktemp('server'), CLOCK)
    with mongodb_for([server], tmp_path_factory.mktemp('database')) as database, server.start():
        clients = [connect(server.url, *pair) for pair in KINDS]
        due = server.next_minute(margin=5)
        events = schedule_many(server.url, ['first', 'second'], due)

        # When the database is stopped before the minute
        database.stop()
        server.set_clock(due - 1_500)

        # Then commands fail within 5 s, in words, and the server says that it is not ready
        error, seconds = refusal(clients[0], due + HOUR)
        assert error == UNAVAILABLE and seconds < 5.5
        assert not_ready(server) == {'database': 'does not answer'}
        assert server.status('/healthz') == 200

        # When it comes back after the minute
        server.wait_until(due + 500)
        assert not any(map(reminders, clients))
        database.start(server.ahead)

        # Then everybody has everything soon after, once, and commands work
        expect(clients, events)
        server.wait_for('/readyz', 200)
        clients[0].schedule('later', wall(due + HOUR))

        # When it is away again
        database.stop()
        (offset,) = clients[0].messages('cursor')[0]

        # Then a herd of clients that come back to the recent minutes is served from memory
        herd = [connect(server.url, transport=one, auth={'since': offset}) for one in ('websocket', 'polling') * 10]
        expect(herd, events, within=5)
        for client in herd:
            client.wait(lambda event: event.get('name') == 'replayed')
        assert [client.messages('replayed') for client in herd] == [[[{'count': 2, 'complete': True}]]] * len(herd)
        expect_no_more([*clients, *herd], events)
        database.start(server.ahead)
        server.wait_for('/readyz', 200)


@pytest.mark.long
def test_a_machine_whose_clock_is_an_hour_ahead_of_the_databases_closes_nothing_early(
    tmp_path_factory: pytest.TempPathFactory, connect: Clients
) -> None:
    # Given a server on a database, with events in the next minutes
    server = Server(tmp_path_factory.mktemp('server'), '2026-03-01 10:00:50')
    with mongodb_for([server], tmp_path_factory.mktemp('database')), server.start():
        clients = [connect(server.url, *pair) for pair in KINDS]
        due = server.next_minute(margin=3)
        events = [clients[0].schedule('first', wall(due))]
        clients[0].schedule('second', wall(due + MINUTE))

        # When it starts again on a machine whose clock is wrong
        server.kill()
        begin = server.now()
        server.skip_to(begin + HOUR)
        server.start()
        for client in clients:
            wait_until_back(client)

        # Then the minutes come by the database's clock, and its operator is told
        assert not any(map(reminders, clients))
        server.wait_until(due + HOUR)
        expect_no_more(clients, events)
        assert re.search(r"going by the database's clock, which is -3(600|599)\.\d s from", server.log())

        # Then so it is for commands
        error, _ = refusal(clients[0], due)
        assert error == f"time='{wall(due)}' should be in future"
        clients[0].schedule('in time', wall(due + 2 * MINUTE))


def not_ready(server: Server) -> dict[str, str]:
    """What `/readyz` says is wrong."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f'{server.url}/readyz', timeout=10)
    with caught.value as error:
        assert error.code == 503
        answer: dict[str, Any] = json.load(error)
    assert answer.pop('ready') is False
    return answer


# -- the disk is full -------------------------------------------------------------------------------------------


@contextmanager
def volume(folder: Path, size: str) -> Iterator[Path]:
    """A small file system of its own."""
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder], capture_output=True)
    if mounted.returncode:
        pytest.skip('mounting is not permitted here')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '--lazy', folder], check=True)


def fill(volume: Path) -> Path:
    """Leaves no byte free."""
    ballast = volume / 'ballast'
    with ballast.open('wb', buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b'x' * size) == size:
                    pass
            except OSError:
                continue
    return ballast


def test_a_full_disk_over_a_minute_costs_nothing(
    server: ClockedServer, clients: list[Client], connect: Clients, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Given a server whose file lies on a small volume, and events of the next minute
    folder = tmp_path_factory.mktemp('volume')
    with volume(folder, '2m'):
        server.terminate()
        server.settings['DATABASE_URL'] = f'sqlite:///{folder / "events.db"}'
        server.start()
        for client in clients:
            wait_until_back(client)
        due = server.next_minute()
        events = schedule_many(server.url, ['first', 'second'], due)

        # When the disk becomes full before the minute
        ballast = fill(folder)
        messages = [clients[0].ask('command', schedule_event('x' * 1_000, wall(due + HOUR))) for _ in range(100)]
        answers = [clients[0].answer(message) for message in messages]
        server.set_clock(due - 1_500)

        # Then commands fail at once, in words, and after the minute the server says that it is not ready
        assert answers[-1] == {'status': 'failure', 'error': UNAVAILABLE}
        error, seconds = refusal(clients[0], due + HOUR)
        assert error == UNAVAILABLE and seconds < 5.5
        server.wait_for('/readyz', 503)
        server.wait_until(due + 1_500)
        assert not any(map(reminders, clients))
        assert 'database' in not_ready(server)

        # When there is room again
        ballast.unlink()

        # Then everybody has everything soon after, once, and commands work
        expect_no_more(clients, events)
        server.wait_for('/readyz', 200)
        clients[0].schedule('later', wall(due + HOUR))
        server.terminate()


# -- the clock --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_autumn_change_neither_holds_up_nor_repeats_anything(tmp_path: Path, connect: Clients) -> None:
    # Given a process in New York, just before clocks there are put back from 02:00 to 01:00, at 06:00 UTC
    with ClockedServer(tmp_path, '2026-11-01 05:58:40', TZ='America/New_York') as server:
        server.start()
        clients = [connect(server.url, *pair) for pair in KINDS]
        zone = 'America/New_York'
        dues = [millis(f'2026-11-01 {time}:00') for time in ('05:59', '06:00', '06:01', '07:01')]
        events = [clients[0].schedule(str(number), wall(due)) for number, due in enumerate(dues)]
        events.insert(0, clients[0].schedule('no second time', '2026-11-01 01:59', zone))
        events.append(clients[0].schedule('a normal time again', '2026-11-01 02:01', zone))

        # When the time passes, minute by minute around the change and an hour later
        for due in dues:
            server.set_clock(due - 1_500)
            server.wait_until(due + 100)
            # Then each minute's events come in their minute
            for event in events:
                if millis(event['time'][:19].replace('T', ' ')) == due:
                    for client in clients:
                        client.wait_for_reminder(event['_id'], within=2)

        # Then everybody has everything once
        assert events[0]['time'] == '2026-11-01T05:59:00.000Z' and events[-1]['time'] == '2026-11-01T07:01:00.000Z'
        expect_no_more(clients, sorted(events, key=lambda event: (event['time'], event['_id'])))


def test_a_clock_that_is_set_forward_brings_what_lies_between_at_once(
    server: ClockedServer, clients: list[Client]
) -> None:
    # Given events within the next hour, and one after it
    due = server.next_minute(margin=5)
    events = [clients[0].schedule(str(minutes), wall(due + minutes * MINUTE)) for minutes in (0, 1, 30, 58, 61)]

    # When the clock is set forward by an hour
    server.set_clock(server.now() + HOUR)

    # Then those that lie between come at once, in order, once
    expect(clients, events[:-1])

    # When the time of the last one comes
    server.set_clock(due + 61 * MINUTE - 1_500)

    # Then it comes, once
    expect_no_more(clients, events)


@pytest.mark.long
def test_a_clock_that_is_set_back_an_hour_loses_and_repeats_nothing(
    server: ClockedServer, clients: list[Client], connect: Clients
) -> None:
    with Proxy(server) as proxy:
        # Given clients that were reminded of an event, one of which has gone, and an event after the next hour
        away = connect(proxy.url)
        due = server.next_minute(margin=5)
        before = clients[0].schedule('before', wall(due))
        pending = clients[0].schedule('pending', wall(due + HOUR))
        server.set_clock(due - 500)
        expect([*clients, away], [before])
        proxy.hold()

        # When the clock is set back by an hour
        log = status(clients[0])['log']
        server.set_clock(server.now() - HOUR)
        deadline = time.monotonic() + 15
        while status(clients[0])['log'] == log:
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.05)
        assert 'reopening it' in server.log()

        # Then the server schedules and reminds by the new time
        again = due - HOUR + 2 * MINUTE
        (during,) = schedule_many(server.url, ['during'], again)
        server.set_clock(again - 1_500)
        expect(clients, [before, during])

        # Then a client that comes back with an offset of the old time gets what it missed
        proxy.switch(server)
        wait_until_back(away)
        expect([away], [before, during])

        # When all of that hour passes once more
        server.set_clock(due + 1_500)
        time.sleep(SETTLE)
        server.set_clock(due + HOUR - 1_500)

        # Then nothing of what came then comes again, and what was to come comes
        expect_no_more([*clients, away], [before, during, pending])


def test_a_clock_that_is_set_back_a_little_repeats_nothing(server: ClockedServer, clients: list[Client]) -> None:
    # Given an event that was delivered
    due = server.next_minute(margin=5)
    events = [clients[0].schedule('first', wall(due)), clients[0].schedule('second', wall(due + MINUTE))]
    server.set_clock(due - 500)
    expect(clients, events[:1])

    # When the clock is set back to before its minute
    server.set_clock(due - 2_000)

    # Then that minute stays closed, and does not come again
    error, _ = refusal(clients[0], due)
    assert error == f"time='{wall(due)}' should be in future"
    server.wait_until(due)
    server.set_clock(due + MINUTE - 1_500)
    expect_no_more(clients, events)


# -- a suspended machine ----------------------------------------------------------------------------------------


def test_a_server_that_is_suspended_for_minutes_loses_nothing(server: ClockedServer, clients: list[Client]) -> None:
    # Given events in several minutes
    due = server.next_minute(margin=5)
    events = [clients[0].schedule(str(minutes), wall(due + minutes * MINUTE)) for minutes in (0, 1, 4, 6)]

    # When the process is stopped before the first, and goes on five minutes later
    server.set_clock(due - 1_500)
    server.signal(signal.SIGSTOP)
    server.set_clock(due + 5 * MINUTE)
    time.sleep(0.5)
    server.signal(signal.SIGCONT)

    # Then what fell due meanwhile comes at once, in order, once
    expect(clients, events[:-1])

    # Then the next one comes in its minute
    server.set_clock(due + 6 * MINUTE - 1_500)
    expect_no_more(clients, events)


def test_a_server_that_is_suspended_in_the_midst_of_others_work_agrees_with_them_afterwards(
    server: ClockedServer, clients: list[Client], connect: Clients, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Given a second server on the same file
    url = server.settings['DATABASE_URL']
    with ClockedServer(tmp_path_factory.mktemp('other'), CLOCK, DATABASE_URL=url) as other:
        other.skip_to(server.now())
        other.start()
        others = [connect(other.url, *pair) for pair in KINDS]
        due = server.next_minute(margin=5)
        events = schedule_many(other.url, ['first', 'second'], due)

        # When one is suspended while commands wait for it, and the other delivers the minute meanwhile
        with SocketIO(server.url) as late:
            server.set_clock(due - 2_000)
            server.signal(signal.SIGSTOP)
            late.send('420' + json.dumps(['command', schedule_event('too late', wall(due))]))
            other.set_clock(due - 1_500)
            expect(others, events)
            server.set_clock(other.now())
            server.signal(signal.SIGCONT)

            # Then what waited is refused, and its clients are reminded of the same as the other's, once
            assert 'should be in future' in late.read_message()
        expect_no_more(clients + others, events)

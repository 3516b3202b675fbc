"""Slow clients are readers that are behind: they cost no memory, hold up nobody, and catch up from the log in order."""

import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import gevent
import pytest

from tests.clients import Client, Clients, Driver
from tests.faults import ClockedServer, Proxy, Reminder, reminders, repeated, schedule_many
from tests.server import MINUTE
from tests.wire import SocketIO

pytestmark = [pytest.mark.long, pytest.mark.measures]

CLOCK = '2026-03-01 10:00:20'
REMINDERS = 5_000
NAME = 'x' * 995
"""Each client is due 5.5 MB."""
UNREAD = 40
PATIENCE = 2.0
"""PING_TIMEOUT (s) of the server that does not wait long."""
CURSOR_EVERY = 500
"""Reminders that may come again after a connection broke among them."""
MEBIBYTE = 1_048_576
SETTLE = 1.0
"""Seconds in which anything that comes twice would have come."""


class Unread(SocketIO):
    """A client that connects, and from then on reads nothing but what it is told to."""

    _ID = re.compile(rb'"_id":"([0-9a-f]{24})"')

    def __init__(self, url: str) -> None:
        super().__init__(url)
        assert self.read().startswith('42["cursor"')
        self.ids: list[str] = []
        """The ids of all reminders that it has read, in order."""
        self._rest = b''

    def read_some(self, size: int) -> None:
        """Reads up to `size` bytes."""
        data = self.raw.recv(size)
        assert data, 'the server closed the connection'
        *ids, self._rest = self._ID.split(self._rest + data)
        self.ids += [id.decode() for id in ids[1::2]]

    def read_slowly(self, seconds: float, last: str) -> None:
        """Reads a little again and again for so many seconds, and then up to the reminder with the `_id` `last`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read_some(20_000)
            time.sleep(0.1)
        self.read_until(last)

    def read_until(self, last: str, within: float = 60) -> None:
        """Reads up to the reminder with the `_id` `last`."""
        self.raw.settimeout(within)
        while last not in self.ids[-1:]:
            self.read_some(MEBIBYTE)


class Suspendable(Driver):
    """A process of JavaScript clients that can be stopped and go on."""

    def signal(self, how: signal.Signals) -> None:
        self._process.send_signal(how)


@dataclass
class Minute:
    """What became of clients, fast and slow, to each of which 5.5 MB fell due at once, and one reminder a minute later.

    `patient` is a server that leaves a client that reads nothing alone for long, the other one for `PATIENCE`.
    """

    events: list[Reminder]
    fast: Client
    late: float
    """Seconds from the minute to the first reminder of the fast client."""
    answered: float
    """Seconds that a command of the fast client took while others did not read."""
    growth: int
    """Bytes by which the patient server grew."""
    unread: list[Unread]
    steady: Unread
    reading: gevent.Greenlet
    suspended: list[Client]
    dropped: list[Client]
    replayed: Client


@pytest.fixture(scope='module')
def minute(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Minute]:
    settings = {'COMMAND_RATE_LIMIT': '0', 'PING_INTERVAL': '120', 'PING_TIMEOUT': '120'}
    patient = ClockedServer(tmp_path_factory.mktemp('patient'), CLOCK, **settings)
    settings |= {'PING_TIMEOUT': str(PATIENCE), 'DATABASE_URL': patient.settings['DATABASE_URL']}
    impatient = ClockedServer(tmp_path_factory.mktemp('impatient'), CLOCK, **settings)
    with (
        patient.start(),
        impatient.start(),
        Proxy(patient) as proxy,
        Clients(lambda: request.getfixturevalue('driver')) as connect,
        closing(Suspendable()) as driver,
        Clients(lambda: driver) as connect_elsewhere,
    ):
        fast = connect(patient.url)
        unread = [Unread(patient.url) for _ in range(UNREAD)]
        steady = Unread(impatient.url)
        suspended = [connect_elsewhere(patient.url, transport=transport) for transport in ('websocket', 'polling')]
        dropped = [connect_elsewhere(impatient.url, transport=transport) for transport in ('websocket', 'polling')]
        due = patient.next_minute(margin=20)
        events = schedule_many(patient.url, [f'{number:05}{NAME}' for number in range(REMINDERS)], due)
        events += schedule_many(patient.url, ['live'], due + MINUTE)
        driver.signal(signal.SIGSTOP)
        before = patient.memory()

        reading = gevent.spawn(steady.read_slowly, 3 * PATIENCE, events[-2]['_id'])
        for server in (patient, impatient):
            server.set_clock(due - 1_500)
        fast.wait(lambda event: event.get('args') == [events[0]])
        late = (patient.now() - due) / 1000
        begin = time.monotonic()
        fast.command({'command': 'getAllTimeZones'})
        answered = time.monotonic() - begin
        fast.wait_for_reminder(events[-2]['_id'], within=60)
        reading.join()
        growth = patient.memory() - before

        proxy.hold(after=100_000)
        replayed = connect(proxy.url, auth={'since': fast.messages('cursor')[0][0]})
        for server in (patient, impatient):
            server.set_clock(due + MINUTE - 1_500)
        fast.wait_for_reminder(events[-1]['_id'])
        growth = max(growth, patient.memory() - before)

        driver.signal(signal.SIGCONT)
        proxy.release()
        for reader in unread:
            reader.read_until(events[-1]['_id'])
        for client in (*suspended, *dropped, replayed):
            client.wait_for_reminder(events[-1]['_id'], within=60)
        time.sleep(SETTLE)
        yield Minute(events, fast, late, answered, growth, unread, steady, reading, suspended, dropped, replayed)


class TestTheServer:
    def test_keeps_next_to_nothing_in_memory_for_those_who_do_not_read(self, minute: Minute) -> None:
        print(f'grown by {minute.growth / MEBIBYTE:.0f} MiB')
        assert minute.growth < 150 * MEBIBYTE

    def test_is_not_late_for_others(self, minute: Minute) -> None:
        print(f'first reminder {minute.late:.3f} s after the minute, a command answered within {minute.answered:.3f} s')
        assert -0.05 < minute.late < 3
        assert minute.answered < 3
        assert reminders(minute.fast) == minute.events


def test_clients_that_read_nothing_for_a_while_get_everything_then_in_order_once(minute: Minute) -> None:
    expected = [event['_id'] for event in minute.events]
    for client in minute.unread:
        assert client.ids == expected


def test_a_client_that_reads_slowly_but_steadily_is_left_alone(minute: Minute) -> None:
    minute.reading.get()
    assert minute.steady.ids == [event['_id'] for event in minute.events[:-1]]


def test_suspended_clients_go_on_where_they_were(minute: Minute) -> None:
    for client in minute.suspended:
        assert reminders(client) == minute.events
        assert not any(event['event'] == 'disconnect' for event in client.events)


def test_suspended_clients_that_were_dropped_come_back_and_miss_nothing(minute: Minute) -> None:
    websocket, polling = minute.dropped
    connects = [event['recovered'] for event in websocket.events if event['event'] == 'connect']
    assert connects == [False, True]
    print(f'repeated: {repeated(reminders(websocket))}, {repeated(reminders(polling))}')
    for client in minute.dropped:
        received = reminders(client)
        first = {event['_id']: event for event in reversed(received)}
        assert list(reversed(first.values())) == minute.events
        assert repeated(received) <= CURSOR_EVERY


def test_what_falls_due_while_a_replay_is_read_comes_after_it(minute: Minute) -> None:
    assert reminders(minute.replayed) == minute.events
    names = [event.get('name') for event in minute.replayed.events if event['event'] == 'message']
    assert names.count('replayed') == 1
    assert names[names.index('replayed') :].count('eventReminder') == 1
    assert minute.replayed.messages('replayed') == [[{'count': REMINDERS, 'complete': True}]]

"""Whoever comes back gets what was missed, once: official clients over kills, on other servers, and by `auth.since`."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Client, Clients
from tests.faults import (
    ClockedServer,
    Load,
    Pipeline,
    Proxy,
    Reminder,
    in_order,
    reminders,
    repeated,
    schedule_many,
    wait_until_back,
)
from tests.server import MINUTE, Server, wall

CLOCK = '2026-03-01 10:00:50'
HOUR = 60 * MINUTE
SETTLE = 1.0
"""Seconds in which anything that comes twice would have come."""


KILLS = 10
RATE = 2_000
"""Events that are scheduled in a second while the server is killed."""


# -- connection state recovery ----------------------------------------------------------------------------------

UNMODIFIED = [
    ('js-4.8', 'websocket'),
    ('js-4.8', 'polling'),
    ('js-4.8', 'upgrade'),
    ('js-4.6', 'websocket'),
    ('js-4.6', 'polling'),
]
SILENCES = [MINUTE, 5 * HOUR, MINUTE]
"""How long nobody is up, each time that the server is killed."""


@dataclass
class Journey:
    """Clients whose server was killed again and again, each time before a reminder, and the events in order."""

    clients: dict[tuple[str, str], Client]
    events: list[Reminder]


@pytest.fixture(scope='module')
def journey(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Journey]:
    """Two servers on one database take turns behind a proxy: one is killed, a reminder falls due, the other starts."""
    first = ClockedServer(tmp_path_factory.mktemp('first'), CLOCK)
    other = ClockedServer(tmp_path_factory.mktemp('other'), CLOCK, DATABASE_URL=first.settings['DATABASE_URL'])
    events = []
    with (
        first.start() as living,
        other as next_one,
        Proxy(living) as proxy,
        Clients(lambda: request.getfixturevalue('driver')) as connect,
    ):
        clients = {pair: connect(proxy.url, *pair) for pair in UNMODIFIED}
        for number, silence in enumerate(SILENCES):
            missed, following = (due := living.next_minute()), due + silence
            anybody = clients['js-4.8', 'websocket']
            events.append(anybody.schedule(f'missed {number}', wall(missed)))
            events.append(anybody.schedule(f'following {number}', wall(following)))
            living.kill()
            next_one.skip_to(following - 30_000)
            proxy.switch(next_one)
            next_one.start()
            for client in clients.values():
                wait_until_back(client, number + 1)
            next_one.set_clock(following - 1_500)
            for client in clients.values():
                client.wait_for_reminder(events[-1]['_id'])
            living, next_one = next_one, living
        time.sleep(SETTLE)
        yield Journey(clients, events)


@pytest.mark.parametrize('pair', UNMODIFIED, ids='-'.join)
class TestAnUnmodifiedClient:
    def test_gets_what_it_missed_and_what_follows_once_each_in_order(
        self, journey: Journey, pair: tuple[str, str]
    ) -> None:
        assert reminders(journey.clients[pair]) == journey.events

    def test_is_recovered_each_time(self, journey: Journey, pair: tuple[str, str]) -> None:
        connects = [event for event in journey.clients[pair].events if event['event'] == 'connect']
        assert [connect['recovered'] for connect in connects] == [False] + [True] * len(SILENCES)

    def test_is_told_that_nothing_is_missing(self, journey: Journey, pair: tuple[str, str]) -> None:
        replayed = [outcome for (outcome,) in journey.clients[pair].messages('replayed')]
        assert replayed == [{'count': 1, 'complete': True}] * len(SILENCES)

    def test_gets_strings_from_nothing_but_cursors(self, journey: Journey, pair: tuple[str, str]) -> None:
        messages = [event for event in journey.clients[pair].events if event['event'] == 'message']
        assert {event['name'] for event in messages if isinstance(event['args'][-1], str)} == {'cursor'}


# -- a log with a past ------------------------------------------------------------------------------------------

NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']


@dataclass
class Past:
    """A server that has delivered events, two in each minute at first, and a client that was there all the time."""

    server: ClockedServer
    events: list[Reminder]
    witness: Client

    @property
    def offsets(self) -> list[str]:
        """The offsets that the witness was given: when it connected, and after each minute."""
        return [offset for (offset,) in self.witness.messages('cursor')]

    def deliver(self, *clients: Client) -> Reminder:
        """One more event, of the next minute, which is at hand at once; has reached the witness and these clients."""
        with Pipeline(self.server.url) as pipeline:
            due = self.server.next_minute(margin=0.5)
            pipeline.schedule('live', due)
            pipeline.read_answers()
            (event,) = pipeline.acked
        self.server.set_clock(due - 500)
        for client in (self.witness, *clients):
            client.wait_for_reminder(event['_id'])
        self.events.append(event)
        return event


@pytest.fixture(scope='module')
def past(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Past]:
    with (
        ClockedServer(tmp_path_factory.mktemp('past'), '2026-03-01 10:00:10', RECOVERY_WINDOW='1') as server,
        Clients(lambda: request.getfixturevalue('driver')) as connect,
    ):
        server.start()
        witness = connect(server.url)
        due = server.next_minute()
        events = []
        for number in range(0, len(NAMES), 2):
            events += schedule_many(server.url, NAMES[number : number + 2], due + number * MINUTE)
        for number in range(0, len(NAMES), 2):
            server.set_clock(due + number * MINUTE + 1_000)
            witness.wait_for_reminder(events[number + 1]['_id'])
        past = Past(server, events, witness)
        cursors = 1 + len(NAMES) // 2  # the last one stands behind the last reminder
        witness.wait(lambda event: len(past.offsets) >= cursors)
        assert len(past.offsets) == cursors
        yield past


def replay(client: Client) -> tuple[list[str], dict[str, Any]]:
    """The names of what the client was reminded of up to `replayed`, and what that said."""
    outcome = client.wait(lambda event: event.get('name') == 'replayed')
    names = [
        event['args'][0]['name']
        for event in client.events[: client.events.index(outcome)]
        if event.get('name') == 'eventReminder'
    ]
    (arguments,) = outcome['args']
    return names, arguments


ANY_CLIENT = ['js-4.8', 'js-4.6', 'js-3.1', 'python']
SINCE: dict[str, tuple[Callable[[Past], str], int]] = {
    'the beginning': (lambda past: past.offsets[0], 0),
    'an offset': (lambda past: past.offsets[2], 4),
    'the newest offset': (lambda past: past.offsets[4], 8),
    'the _id of a minute that was cut': (lambda past: past.events[2]['_id'], 3),
    'an ISO time, which counts itself': (lambda past: past.events[4]['time'], 4),
    'an ISO time of another zone, a second later': (
        lambda past: past.events[4]['time'].replace(':00.000Z', ':01.000+00:00'),
        6,
    ),
}


@pytest.mark.parametrize('kind', ANY_CLIENT)
@pytest.mark.parametrize('since', SINCE)
def test_a_client_that_says_since_when_gets_what_lies_behind(
    past: Past, connect: Clients, kind: str, since: str
) -> None:
    value, first = SINCE[since]
    names, outcome = replay(connect(past.server.url, kind, auth={'since': value(past)}))
    expected = [event['name'] for event in past.events[first:]]
    assert (names, outcome) == (expected, {'count': len(expected), 'complete': True})


def test_what_a_replay_begins_goes_on_live(past: Past, connect: Clients) -> None:
    # Given clients on both transports that were replayed the last minutes
    since = {'since': past.offsets[3]}
    clients = [connect(past.server.url, transport=transport, auth=since) for transport in ('polling', 'websocket')]
    expected = past.events[6:]
    for client in clients:
        replay(client)

    # When the next minute comes
    event = past.deliver(*clients)

    # Then it follows what was replayed
    for client in clients:
        assert reminders(client) == [*expected, event]


NO_SINCE = ['', 'yesterday', 7, ['a'], {'id': 'a'}, '2026-03-01T10:00:00', 'f' * 23, 'x' * 9_000]
NO_OFFSET = ['', 'garbage', 7, None, {'a': 1}, ['a'], 'x' * 9_000, '0123456789abcdef.9999999999999999.']


@pytest.mark.parametrize('since', NO_SINCE)
def test_a_malformed_since_is_refused_in_words(past: Past, connect: Clients, since: Any) -> None:
    client = connect(past.server.url, wait=False, auth={'since': since})
    assert client.wait_for('connect_error')['message'] == (
        "'since' must be an offset, the _id of a reminder, or an ISO 8601 time with its zone"
    )
    assert [event['event'] for event in client.events] == ['connect_error']


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_a_malformed_recovery_offset_counts_as_none(past: Past, connect: Clients, transport: str) -> None:
    # Given clients that come with one
    offsets = [*NO_OFFSET, f'{past.offsets[0]}\n']
    clients = [connect(past.server.url, transport=transport, auth={'pid': 'a', 'offset': offset}) for offset in offsets]

    # Then they are connected, not recovered, and begin at the end
    event = past.deliver(*clients)
    for client in clients:
        assert client.wait_for('connect')['recovered'] is False
        assert reminders(client) == [event]
        assert client.messages('replayed') == []


@pytest.mark.parametrize(
    ('since', 'expected'),
    [
        ('0123456789abcdef.1.', 'everything'),  # of another log
        ('ffffffffffffffffffffffff', 'nothing'),  # an _id that nobody knows
        ('2099-01-01T00:00:00Z', 'nothing'),  # beyond the end
    ],
)
def test_a_since_that_cannot_be_honoured_says_so(past: Past, connect: Clients, since: str, expected: str) -> None:
    names, outcome = replay(connect(past.server.url, auth={'since': since}))
    events = past.events if expected == 'everything' else []
    assert (names, outcome) == ([event['name'] for event in events], {'count': len(events), 'complete': False})


def test_a_replay_is_cut_to_the_newest(past: Past, connect: Clients, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Given a second server on the same log that replays no more than five
    settings = {'DATABASE_URL': past.server.settings['DATABASE_URL'], 'REPLAY_LIMIT': '5'}
    with Server(tmp_path_factory.mktemp('limited'), **settings) as limited:
        limited.skip_to(past.server.now())
        limited.start()

        # Then who asks for more gets the newest, and is told that some are missing
        names, outcome = replay(connect(limited.url, auth={'since': past.offsets[0]}))
        assert names == [event['name'] for event in past.events[-5:]]
        assert outcome == {'count': 5, 'complete': False}

        # Then who asks for just as many gets them all
        names, outcome = replay(connect(limited.url, auth={'since': past.events[-6]['_id']}))
        assert names == [event['name'] for event in past.events[-5:]]
        assert outcome == {'count': 5, 'complete': True}


def test_a_recovery_offset_wins_over_since(past: Past, connect: Clients) -> None:
    # Given a client that said since when, and has got all of that
    with Proxy(past.server) as proxy:
        client = connect(proxy.url, auth={'since': past.offsets[0]})
        replay(client)
        got = list(past.events)

        # When its connection breaks, and it says the same once more beside its offset
        proxy.cut()
        assert wait_until_back(client)['recovered'] is True

        # Then it is not told all of that again
        event = past.deliver(client)
        assert reminders(client) == [*got, event]


def test_a_replay_that_is_cut_off_goes_on_where_it_was_cut(past: Past, connect: Clients) -> None:
    # Given a client whose connection breaks in the midst of a replay
    with Proxy(past.server) as proxy:
        proxy.hold(after=900)
        client = connect(proxy.url, auth={'since': past.offsets[0]})
        client.wait(lambda event: event.get('name') == 'eventReminder')
        assert client.messages('replayed') == []
        proxy.release()
        proxy.cut()

        # Then it has everything after it came back; it knows no later offset than that of its beginning
        assert wait_until_back(client)['recovered'] is True
        replay(client)
        received = reminders(client)
        assert received[-len(past.events) :] == past.events
        assert received[: -len(past.events)] == past.events[: repeated(received)]


def test_a_python_client_says_since_when_anew_each_time(past: Past, connect: Clients) -> None:
    # Given a Python client whose `auth` is a function that names the last reminder it got
    known: list[Client] = []
    with Proxy(past.server) as proxy:
        client = connect(proxy.url, 'python', auth=lambda: {'since': reminders(known[0])[-1]['_id']} if known else {})
        known.append(client)
        expected = [past.deliver(client)]

        # When its connection breaks over a minute, again and again
        for number in (1, 2):
            proxy.hold()
            expected.append(past.deliver())
            proxy.switch(past.server)
            wait_until_back(client, number)
            expected.append(past.deliver(client))

        # Then it has everything once
        assert reminders(client) == expected
        assert client.messages('replayed') == [[{'count': 1, 'complete': True}]] * 2


# -- kills ------------------------------------------------------------------------------------------------------


def is_of(reminder: Reminder, event: dict[str, Any]) -> bool:
    """Whether a client's event is that reminder."""
    return event.get('args') == [reminder]


@pytest.mark.long
def test_kills_under_load_lose_nothing_and_repeat_nothing(tmp_path: Path, connect: Clients) -> None:
    # Given clients that know their offset and clients that know none
    server = ClockedServer(tmp_path, CLOCK, COMMAND_RATE_LIMIT='0').start()
    listeners = [connect(server.url, kind) for kind in ('js-4.8', 'js-3.1')]
    acked: list[Reminder] = []
    seconds = 0.0
    for _ in range(KILLS):
        # When the server is killed while events are scheduled at full speed, and starts again after their minute
        due = server.next_minute(margin=10)
        load = Load(server, due, RATE)
        time.sleep(random.uniform(0.3, 0.8))
        server.kill()
        events, took = load.end()
        assert events, 'killed before anything was acked'
        acked += events
        seconds += took
        server.skip_to(due + 1_000)
        seen = [len(listener.events) for listener in listeners]
        server.start()
        last = in_order(events)[-1]
        for listener, since in zip(listeners, seen, strict=True):
            listener.wait(partial(is_of, last), within=30, since=since)
    time.sleep(SETTLE)
    server.kill()

    # Then every client was reminded of each event that was acked, once, and of no other twice
    print(f'{len(acked)} events acked, {len(acked) / seconds:.0f} a second')
    for listener in listeners:
        received = reminders(listener)
        lost = {event['_id'] for event in acked} - {event['_id'] for event in received}
        assert (len(lost), repeated(received)) == (0, 0)
        assert received == in_order(received)
    assert len(acked) / seconds > RATE / 10

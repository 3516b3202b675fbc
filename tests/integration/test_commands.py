"""The commands that change, cancel, repeat and list, over real stores: on two servers' commands at once."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import gevent
import pytest

from reminder.commands import Commands
from reminder.errors import Busy, StoreUnavailable
from reminder.models.event import MINUTE, Event, iso, new_id
from reminder.models.store import Store, open_store
from reminder.services import search
from reminder.services.delivery import Delivery
from reminder.services.events import CHANGE_LEAD, LEAD
from reminder.services.identity import LISTEN, MANAGE, SCHEDULE, SCOPES, Identity
from reminder.services.log import Log
from reminder.services.punctuality import Punctuality
from reminder.services.series import Occurrences
from tests import mongodb
from tests.services import PlainWire, Recorder

NOW = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC, a minute's begin
MANAGER = Identity(SCOPES, 'manager')


def run(function: Callable[..., Any], *args: Any) -> Any:
    return gevent.get_hub().threadpool.apply(function, args)


class Server:
    """The commands and the log of one server, whose clock the test sets."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        self.wire = wire = PlainWire()
        self.occurrences = occurrences = Occurrences(store, 20, lambda: None)
        self.log = Log(store, wire, replay_limit=100, recovery_window=0, prepare=occurrences.make)
        self.delivery = Delivery(self.log, wire, pause=lambda: None, wake=lambda verb: None)
        self.commands = Commands(
            store, self.log, self.delivery, occurrences, Punctuality(), lambda: self.now, gevent.sleep
        )
        self.pass_to(NOW)

    def pass_to(self, minute: int) -> None:
        """Closes and publishes `minute`."""
        self.close(minute)
        self.now = minute
        self.delivery.publish()
        self.log.settle()

    def close(self, minute: int) -> None:
        self.now = minute - LEAD
        self.delivery.close(minute, lambda: self.now)

    def ask(self, command: str, identity: Identity = MANAGER, **data: Any) -> dict[str, Any]:
        """The response to a command that succeeds."""
        return self.answer(command, identity, **data)['response']  # type: ignore[no-any-return]

    def answer(self, command: str, identity: Identity = MANAGER, **data: Any) -> dict[str, Any]:
        """The envelope of a command that succeeds."""
        answer = self.commands.run({'command': command, 'data': data}, identity)
        assert answer['status'] == 'success', answer
        assert json.loads(json.dumps(answer)) == answer
        return answer

    def fail(self, command: str, identity: Identity = MANAGER, **data: Any) -> str:
        """The error of a command that fails."""
        answer = self.commands.run({'command': command, 'data': data}, identity)
        assert answer.keys() == {'status', 'error'}, answer
        return answer['error']  # type: ignore[no-any-return]

    def schedule(self, minutes: int = 5, identity: Identity = MANAGER, **more: Any) -> dict[str, Any]:
        return self.ask('scheduleEvent', identity, **wanted(minutes, **more))

    def delivered(self, since: int = 0) -> list[str]:
        """The names of the reminders since that instant, in order."""
        return [reminder['name'] for reminder in self.ask('getReminders', since=iso(since))['reminders']]

    def pending(self, **data: Any) -> list[str]:
        return [event['name'] for event in self.ask('listEvents', **data)['events']]


def at(minutes: int) -> str:
    """The wall-clock time in UTC so many minutes after NOW."""
    return iso(NOW + minutes * MINUTE)[:16].replace('T', ' ')


def nested(depth: int) -> Any:
    """A list of objects and lists, nested that deep."""
    value: Any = 'x'
    for level in range(depth):
        value = {'a': value} if level % 2 else [value]
    return value


def wanted(minutes: int, **more: Any) -> dict[str, Any]:
    return {'eventName': 'tea', 'time': at(minutes), 'timeZone': 'UTC', **more}


@pytest.fixture(params=['sqlite', 'mongodb'])
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers on one new database."""
    with ExitStack() as stack:
        if request.param == 'sqlite':
            url = f'sqlite:///{tmp_path / "events.db"}'
        else:
            url = stack.enter_context(mongodb.database())
        stores = [open_store(url, run) for _ in range(2)]
        for store in stores:
            stack.callback(store.close)
        yield Server(stores[0]), Server(stores[1])


@pytest.fixture
def server(servers: tuple[Server, Server]) -> Server:
    return servers[0]


@pytest.fixture
def other(servers: tuple[Server, Server]) -> Server:
    return servers[1]


class TestOneEvent:
    def test_is_what_its_ack_said(self, server: Server, other: Server) -> None:
        event = server.schedule()
        assert event.keys() == {'name', 'time', '_id'}
        assert other.ask('getEvent', _id=event['_id']) == {
            **event,
            'localTime': at(5),
            'timeZone': 'UTC',
            'state': 'pending',
        }
        server.pass_to(NOW + 5 * MINUTE)
        assert other.ask('getEvent', _id=event['_id'])['state'] == 'delivered'

    def test_takes_a_payload_and_a_channel(self, server: Server, other: Server) -> None:
        payload = {'a': [1, None, 'ü'], 'b': False}
        event = server.schedule(channel='team/a', payload=payload)
        assert (event['channel'], event['payload']) == ('team/a', payload)
        server.pass_to(NOW + 5 * MINUTE)
        other.pass_to(NOW + 5 * MINUTE)
        assert other.ask('getReminders', since=iso(NOW))['reminders'] == [event]

    @pytest.mark.parametrize(
        ('field', 'value', 'error'),
        [
            ('channel', '', "channel='' is invalid"),
            ('channel', 'ü', 'channel='),
            ('channel', 'a' * 129, 'channel='),
            ('channel', 7, 'channel='),
            ('payload', 'x' * 4_095, "'payload' is longer than 4096 bytes"),
            ('payload', '\ud800', "'payload'"),
            ('payload', [float('inf')], "'payload' holds a number that is too large"),
            ('payload', float('nan'), "'payload'"),
            ('payload', b'', "'payload' holds binary data"),
            ('channel', b'', 'channel='),
            ('key', b'', "'key'"),
            ('repeat', b'', "'repeat'"),
            ('payload', nested(33), "'payload' is nested more than 32 levels deep"),
            ('payload', nested(900), "'payload' is nested more than 32 levels deep"),
            ('key', '', "'key'"),
            ('key', 'k' * 256, "'key'"),
            ('key', 7, "'key'"),
            ('repeat', '', "'repeat'"),
            ('repeat', 7, "'repeat'"),
            ('repeat', 'FREQ=SECONDLY', 'repeat='),
            ('repeat', 'FREQ=DAILY;UNTIL=20200101T000000Z', 'repeat='),
        ],
    )
    def test_what_is_wrong_is_named(self, server: Server, field: str, value: object, error: str) -> None:
        assert error in server.fail('scheduleEvent', **wanted(5, **{field: value}))

    @pytest.mark.parametrize('command', ['getEvent', 'cancelEvent', 'updateEvent'])
    @pytest.mark.parametrize(
        ('id', 'error'),
        [
            (None, "'_id' is required"),
            ('', "'_id' is required"),
            (7, "'_id' is required"),
            (b'', "'_id' is required"),
            ({'$gt': ''}, "'_id' is required"),
            ('x', "_id='x' is not found"),
            ('0' * 24, f"_id='{'0' * 24}' is not found"),
            ('\ud800', 'is not found'),
        ],
        ids=ascii,
    )
    def test_one_that_is_not_there_is_not_found(self, server: Server, command: str, id: object, error: str) -> None:
        assert error in server.fail(command, _id=id)

    def test_a_payload_may_be_as_deep_as_is_said(self, server: Server) -> None:
        event = server.schedule(payload=nested(32))
        assert event['payload'] == nested(32)

    def test_what_another_program_wrote_keeps_nothing_from_being_delivered(
        self, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.store.add(Event(new_id(NOW), 'odd', NOW + MINUTE, payload='[' * 3_000))
        server.store.add(Event(new_id(NOW), 'odd', NOW + MINUTE, payload='no JSON'))
        event = server.schedule(minutes=1)
        reader = Recorder()
        server.delivery.join(reader, server.log.begin(NOW))
        server.wire.reminder = lambda event: json.dumps(event.reminder()).encode()  # type: ignore[method-assign]
        server.pass_to(NOW + MINUTE)
        assert [json.loads(packet) for packet in reader.packets if packet.startswith('{')] == [event]
        assert caplog.text.count('is left out') == 2


class TestCancel:
    def test_nobody_is_reminded_of_it(self, server: Server, other: Server) -> None:
        event, kept = server.schedule(), server.schedule(eventName='kept')
        assert other.ask('cancelEvent', _id=event['_id'])['state'] == 'cancelled'
        assert server.ask('getEvent', _id=event['_id'])['state'] == 'cancelled'
        assert server.pending() == ['kept']
        for one in (server, other):
            one.pass_to(NOW + 5 * MINUTE)
            assert one.delivered() == ['kept']
        assert kept['name'] == 'kept'

    def test_twice_is_once(self, server: Server) -> None:
        event = server.schedule()
        assert server.ask('cancelEvent', _id=event['_id']) == server.ask('cancelEvent', _id=event['_id'])

    def test_what_is_due_cannot_be_cancelled(self, server: Server, other: Server) -> None:
        event = server.schedule()
        server.close(NOW + 5 * MINUTE)
        assert 'is due already' in other.fail('cancelEvent', _id=event['_id'])
        assert server.ask('getEvent', _id=event['_id'])['state'] == 'due'


class TestUpdate:
    def test_all_of_it_can_change_but_its_id(self, server: Server, other: Server) -> None:
        event = server.schedule(payload=1)
        changed = other.ask('updateEvent', _id=event['_id'], eventName='coffee', time=at(7), channel='a', payload=None)
        assert changed == {
            'name': 'coffee',
            'time': iso(NOW + 7 * MINUTE),
            '_id': event['_id'],
            'channel': 'a',
            'localTime': at(7),
            'timeZone': 'UTC',
            'state': 'pending',
        }
        assert server.ask('getEvent', _id=event['_id']) == changed
        for minutes, expected in ((5, []), (6, []), (7, ['coffee'])):
            for one in (server, other):
                one.pass_to(NOW + minutes * MINUTE)
                assert one.delivered() == expected

    def test_a_zone_alone_gives_its_wall_clock_another_meaning(self, server: Server) -> None:
        event = server.schedule(minutes=120)
        changed = server.ask('updateEvent', _id=event['_id'], timeZone='europe/berlin')
        assert (changed['time'], changed['localTime'], changed['timeZone']) == (
            iso(NOW + 60 * MINUTE),
            at(120),
            'Europe/Berlin',
        )

    def test_a_time_that_is_skipped_comes_with_a_warning(self, server: Server) -> None:
        event = server.schedule()
        message = {'_id': event['_id'], 'time': '2027-03-28 02:30', 'timeZone': 'Europe/Berlin'}
        answer = server.commands.run({'command': 'updateEvent', 'data': message}, MANAGER)
        assert answer['response']['time'] == '2027-03-28T01:30:00.000Z'
        assert 'does not exist' in answer['warning']

    @pytest.mark.parametrize(
        ('change', 'error'),
        [
            ({'eventName': ''}, "'eventName' is required"),
            ({'time': '2027-01-15'}, 'is invalid'),
            ({'time': None}, "'time' is required"),
            ({'time': '2027-01-15 07:00'}, 'should be in future'),
            ({'timeZone': 'Mars'}, "timeZone='Mars' is invalid"),
            ({'channel': 'ü'}, 'channel='),
            ({'repeat': 'FREQ=DAILY'}, "'repeat'"),
        ],
    )
    def test_what_is_wrong_is_named_and_nothing_changes(
        self, server: Server, change: dict[str, Any], error: str
    ) -> None:
        event = server.schedule()
        before = server.ask('getEvent', _id=event['_id'])
        assert error in server.fail('updateEvent', _id=event['_id'], **change)
        assert server.ask('getEvent', _id=event['_id']) == before

    def test_what_is_cancelled_or_due_cannot_be_changed(self, server: Server) -> None:
        event, due = server.schedule(), server.schedule(minutes=1)
        server.ask('cancelEvent', _id=event['_id'])
        assert 'is cancelled' in server.fail('updateEvent', _id=event['_id'], eventName='x')
        server.pass_to(NOW + MINUTE)
        assert 'is due already' in server.fail('updateEvent', _id=due['_id'], eventName='x')

    def test_to_change_nothing_of_what_was_delivered_is_no_failure(self, server: Server) -> None:
        event = server.schedule(minutes=1)
        server.pass_to(NOW + MINUTE)
        assert server.ask('updateEvent', _id=event['_id'], eventName='tea')['state'] == 'delivered'

    def test_a_time_that_is_closed_is_past(self, server: Server, other: Server) -> None:
        event = server.schedule()
        server.close(NOW + 2 * MINUTE)
        assert 'should be in future' in other.fail('updateEvent', _id=event['_id'], time=at(2))
        assert server.ask('getEvent', _id=event['_id'])['time'] == event['time']


class TestKey:
    def test_the_same_again_is_the_same_event(self, server: Server, other: Server) -> None:
        event = server.schedule(key='k')
        assert other.schedule(key='k') == event
        assert server.schedule(key='another')['_id'] != event['_id']
        assert len(server.pending()) == 2

    @pytest.mark.parametrize(
        'more', [{'eventName': 'x'}, {'time': at(6)}, {'channel': 'a'}, {'payload': 0}, {'repeat': 'FREQ=DAILY'}]
    )
    def test_other_data_fails(self, server: Server, other: Server, more: dict[str, Any]) -> None:
        server.schedule(key='k')
        assert 'key' in other.fail('scheduleEvent', **wanted(5, key='k') | more)

    def test_it_holds_after_the_event_was_delivered_and_after_a_change(self, server: Server, other: Server) -> None:
        event = server.schedule(key='k')
        server.ask('updateEvent', _id=event['_id'], eventName='coffee', time=at(6))
        assert other.schedule(key='k')['name'] == 'coffee'
        server.pass_to(NOW + 8 * MINUTE)
        other.now = server.now
        assert other.schedule(key='k')['_id'] == event['_id']

    def test_a_cancelled_one_is_said(self, server: Server) -> None:
        server.ask('cancelEvent', _id=server.schedule(key='k')['_id'])
        assert 'cancelled' in server.fail('scheduleEvent', **wanted(5, key='k'))

    def test_the_warning_comes_again(self, server: Server, other: Server) -> None:
        skipped: dict[str, Any] = {
            'eventName': 'tea',
            'time': '2027-03-28 02:30',
            'timeZone': 'Europe/Berlin',
            'key': 'k',
        }
        for more in ({}, {'key': 'series', 'repeat': 'FREQ=DAILY'}):
            first = server.answer('scheduleEvent', **skipped | more)
            assert 'does not exist' in first['warning']
            assert other.answer('scheduleEvent', **skipped | more) == first
        other.ask('updateEvent', _id=server.schedule(**skipped)['_id'], time=at(500))
        assert 'warning' not in server.answer('scheduleEvent', **skipped)

    def test_the_order_of_an_objects_keys_means_nothing(self, server: Server, other: Server) -> None:
        event = server.schedule(key='k', payload={'a': 1, 'b': [{'c': 2, 'd': 3}]})
        assert other.schedule(key='k', payload={'b': [{'d': 3, 'c': 2}], 'a': 1}) == event
        assert 'key' in other.fail('scheduleEvent', **wanted(5, key='k', payload={'a': 1, 'b': [{'c': 3, 'd': 2}]}))

    @pytest.mark.parametrize('more', [{}, {'repeat': 'FREQ=DAILY'}], ids=str)
    def test_it_shows_nothing_that_has_moved_to_where_one_may_not_look(
        self, server: Server, more: dict[str, Any]
    ) -> None:
        ann = Identity(frozenset({SCHEDULE}), 'ann', channels=frozenset({'a'}))
        event = server.schedule(identity=ann, key='k', **more)
        server.ask('updateEvent', _id=event['_id'], channel='secret', payload='hidden', eventName='tea')
        assert 'channel that is not allowed' in server.fail('scheduleEvent', ann, **wanted(5, key='k', **more))

    def test_others_keys_are_their_own(self, server: Server) -> None:
        mine, others = (server.schedule(key='k', identity=Identity(SCOPES, name)) for name in ('a', 'b'))
        assert mine['_id'] != others['_id']

    def test_of_many_at_once_all_get_the_same(self, server: Server, other: Server) -> None:
        asked = [gevent.spawn(one.schedule, key='k') for one in (server, other) for _ in range(25)]
        answers = [one.get(timeout=20) for one in asked]
        assert answers == [answers[0]] * 50
        assert server.pending() == ['tea']

    def test_an_event_and_a_series_that_are_asked_for_at_once_do_not_hide_each_other(
        self, server: Server, other: Server
    ) -> None:
        """Which of them came first nobody can tell; so each that was acked can be found and cancelled."""
        asked = [
            gevent.spawn(one.commands.run, {'command': 'scheduleEvent', 'data': wanted(5, key='k', **more)}, MANAGER)
            for one, more in ((server, {}), (other, {'repeat': 'FREQ=DAILY'}))
        ]
        answers = [one.get(timeout=20) for one in asked]
        acked = [answer['response'] for answer in answers if answer['status'] == 'success']
        assert acked
        for one in acked:
            assert ('repeat' in other.ask('getEvent', _id=one['_id'])) == ('repeat' in one)
            other.ask('cancelEvent', _id=one['_id'])
        assert server.pending() == [] and server.ask('listSeries')['series'] == []

    def test_series_have_keys_too(self, server: Server, other: Server) -> None:
        series = server.schedule(key='k', repeat='FREQ=DAILY')
        assert other.schedule(key='k', repeat='FREQ=DAILY') == series
        assert 'key' in other.fail('scheduleEvent', **wanted(5, key='k', repeat='FREQ=WEEKLY'))


class TestSeries:
    def test_its_ack_shows_what_comes(self, server: Server) -> None:
        series = server.schedule(repeat='FREQ=MINUTELY;INTERVAL=2', channel='a', payload=[1])
        assert series == {
            'name': 'tea',
            'time': iso(NOW + 5 * MINUTE),
            '_id': series['_id'],
            'repeat': 'FREQ=MINUTELY;INTERVAL=2',
            'localTime': at(5),
            'timeZone': 'UTC',
            'occurrences': [iso(NOW + minutes * MINUTE) for minutes in (5, 7, 9, 11, 13)],
            'channel': 'a',
            'payload': [1],
        }
        assert server.ask('listSeries')['series'] == [series]
        (first,) = server.ask('listEvents')['events']
        assert first['series'] == series['_id']

    def test_it_may_have_begun_in_the_past(self, server: Server) -> None:
        series = server.schedule(minutes=-3, repeat='FREQ=MINUTELY;INTERVAL=2')
        assert series['occurrences'][0] == iso(NOW + MINUTE)

    def test_each_comes_once_on_every_server(self, server: Server, other: Server) -> None:
        server.schedule(repeat='FREQ=MINUTELY;COUNT=3')
        for minute in range(1, 10):
            for one in (server, other) if minute % 2 else (other, server):
                one.pass_to(NOW + minute * MINUTE)
        for one in (server, other):
            times = [reminder['time'] for reminder in one.ask('getReminders', since=iso(NOW))['reminders']]
            assert times == [iso(NOW + minutes * MINUTE) for minutes in (5, 6, 7)]
        assert server.ask('listSeries')['series'] == []

    def test_what_fell_due_while_nobody_ran_comes_the_newest_of_it(self, server: Server) -> None:
        server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        server.pass_to(NOW + 100 * MINUTE)
        reminders = server.ask('getReminders', since=iso(NOW))['reminders']
        # the first was made when it was scheduled, and of the others one more than is replayed, which says so then
        expected = [1, *range(80, 101)]
        assert [reminder['time'] for reminder in reminders] == [iso(NOW + minutes * MINUTE) for minutes in expected]

    def test_what_one_of_many_had_due_is_no_less_than_what_all_had(self, server: Server) -> None:
        server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        for number in range(9):
            server.schedule(minutes=2, repeat='FREQ=DAILY', eventName=str(number))
        server.pass_to(NOW + 11 * MINUTE)
        assert server.delivered(NOW).count('tea') == 11 and len(server.delivered(NOW)) == 20

    def test_of_more_than_the_limit_the_newest_of_all_is_made(self, server: Server) -> None:
        for number in range(4):
            server.schedule(minutes=1, repeat='FREQ=MINUTELY', eventName=str(number))
        server.pass_to(NOW + 100 * MINUTE)
        reminders = server.ask('getReminders', since=iso(NOW + MINUTE))['reminders']
        times = [reminder['time'] for reminder in reminders]
        # beside what was made before: whole minutes, together more than the limit, so that a replay says so
        assert times == [iso(NOW + minutes * MINUTE) for minutes in (1, *range(95, 101)) for _ in range(4)]

    def test_one_of_it_is_cancelled(self, server: Server, other: Server) -> None:
        server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        (first,) = other.ask('listEvents')['events']
        other.ask('cancelEvent', _id=first['_id'])
        for minute in (1, 2):
            for one in (server, other):
                one.pass_to(NOW + minute * MINUTE)
        for one in (server, other):
            times = [reminder['time'] for reminder in one.ask('getReminders', since=iso(NOW))['reminders']]
            assert times == [iso(NOW + 2 * MINUTE)]

    def test_one_of_it_is_moved(self, server: Server, other: Server) -> None:
        server.schedule(minutes=1, repeat='FREQ=MINUTELY;COUNT=2')
        (first,) = other.ask('listEvents')['events']
        other.ask('updateEvent', _id=first['_id'], time=at(4), eventName='later')
        for minute in range(1, 6):
            for one in (server, other):
                one.pass_to(NOW + minute * MINUTE)
        for one in (server, other):
            found = one.ask('getReminders', since=iso(NOW))['reminders']
            assert [(reminder['name'], reminder['time']) for reminder in found] == [
                ('tea', iso(NOW + 2 * MINUTE)),
                ('later', iso(NOW + 4 * MINUTE)),
            ]

    def test_the_next_one_is_always_there_to_be_changed(self, server: Server, other: Server) -> None:
        # Given a series whose next occurrence is cancelled, and the one after that moved
        series = server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        (first,) = other.ask('listEvents')['events']
        other.ask('cancelEvent', _id=first['_id'])
        (second,) = server.ask('listEvents')['events']
        assert second['time'] == iso(NOW + 2 * MINUTE)
        server.ask('updateEvent', _id=second['_id'], time=at(6))
        # Then the series tells what really comes
        expected = [iso(NOW + minutes * MINUTE) for minutes in (3, 4, 5, 6, 6)]
        assert other.ask('getEvent', _id=series['_id'])['occurrences'] == expected
        assert other.ask('listSeries')['series'][0]['occurrences'] == expected
        assert server.ask('listEvents', limit=1)['events'][0]['time'] == expected[0]
        # And a change that changes nothing leaves that as it is
        unchanged = other.ask('updateEvent', _id=series['_id'], eventName='tea', repeat='FREQ=MINUTELY')
        assert unchanged['occurrences'] == expected
        for one in (server, other):
            one.pass_to(NOW + 3 * MINUTE)
            assert one.delivered(NOW) == ['tea']

    def test_who_asks_while_it_is_being_made_sees_none_twice(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        series = server.schedule(repeat='FREQ=MINUTELY')
        before = replace(server.store.get_series(series['_id']), made=NOW)  # type: ignore[type-var]
        monkeypatch.setattr(server.store, 'get_series', lambda id: before)
        assert server.ask('getEvent', _id=series['_id']) == series

    def test_a_change_leaves_a_minute_alone_that_is_near(self, server: Server, other: Server) -> None:
        series = server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        other.now = NOW + MINUTE - LEAD - CHANGE_LEAD
        answer = other.answer('updateEvent', _id=series['_id'], eventName='coffee')
        assert iso(NOW + MINUTE) in answer['warning']
        assert answer['response']['occurrences'][:2] == [iso(NOW + MINUTE), iso(NOW + 2 * MINUTE)]
        for minute in (1, 2):
            for one in (server, other):
                one.pass_to(NOW + minute * MINUTE)
        for one in (server, other):
            assert one.delivered(NOW) == ['tea', 'coffee']

    @pytest.mark.parametrize('closed', [False, True])
    def test_its_end_says_what_still_comes(self, server: Server, other: Server, closed: bool) -> None:
        series = server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        other.now = NOW + MINUTE - LEAD
        if closed:
            server.close(NOW + MINUTE)
        answer = other.answer('cancelEvent', _id=series['_id'])
        assert answer['response']['occurrences'] == []
        assert (iso(NOW + MINUTE) in answer.get('warning', '')) == closed
        server.delivery.publish()
        other.pass_to(NOW + MINUTE)
        for one in (server, other):
            one.pass_to(NOW + 2 * MINUTE)
            assert one.delivered(NOW) == ['tea'] * closed

    def test_a_change_that_was_broken_off_is_completed(
        self, server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        series = server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        for step in ('record', 'occurrences', 'replace', 'add_all', 'replace_all_series'):
            with monkeypatch.context() as broken:
                broken.setattr(server.store, 'replace_series', self.and_then_break(server.store, step, broken))
                assert 'unavailable' in server.fail('updateEvent', _id=series['_id'], eventName=step)
        for minute in (1, 2):
            for one in (other, server):
                one.pass_to(NOW + minute * MINUTE)
        for one in (server, other):
            assert one.delivered(NOW) == [step, step]

    @staticmethod
    def and_then_break(store: Store, step: str, patch: pytest.MonkeyPatch) -> Callable[..., None]:
        """`replace_series`, after which that verb fails."""
        kept = store.replace_series

        def replace_series(old: Any, new: Any) -> None:
            kept(old, new)
            patch.setattr(store, step, Mock(side_effect=StoreUnavailable('away')))

        return replace_series

    def test_it_ends_with_all_that_was_to_come(self, server: Server, other: Server) -> None:
        series = server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        for one in (server, other):
            one.pass_to(NOW + MINUTE)
        cancelled = other.ask('cancelEvent', _id=series['_id'])
        assert (cancelled['time'], cancelled['occurrences']) == (None, [])
        assert server.ask('cancelEvent', _id=series['_id']) == cancelled
        assert server.pending() == [] and server.ask('listSeries')['series'] == []
        for one in (server, other):
            one.pass_to(NOW + 3 * MINUTE)
            assert one.delivered(NOW) == ['tea']
        assert 'has ended' in server.fail('updateEvent', _id=series['_id'], eventName='x')

    def test_all_of_it_changes(self, server: Server, other: Server) -> None:
        series = server.schedule(minutes=1, repeat='FREQ=MINUTELY')
        server.pass_to(NOW + MINUTE)
        changed = other.ask('updateEvent', _id=series['_id'], eventName='coffee', time=at(3), repeat='FREQ=HOURLY')
        assert changed['occurrences'][0] == iso(NOW + 3 * MINUTE)
        back = other.ask('updateEvent', _id=series['_id'], eventName='cocoa')
        assert back['_id'] == series['_id']
        assert server.pending() == ['cocoa']
        for one in (server, other):
            one.pass_to(NOW + 4 * MINUTE)
            assert one.delivered(NOW) == ['tea', 'cocoa']

    @pytest.mark.parametrize(
        ('change', 'error'),
        [
            ({'repeat': 'FREQ=X'}, 'repeat='),
            ({'repeat': None}, "'repeat'"),
            (
                {'repeat': 'FREQ=DAILY;UNTIL=20270115T080500Z', 'time': '2027-01-01 08:00'},
                'names no time in the future',
            ),
        ],
    )
    def test_what_is_wrong_with_a_change_is_named(self, server: Server, change: dict[str, Any], error: str) -> None:
        series = server.schedule(repeat='FREQ=DAILY')
        assert error in server.fail('updateEvent', _id=series['_id'], **change)
        assert server.ask('listSeries')['series'] == [series]

    def test_they_are_listed_page_by_page(self, server: Server) -> None:
        made = {server.schedule(repeat='FREQ=DAILY', eventName=str(number))['_id'] for number in range(5)}
        found, following = [], None
        while True:
            page = server.ask('listSeries', limit=2, **({'after': following} if following else {}))
            found += [one['_id'] for one in page['series']]
            following = page['next']
            if following is None:
                break
        assert len(found) == 5 and set(found) == made

    def test_to_follow_its_rule_is_paid_for_by_a_rest(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        rests: list[float] = []
        monkeypatch.setattr(server.commands._known.rules, '_rest', 1e9)
        monkeypatch.setattr(server.commands._known.rules, '_sleep', rests.append)
        series = [server.schedule(repeat='FREQ=DAILY', eventName=str(number)) for number in range(3)]
        for command, data, least in (
            ('getEvent', {'_id': series[0]['_id']}, 1),
            ('listSeries', {}, 3),
            ('getStatus', {'_id': series[0]['_id']}, 1),
            ('updateEvent', {'_id': series[0]['_id'], 'eventName': 'x'}, 2),
            ('cancelEvent', {'_id': series[0]['_id']}, 1),
        ):
            rests.clear()
            server.ask(command, **data)
            assert len(rests) >= least, command

    def test_what_was_done_is_a_success_however_many_wait(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate, full = server.commands._known.rules, Mock(side_effect=Busy)
        pass_through = gate.pass_through
        for change in ('add_series', 'replace_series'):
            kept = getattr(server.store, change)

            def fill_the_gate(*series: Any, kept: Callable[..., Any] = kept) -> Any:
                monkeypatch.setattr(gate, 'pass_through', lambda patient=False: pass_through() if patient else full())
                return kept(*series)

            monkeypatch.setattr(server.store, change, fill_the_gate)
        id = server.schedule(repeat='FREQ=DAILY')['_id']
        commands: dict[str, dict[str, Any]] = {'updateEvent': {'eventName': 'x'}, 'cancelEvent': {}}
        for command, data in commands.items():
            monkeypatch.setattr(gate, 'pass_through', pass_through)
            server.ask(command, _id=id, **data)
            with pytest.raises(Busy):
                gate.pass_through()

    def test_many_of_them_leave_others_their_turn(self, server: Server) -> None:
        pauses: list[int] = []
        for number in range(3):
            server.schedule(minutes=1, repeat='FREQ=MINUTELY', eventName=str(number))
        server.occurrences._pause = lambda: pauses.append(1)
        server.pass_to(NOW + MINUTE)
        assert len(pauses) == 3

    def test_daylight_changes_move_it_by_the_wall_clock(self, server: Server) -> None:
        series = server.schedule(
            eventName='noon', time='2027-03-27 12:00', timeZone='Europe/Berlin', repeat='FREQ=DAILY'
        )
        assert series['occurrences'][:2] == ['2027-03-27T11:00:00.000Z', '2027-03-28T10:00:00.000Z']


class TestLists:
    def test_what_is_pending_comes_in_order_page_by_page(self, server: Server, other: Server) -> None:
        for number in (3, 1, 2, 5, 4):
            server.schedule(minutes=number, eventName=str(number))
        first = other.ask('listEvents', limit=2)
        assert [event['name'] for event in first['events']] == ['1', '2']
        server.ask('cancelEvent', _id=first['events'][0]['_id'])
        server.schedule(minutes=1, eventName='early')
        second = other.ask('listEvents', limit=2, after=first['next'])
        last = other.ask('listEvents', limit=2, after=second['next'])
        assert [event['name'] for event in second['events'] + last['events']] == ['3', '4', '5']
        assert last['next'] is None

    def test_between_two_times(self, server: Server) -> None:
        for number in range(1, 6):
            server.schedule(minutes=number, eventName=str(number))
        assert server.pending(**{'from': iso(NOW + 2 * MINUTE), 'to': iso(NOW + 4 * MINUTE)}) == ['2', '3', '4']
        server.pass_to(NOW + 3 * MINUTE)
        assert server.pending(**{'from': iso(NOW)}) == ['4', '5']

    def test_history_is_read_on_from_where_one_was(self, server: Server) -> None:
        for number in range(1, 6):
            server.schedule(minutes=number, eventName=str(number))
        server.pass_to(NOW + 3 * MINUTE)
        first = server.ask('getReminders', since=iso(NOW), limit=2)
        assert [one['name'] for one in first['reminders']] == ['1', '2'] and first['complete']
        second = server.ask('getReminders', since=first['next'])
        assert [one['name'] for one in second['reminders']] == ['3']
        assert server.ask('getReminders', since=second['next'])['reminders'] == []
        server.pass_to(NOW + 5 * MINUTE)
        assert server.delivered(NOW + 4 * MINUTE) == ['4', '5']
        assert [one['name'] for one in server.ask('getReminders', since=second['next'])['reminders']] == ['4', '5']
        by_id = server.ask('getReminders', since=first['reminders'][1]['_id'])
        assert [one['name'] for one in by_id['reminders']] == ['3', '4', '5']

    def test_history_that_was_deleted_is_not_complete(self, server: Server) -> None:
        server.schedule(minutes=1)
        server.pass_to(NOW + 3 * MINUTE)
        server.store.purge(NOW + 2 * MINUTE)
        server.pass_to(NOW + 4 * MINUTE)
        assert server.ask('getReminders', since=iso(NOW)) | {'next': ''} == {
            'reminders': [],
            'next': '',
            'complete': False,
        }

    @pytest.mark.parametrize(
        ('command', 'field', 'value'),
        [
            *(('listEvents', 'limit', value) for value in (0, -1, 1_001, '5', True, 1.5)),
            ('listEvents', 'limit', []),
            *(('listEvents', 'from', value) for value in (5, '2027-01-15', 'x', '2027-01-15T08:00')),
            ('listEvents', 'to', {}),
            ('listEvents', 'after', 'x'),
            ('listEvents', 'channel', 'ü'),
            ('listSeries', 'after', 5),
            ('getReminders', 'since', 'x'),
            ('getReminders', 'since', None),
        ],
    )
    def test_what_is_wrong_is_named(self, server: Server, command: str, field: str, value: Any) -> None:
        assert field in server.fail(command, **{field: value})

    def test_status_tells_of_events_and_series(self, server: Server) -> None:
        event, series = server.schedule(), server.schedule(repeat='FREQ=DAILY')
        assert server.ask('getStatus')['next']['name'] == 'tea'
        assert server.ask('getStatus', _id=event['_id'])['event'] == {**event, 'state': 'pending'}
        assert server.ask('getStatus', _id=series['_id'])['event']['occurrences']

    def test_what_is_rare_is_looked_for_in_portions(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, 'PORTION', 2)
        monkeypatch.setattr(search, 'SEARCHED', 4)
        for number in range(9):
            server.schedule(channel='many', eventName=str(number))
        server.schedule(minutes=6, channel='rare', eventName='found')
        pages: list[list[str]] = []
        following = None
        while not pages or following:
            page = server.ask('listEvents', channel='rare', **({'after': following} if following else {}))
            pages.append([event['name'] for event in page['events']])
            following = page['next']
        assert pages == [[], [], ['found']]
        server.pass_to(NOW + 6 * MINUTE)
        pages, since = [], iso(NOW)
        while not pages or pages[-1] != ['found']:
            page = server.ask('getReminders', channel='rare', since=since)
            pages.append([event['name'] for event in page['reminders']])
            since = page['next']
        assert pages == [[], [], ['found']]


class TestIdentity:
    ANNE = Identity(frozenset({SCHEDULE}), 'anne')
    BOB = Identity(frozenset({SCHEDULE, LISTEN}), 'bob')
    NOBODY = Identity(frozenset({SCHEDULE, LISTEN}))

    @pytest.mark.parametrize('more', [{}, {'repeat': 'FREQ=DAILY'}])
    def test_changing_what_others_have_scheduled_takes_manage(self, server: Server, more: dict[str, Any]) -> None:
        event = server.schedule(identity=self.ANNE, **more)
        for command in ('cancelEvent', 'updateEvent'):
            for other in (self.BOB, self.NOBODY):
                assert "scope 'manage' is required" in server.fail(command, other, _id=event['_id'], eventName='x')
        assert server.ask('updateEvent', self.ANNE, _id=event['_id'], eventName='x')['name'] == 'x'
        assert server.ask('cancelEvent', Identity(frozenset({MANAGE})), _id=event['_id'])

    def test_what_nobody_owns_takes_manage(self, server: Server) -> None:
        event = server.schedule(identity=self.NOBODY)
        assert "scope 'manage' is required" in server.fail('cancelEvent', self.NOBODY, _id=event['_id'])

    def test_who_may_not_listen_knows_of_their_own_alone(self, server: Server) -> None:
        own, others = server.schedule(identity=self.ANNE), server.schedule()
        assert server.ask('getEvent', self.ANNE, _id=own['_id'])
        for command in ('getEvent', 'cancelEvent', 'getStatus'):
            assert 'is not found' in server.fail(command, self.ANNE, _id=others['_id'])
        assert 'next' not in server.ask('getStatus', self.ANNE)
        assert "scope 'listen or manage' is required" in server.fail('listEvents', self.ANNE)

    def test_channels_that_a_token_does_not_name_are_not_there(self, server: Server) -> None:
        member = Identity(SCOPES, 'member', channels=frozenset({'a'}))
        for channel in ('a', 'b', None):
            server.schedule(minutes=1, channel=channel, eventName=str(channel))
            server.schedule(minutes=5, channel=channel, eventName=str(channel))
            server.schedule(minutes=6, channel=channel, eventName=str(channel), repeat='FREQ=DAILY')
        hidden = [event for event in server.ask('listEvents')['events'] if event['name'] == 'b']
        server.pass_to(NOW + MINUTE)
        for command, field in (('listEvents', 'events'), ('listSeries', 'series'), ('getReminders', 'reminders')):
            found = server.ask(command, member, since=iso(NOW))[field]
            assert {one['name'] for one in found} == {'a', 'None'}
            assert "channel='b' is not allowed" in server.fail(command, member, since=iso(NOW), channel='b')
        for event in hidden:
            assert 'is not found' in server.fail('getEvent', member, _id=event['_id'])
        assert "channel='b' is not allowed" in server.fail('scheduleEvent', member, **wanted(5, channel='b'))
        own = server.schedule(identity=member, channel='a')
        assert "channel='b' is not allowed" in server.fail('updateEvent', member, _id=own['_id'], channel='b')


def test_a_series_that_cannot_be_read_keeps_nothing_from_being_delivered(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    series = server.schedule(minutes=1, repeat='FREQ=MINUTELY')
    kept = server.store.get_series(series['_id'])
    assert kept is not None
    server.store.replace_series(kept, replace(kept, repeat='nonsense'))
    server.schedule(minutes=2, eventName='kept')
    server.pass_to(NOW + 2 * MINUTE)
    assert server.delivered(NOW) == ['tea', 'kept']
    assert 'ends, as it cannot be read' in caplog.text

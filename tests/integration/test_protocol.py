"""The commands as existing clients know them, to the letter, and what a client may send without harm."""

import json
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytz

from tests.clients import KINDS, Client, Clients, schedule_event
from tests.server import Server, wall
from tests.wire import Polling, SocketIO

CLOCK = '2026-03-01 10:00:05'
FUTURE = '2026-03-01 11:30'
JAVASCRIPT = [kind for kind in KINDS if kind != 'python']
ID = re.compile('[0-9a-f]{24}')

JSON_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    '',
    ' ',
    'text',
    [],
    [None],
    [[]],
    {},
    {'a': {'b': []}},
]


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp('protocol'), CLOCK) as server:
        yield server.start()
        assert 'Traceback' not in server.log(), server.log()


@pytest.fixture(scope='module')
def clients(server: Server, request: pytest.FixtureRequest) -> Iterator[Clients]:
    with Clients(lambda: request.getfixturevalue('driver')) as connect:
        yield connect


@pytest.fixture(scope='module', params=['js-4.8', 'js-3.1', 'python'])
def client(server: Server, clients: Clients, request: pytest.FixtureRequest) -> Iterator[Client]:
    """An official client that must still be connected when the module's tests are done with it."""
    client = clients(server.url, request.param)
    yield client
    assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'
    assert [event for event in client.events if event['event'] in ('disconnect', 'connect_error')] == []


def assert_failure(answer: Any, *parts: str) -> None:
    """`answer` is a failure, key for key, and its text contains all `parts`."""
    assert isinstance(answer, dict) and set(answer) == {'status', 'error'}, answer
    assert answer['status'] == 'failure'
    assert isinstance(answer['error'], str)
    for part in parts:
        assert part in answer['error']


class TestSuccess:
    def test_time_zones(self, client: Client) -> None:
        answer = client.command({'command': 'getAllTimeZones'})
        assert answer == {'status': 'success', 'response': sorted(pytz.all_timezones)}

    def test_time_zones_with_data_that_nobody_asked_for(self, client: Client) -> None:
        assert client.command({'command': 'getAllTimeZones', 'data': [1], 'more': 2})['status'] == 'success'

    def test_an_event(self, client: Client) -> None:
        answer = client.command(schedule_event('Ring the bell', '2030-11-30 04:00', 'Asia/Kolkata'))
        of = answer['response'].pop('_id')
        assert answer == {
            'status': 'success',
            'response': {'name': 'Ring the bell', 'time': '2030-11-29T22:30:00.000Z'},
        }
        assert ID.fullmatch(of)

    def test_every_event_has_an_id_of_its_own(self, client: Client) -> None:
        assert len({client.schedule('same', FUTURE)['_id'] for _ in range(10)}) == 10

    @pytest.mark.parametrize(
        'name',
        [' ', ' padded ', 'ünïcödé 🦉 漢字', 'a\nb\tc', '<b>"quoted"\\</b>', '\x00', '__proto__', '0', 'x' * 1000],
    )
    def test_a_name_comes_back_as_it_was_sent(self, client: Client, name: str) -> None:
        assert client.schedule(name, FUTURE)['name'] == name

    @pytest.mark.parametrize('zone', ['asia/kolkata', 'ASIA/KOLKATA', 'Asia/Kolkata', 'aSiA/kOlKaTa'])
    def test_zone_names_match_in_any_letter_case(self, client: Client, zone: str) -> None:
        assert client.schedule('x', '2030-11-30 04:00', zone)['time'] == '2030-11-29T22:30:00.000Z'

    def test_every_listed_zone_can_be_used(self, client: Client) -> None:
        zones = client.command({'command': 'getAllTimeZones'})['response']
        asked = [client.ask('command', schedule_event('x', '2030-06-15 12:00', zone)) for zone in zones]
        assert {client.answer(ack)['status'] for ack in asked} == {'success'}

    def test_the_next_minute_is_in_the_future(self, server: Server, client: Client) -> None:
        due = server.next_minute(margin=1)
        assert client.schedule('soon', wall(due))['time'].endswith(':00.000Z')

    @pytest.mark.parametrize('far', ['9999-12-30 23:59', '2099-12-31 23:59'])
    def test_the_far_future_is_in_the_future(self, client: Client, far: str) -> None:
        assert client.schedule('far', far)['time'] == far.replace(' ', 'T') + ':00.000Z'

    @pytest.mark.parametrize('extra', [{'eventId': 1}, {'status': None}, {'_id': 'mine'}, {'name': 'other'}])
    def test_keys_that_the_protocol_does_not_know_change_nothing(self, client: Client, extra: dict[str, Any]) -> None:
        message = schedule_event('x', FUTURE)
        message['data'] |= extra
        answer = client.command(message)
        assert set(answer['response']) == {'name', 'time', '_id'}
        assert answer['response']['name'] == 'x' and answer['response']['_id'] != 'mine'


class TestWarning:
    """A local time that a zone skips means the instant as far after the change; one that it repeats, the first."""

    @pytest.mark.parametrize(
        ('zone', 'local', 'instant'),
        [
            ('Europe/Berlin', '2026-03-29 02:30', '2026-03-29T01:30'),
            ('America/New_York', '2027-03-14 02:00', '2027-03-14T07:00'),
            ('Australia/Lord_Howe', '2026-10-04 02:15', '2026-10-03T15:45'),
            ('America/Santiago', '2026-09-06 00:30', '2026-09-06T04:30'),
        ],
    )
    def test_a_time_that_the_zone_skips(self, client: Client, zone: str, local: str, instant: str) -> None:
        answer = client.command(schedule_event('gap', local, zone))
        assert set(answer) == {'status', 'response', 'warning'}
        assert set(answer['response']) == {'name', 'time', '_id'}
        assert answer['response']['time'] == f'{instant}:00.000Z'
        assert zone in answer['warning'] and local in answer['warning']

    @pytest.mark.parametrize(
        ('zone', 'local', 'instant'),
        [
            ('Europe/Berlin', '2026-10-25 02:30', '2026-10-25T00:30'),
            ('America/New_York', '2026-11-01 01:00', '2026-11-01T05:00'),
            ('Australia/Lord_Howe', '2026-04-05 01:45', '2026-04-04T14:45'),
        ],
    )
    def test_a_time_that_the_zone_repeats(self, client: Client, zone: str, local: str, instant: str) -> None:
        answer = client.command(schedule_event('fold', local, zone))
        assert set(answer) == {'status', 'response', 'warning'}
        assert answer['response']['time'] == f'{instant}:00.000Z'
        assert zone in answer['warning'] and local in answer['warning']

    @pytest.mark.parametrize(
        'local', ['2026-03-29 01:59', '2026-03-29 03:00', '2026-10-25 01:59', '2026-10-25 03:00', '2026-07-01 02:30']
    )
    def test_no_other_time_warns(self, client: Client, local: str) -> None:
        assert set(client.command(schedule_event('plain', local, 'Europe/Berlin'))) == {'status', 'response'}


class TestFailure:
    @pytest.mark.parametrize('message', [value for value in JSON_VALUES if not value or not isinstance(value, dict)])
    def test_what_is_no_object(self, client: Client, message: Any) -> None:
        assert_failure(client.command(message), 'Invalid message passed')

    @pytest.mark.parametrize('message', [{}, {'data': {}}, {'command': None}, {'command': ''}, {'Command': 'x'}])
    def test_an_object_without_a_command(self, client: Client, message: Any) -> None:
        assert_failure(client.command(message), 'Invalid message passed')

    def test_no_message_at_all(self, client: Client) -> None:
        assert_failure(client.command(), 'Invalid message passed')

    @pytest.mark.parametrize(
        'command',
        ['x', 'getalltimezones', ' getAllTimeZones', 'scheduleEvent\n', '__class__', 'constructor', '__proto__', 'run']
        + [value for value in JSON_VALUES if value],
    )
    def test_an_unknown_command(self, client: Client, command: Any) -> None:
        answer = client.command({'command': command, 'data': {}})
        assert answer == {'status': 'failure', 'error': 'un-recognized command'}

    @pytest.mark.parametrize('data', JSON_VALUES)
    def test_data_of_any_type(self, client: Client, data: Any) -> None:
        assert_failure(client.command({'command': 'scheduleEvent', 'data': data}), "'eventName' is required")

    def test_no_data(self, client: Client) -> None:
        assert_failure(client.command({'command': 'scheduleEvent'}), "'eventName' is required")

    @pytest.mark.parametrize('name', [value for value in JSON_VALUES if not isinstance(value, str) or not value])
    def test_a_name_that_is_none_is_the_first_thing_said(self, client: Client, name: Any) -> None:
        answer = client.command(schedule_event(name, time='nonsense', zone='nowhere'))
        assert_failure(answer, "'eventName' is required")

    @pytest.mark.parametrize('zone', [value for value in JSON_VALUES if not isinstance(value, str)])
    def test_a_zone_that_is_no_text(self, client: Client, zone: Any) -> None:
        assert_failure(client.command(schedule_event('x', FUTURE, zone)), "'timeZone' is required")

    @pytest.mark.parametrize(
        'zone', ['Asia/Atlantis', 'UTC+1', ' UTC', 'UTC ', '../etc/passwd', 'Europe', 'ÜTC', 'UTC\n']
    )
    def test_a_zone_that_does_not_exist(self, client: Client, zone: str) -> None:
        assert_failure(client.command(schedule_event('x', FUTURE, zone)), f"timeZone='{zone}' is invalid")

    @pytest.mark.parametrize('time', [value for value in JSON_VALUES if not isinstance(value, str)])
    def test_a_time_that_is_no_text(self, client: Client, time: Any) -> None:
        assert_failure(client.command(schedule_event('x', time)), "'time' is required")

    @pytest.mark.parametrize('missing', ['eventName', 'timeZone', 'time'])
    def test_a_field_that_is_not_there(self, client: Client, missing: str) -> None:
        message = schedule_event('x', FUTURE)
        del message['data'][missing]
        assert_failure(client.command(message), f"'{missing}' is required")

    @pytest.mark.parametrize(
        'time',
        [
            'tomorrow', '2030-1-1 10:00', '2030-01-01', '2030-01-01T10:00', '2030-01-01 10:00:00', '2030-01-01 10:00Z',
            ' 2030-01-01 10:00', '2030-01-01 10:00 ', '2030-01-01 10:00\n', '2030-01-01  10:00', '2030/01/01 10:00',
            '2030-02-30 10:00', '2031-02-29 10:00', '2030-13-01 10:00', '2030-00-01 10:00', '2030-01-00 10:00',
            '2030-01-01 24:00', '2030-01-01 10:60', '-2030-01-01 10:00', '+2030-01-01 10:0', '12030-01-01 10:00',
            '２０３０-01-01 10:00', '٢٠٣٠-٠١-٠١ ١٠:٠٠', '2030-01-01 1०:00', '01-01-2030 10:00', '1893456000000',  # noqa: RUF001
        ],
    )  # fmt: skip
    def test_a_time_of_another_form_or_no_such_day(self, client: Client, time: str) -> None:
        assert_failure(client.command(schedule_event('x', time)), f"time='{time}' is invalid")

    @pytest.mark.parametrize('time', ['2026-03-01 09:59', '2020-02-29 10:00', '1970-01-01 00:00', '0001-01-01 00:00'])
    def test_a_time_that_is_past(self, client: Client, time: str) -> None:
        assert_failure(client.command(schedule_event('x', time)), f"time='{time}", 'should be in future')

    def test_the_current_minute_is_past(self, server: Server, client: Client) -> None:
        time = wall(server.now())
        assert_failure(client.command(schedule_event('x', time)), f"time='{time}", 'should be in future')

    def test_past_is_meant_in_the_zone(self, client: Client) -> None:
        assert client.command(schedule_event('x', '2026-03-01 09:00', 'America/New_York'))['status'] == 'success'
        answer = client.command(schedule_event('x', '2026-03-01 15:00', 'Asia/Kolkata'))
        assert_failure(answer, "time='2026-03-01 15:00", 'should be in future')


class TestHarmless:
    """Whatever a client sends, its connection and the server go on."""

    def test_a_message_without_an_ack_callback(self, client: Client) -> None:
        client.emit('command', {'command': 'getAllTimeZones'})
        client.emit('command', schedule_event('no ack', FUTURE))
        client.emit('command', 'nonsense')
        client.emit('command')
        assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'

    @pytest.mark.parametrize('extra', [[None], [1, 2, 3], ['text'], [{'command': 'x'}, []]])
    def test_extra_arguments_are_ignored(self, client: Client, extra: list[Any]) -> None:
        assert client.command({'command': 'getAllTimeZones'}, *extra)['status'] == 'success'
        assert_failure(client.command(None, *extra), 'Invalid message passed')

    def test_an_event_of_another_name(self, client: Client) -> None:
        client.emit('eventReminder', {'_id': 'forged'})
        client.emit('message', 'text')
        client.emit('*', 1)
        assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'
        assert client.reminders('forged') == []

    def test_half_of_a_surrogate_pair(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            for field in ('eventName', 'timeZone', 'time'):
                data = {'eventName': 'x', 'timeZone': 'UTC', 'time': FUTURE, field: '\ud800'}
                socket.send('421' + json.dumps(['command', {'command': 'scheduleEvent', 'data': data}]))
                assert_failure(json.loads(socket.read_message().removeprefix('431'))[0])

    @pytest.mark.parametrize('transport', ['websocket', 'polling'])
    @pytest.mark.parametrize('kind', JAVASCRIPT)
    def test_binary_data(self, server: Server, connect: Clients, kind: str, transport: str) -> None:
        client = connect(server.url, kind, transport)
        assert_failure(client.command({'$binary': 'AQID'}), 'Invalid message passed')
        message = schedule_event({'$binary': 'AQID'}, FUTURE)
        assert_failure(client.command(message), "'eventName' is required")
        message['data'] = {**message['data'], 'eventName': 'x', 'payload': {'picture': {'$binary': 'AQID'}}}
        assert_failure(client.command(message), "'payload' holds binary data")
        assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'
        assert [event for event in client.events if event['event'] == 'disconnect'] == []

    def test_200_bad_messages_of_every_shape(self, client: Client) -> None:
        asked = [client.ask('command', *arguments) for arguments in bad_messages(random.Random(5), 200)]
        for ack in asked:
            assert_failure(client.answer(ack))
        assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'

    def test_200_bad_messages_without_a_callback(self, client: Client) -> None:
        for arguments in bad_messages(random.Random(6), 200):
            client.emit('command', *arguments)
        assert client.command({'command': 'getAllTimeZones'})['status'] == 'success'


def bad_messages(dice: random.Random, count: int) -> Iterator[list[Any]]:
    """Arguments for `command` that are all wrong in one place or more, of every shape."""
    for _ in range(count):
        good = schedule_event('x', FUTURE)
        place = dice.choice(['message', 'command', 'data', 'eventName', 'timeZone', 'time'])
        wrong = _any_value(dice, depth=4)
        if place == 'message':
            message = wrong
        elif place in good:
            message = good | {place: wrong}
        else:
            if place == 'eventName' and isinstance(wrong, str):
                wrong = ''  # any other text is a name
            message = good | {'data': good['data'] | {place: wrong}}
        yield [message, *(_any_value(dice, depth=2) for _ in range(dice.choice([0, 0, 1, 3])))]


def _any_value(dice: random.Random, depth: int) -> Any:
    """A JSON value of any shape in which no valid command, zone or time occurs."""
    kind = dice.randrange(8 if depth else 6)
    if kind == 6:
        return [_any_value(dice, depth - 1) for _ in range(dice.randrange(4))]
    if kind == 7:
        keys = ['command', 'data', 'eventName', 'time', 'status', '__proto__', '', 'é']
        return {dice.choice(keys): _any_value(dice, depth - 1) for _ in range(dice.randrange(4))}
    return [
        None,
        dice.random() < 0.5,
        dice.randrange(-(2**60), 2**60),
        dice.uniform(-1e300, 1e300),
        ''.join(dice.choices('ab "\'\\\n\x00é漢🦉{}[]', k=dice.randrange(40))),
        dice.choice(['', '0', 'null', '2030-02-30 10:00', 'Asia/Atlantis', '2026-03-01 09:00']),
    ][kind]


class TestConnecting:
    def test_connect_is_answered_with_an_id(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            assert isinstance(socket.connected['sid'], str)
            assert set(socket.connected) <= {'sid', 'pid'}

    @pytest.mark.parametrize('payload', ['{}', '{"token":"abc"}', '{"since":null}', '{"pid":1,"offset":2}'])
    def test_connect_takes_a_payload(self, server: Server, payload: str) -> None:
        with SocketIO(server.url, f'40{payload}') as socket:
            assert socket.connected['sid']

    def test_an_unknown_namespace_is_refused_and_the_connection_goes_on(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            socket.send('40/random,')
            assert socket.read_message() == '44/random,{"message":"Invalid namespace"}'
            socket.send('40/other?token=1,{"a":1}')
            assert socket.read_message() == '44/other,{"message":"Invalid namespace"}'
            socket.send('421["command",{}]')
            assert socket.read_message().startswith('431[')

    def test_over_polling_too(self, server: Server) -> None:
        session = Polling(server.url)
        session.post('40/random,')
        assert session.get().text == '44/random,{"message":"Invalid namespace"}'

    @pytest.mark.parametrize('kind', JAVASCRIPT)
    def test_clients_are_told_so(self, server: Server, connect: Clients, kind: str) -> None:
        client = connect(f'{server.url}/random', kind, wait=False)
        assert client.wait_for('connect_error')['message'] == 'Invalid namespace'

    def test_a_client_that_disconnects_can_connect_again_on_the_same_connection(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            socket.send('41')
            socket.send('40')
            assert socket.read_message().startswith('40{')
            socket.send('421["command",{}]')
            assert socket.read_message().startswith('431[')

    def test_acks_carry_the_number_that_was_asked_with(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            for number in ('0', '7', '456', '999999999999999'):
                socket.send(f'42{number}["command",{{}}]')
                assert socket.read_message().startswith(f'43{number}[')

    def test_one_message_does_not_wait_for_anothers_answer(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            begin = time.monotonic()
            for number in range(100):
                socket.send(f'42{number}' + json.dumps(['command', schedule_event('x', FUTURE)]))
            answers = {socket.read_message().partition('[')[0] for _ in range(100)}
            assert answers == {f'43{number}' for number in range(100)}
            assert time.monotonic() - begin < 5

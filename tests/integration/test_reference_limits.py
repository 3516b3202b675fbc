"""The limits that the reference names for what a message holds: up to them all is well, one beyond is refused as it
says. Those of time, of rates and of crowds have tests where they are kept."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reminder.specification.protocol import LIMITS
from tests.server import Server
from tests.wire import SocketIO, WebSocket

VALUES = {limit.of: limit.value for limit in LIMITS}


def schedule(**more: Any) -> dict[str, Any]:
    data = {'eventName': 'x', 'time': '2060-01-01 00:00', 'timeZone': 'UTC', **more}
    return {'command': 'scheduleEvent', 'data': data}


def rule(length: int) -> str:
    begin = 'FREQ=YEARLY;BYMONTH='
    rest = length - len(begin)
    return begin + ('1' if rest % 2 else '12') + ',1' * ((rest - 1) // 2)


COMMANDS: dict[str, Callable[[int], dict[str, Any]]] = {
    '``eventName``': lambda number: schedule(eventName='é' * number),
    'a channel': lambda number: schedule(channel='c' * number),
    '``payload``': lambda number: schedule(payload='x' * (number - 2)),
    '``key``': lambda number: schedule(key='é' * number),
    '``repeat``': lambda number: schedule(repeat=rule(number)),
    '``COUNT`` in ``repeat``': lambda number: schedule(repeat=f'FREQ=DAILY;COUNT={number}'),
    '``INTERVAL`` in ``repeat``': lambda number: schedule(repeat=f'FREQ=MINUTELY;INTERVAL={number}'),
    '``limit``': lambda number: {'command': 'listEvents', 'data': {'limit': number}},
}


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp('limits')) as server:
        yield server.start()


def limit(of: str) -> int:
    """The first number of a limit, without the thousands' commas."""
    found = re.search(r'^[\d,]+|(?<={1,)\d+', VALUES[of])
    assert found is not None
    return int(found[0].replace(',', ''))


def ask(client: SocketIO, message: dict[str, Any]) -> dict[str, Any]:
    client.send('420' + json.dumps(['command', message], ensure_ascii=False))
    (answer,) = json.loads(client.read_message().removeprefix('430'))
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize('of', COMMANDS)
def test_a_command_beyond_it_fails(server: Server, of: str) -> None:
    with SocketIO(server.url) as client:
        assert ask(client, COMMANDS[of](limit(of)))['status'] == 'success'
        assert ask(client, COMMANDS[of](limit(of) + 1))['status'] == 'failure'


def test_an_error_repeats_no_more_of_a_value(server: Server) -> None:
    most = limit('what an ``error`` repeats of a value')
    with SocketIO(server.url) as client:
        for length, shown in ((most, 'x' * most), (most + 1, 'x' * most + '…')):
            answer = ask(client, {'command': 'getEvent', 'data': {'_id': 'x' * length}})
            assert answer == {'status': 'failure', 'error': f"_id='{shown}' is not found"}


def test_a_client_with_more_channels_is_refused(server: Server) -> None:
    most = limit('``channels`` of a client')
    for number, begin in ((most, '40{"sid"'), (most + 1, '44{"message":"\'channels\'')):
        with WebSocket(server.url) as client:
            client.read()
            client.send('40' + json.dumps({'channels': [f'c{one}' for one in range(number)]}))
            assert client.read().startswith(begin)


def test_a_longer_message_ends_the_connection(server: Server) -> None:
    most = limit('one message')
    with SocketIO(server.url) as client:
        message = '420' + json.dumps(['command', {'command': 'getStatus', 'x': ''}])
        client.send(message.replace('""', f'"{"x" * (most - len(message))}"'))
        assert client.read_message().startswith('430[{"status":"success"')
        client.send(message.replace('""', f'"{"x" * (most + 1 - len(message))}"'))
        assert client.close_code() == 1009

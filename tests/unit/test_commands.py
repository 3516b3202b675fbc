"""The table of commands: every message is answered with an envelope, whatever is in it and whatever fails."""

import json
import logging
from contextlib import suppress
from typing import Any
from unittest.mock import create_autospec

import pytest
import pytz
from hypothesis import given, settings
from hypothesis import strategies as st

from reminder.commands import Commands
from reminder.errors import MinuteClosed, StoreUnavailable
from reminder.models.event import MINUTE, Event, Place, Record
from reminder.models.store import Store
from reminder.services import events
from reminder.services.delivery import Delivery
from reminder.services.identity import EVERYBODY, LISTEN, MANAGE, SCHEDULE, Identity
from reminder.services.log import Log
from reminder.services.punctuality import Punctuality
from reminder.services.series import Occurrences
from tests.logs import logging_to_stderr

NOW = 1_606_651_230_000  # 2020-11-29 12:00:30 UTC
DATA = {'eventName': 'tea', 'timeZone': 'Asia/Kolkata', 'time': '2020-11-30 04:00'}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


OTHERS = {
    'getEvent': ['_id'],
    'cancelEvent': ['_id'],
    'updateEvent': ['_id'],
    'listEvents': ['from', 'to', 'channel', 'limit', 'after'],
    'listSeries': ['channel', 'limit', 'after'],
    'getReminders': ['since', 'channel', 'limit'],
    'getStatus': ['_id'],
}
"""The fields of the commands that do not schedule."""


def nothing() -> Any:
    """A store without any event."""
    store = create_autospec(Store, instance=True)
    store.add.side_effect = store.add_series.side_effect = lambda kept: kept
    store.get.return_value = store.get_series.return_value = None
    store.read.return_value = store.list_series.return_value = []
    store.record.return_value = Record(log='x', opened=0, closed=0, delivered=0, purged=0)
    return store


NOTHING = nothing()


@pytest.fixture
def store() -> Any:
    return nothing()


def commands_on(store: Any) -> Commands:
    delivery, log = create_autospec(Delivery, instance=True), create_autospec(Log, instance=True)
    delivery.counts, delivery.behind.return_value = {}, 0
    log.end = Place(NOW, '')
    log.locate.return_value = log.end, True
    return Commands(
        store, log, delivery, Occurrences(store, 100, lambda: None), Punctuality(), lambda: NOW, lambda seconds: None
    )


@pytest.fixture
def commands(store: Any) -> Commands:
    return commands_on(store)


def schedule(data: object) -> dict[str, object]:
    return {'command': 'scheduleEvent', 'data': data}


def test_all_time_zones_are_answered_with_and_without_data(commands: Commands) -> None:
    for message in ({}, {'data': None}, {'data': {'x': 1}}, {'data': [5]}):
        answer = commands.run({'command': 'getAllTimeZones', **message}, EVERYBODY)
        assert answer == {'status': 'success', 'response': sorted(pytz.all_timezones)}


def test_a_scheduled_event_is_kept_and_acked(commands: Commands, store: Any) -> None:
    answer = commands.run(schedule(DATA), EVERYBODY)
    (event,) = store.add.call_args.args
    assert event == Event(event.id, 'tea', NOW - 30_000 + 630 * MINUTE, '2020-11-30 04:00', 'Asia/Kolkata')
    assert answer == {
        'status': 'success',
        'response': {'name': 'tea', 'time': '2020-11-29T22:30:00.000Z', '_id': event.id},
    }


def test_a_warning_stands_beside_the_response(commands: Commands) -> None:
    answer = commands.run(schedule(DATA | {'timeZone': 'Europe/Berlin', 'time': '2021-03-28 02:30'}), EVERYBODY)
    assert answer.keys() == {'status', 'response', 'warning'}
    assert answer['response']['time'] == '2021-03-28T01:30:00.000Z'
    assert '2021-03-28 03:30' in answer['warning']


@pytest.mark.parametrize(
    'message', [None, True, 0, 1.5, '', 'scheduleEvent', [], ['scheduleEvent'], {}, {'data': DATA}, {'Command': 'x'}]
)
def test_a_message_without_a_command_is_invalid(commands: Commands, message: object) -> None:
    answer = commands.run(message, EVERYBODY)
    assert answer == {'status': 'failure', 'error': "Invalid message passed: an object with a 'command' is required"}


@pytest.mark.parametrize('command', [None, ''])
def test_an_empty_command_is_none(commands: Commands, command: object) -> None:
    assert 'Invalid message passed' in commands.run({'command': command}, EVERYBODY)['error']


@pytest.mark.parametrize(
    'command',
    ['x', 'scheduleevent', ' scheduleEvent', '__init__', 'run', True, 5, 1.5, [], ['x'], {}, {'a': 1}, '\ud800'],
)
def test_a_command_that_is_not_in_the_table_is_not_recognized(commands: Commands, command: object) -> None:
    assert commands.run({'command': command, 'data': DATA}, EVERYBODY) == {
        'status': 'failure',
        'error': 'un-recognized command',
    }


@pytest.mark.parametrize('message', [{'command': 'scheduleEvent'}, schedule(None), schedule([DATA])])
def test_an_event_needs_data(commands: Commands, store: Any, message: object) -> None:
    assert commands.run(message, EVERYBODY) == {'status': 'failure', 'error': "'eventName' is required"}
    store.add.assert_not_called()


def test_invalid_input_is_not_kept(commands: Commands, store: Any) -> None:
    answer = commands.run(schedule(DATA | {'time': '2020-11-29 17:30'}), EVERYBODY)
    assert answer == {'status': 'failure', 'error': "time='2020-11-29 17:30' should be in future"}
    store.add.assert_not_called()


def test_a_minute_that_was_closed_meanwhile_is_past(commands: Commands, store: Any) -> None:
    store.add.side_effect = MinuteClosed
    answer = commands.run(schedule(DATA), EVERYBODY)
    assert answer == {'status': 'failure', 'error': "time='2020-11-30 04:00' should be in future"}


def test_a_missing_database_is_answered_in_plain_words(commands: Commands, store: Any) -> None:
    store.add.side_effect = StoreUnavailable('mongo-7.internal: connection refused')
    answer = commands.run(schedule(DATA), EVERYBODY)
    assert answer.keys() == {'status', 'error'}
    assert 'try again' in answer['error']
    assert 'mongo' not in answer['error']


def test_after_a_missing_database_the_next_command_works(commands: Commands, store: Any) -> None:
    store.add.side_effect = [StoreUnavailable('away'), events.schedule(events.wanted(DATA), NOW).event]
    assert [commands.run(schedule(DATA), EVERYBODY)['status'] for _ in range(2)] == ['failure', 'success']


@pytest.mark.parametrize('level', ['INFO', 'DEBUG'])
def test_a_defect_is_logged_with_its_traceback_and_answered(
    commands: Commands, store: Any, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    """Given an error that repeats what it was given, then the event's name is in no line above debug."""
    store.add.side_effect = lambda event: {}[event.name]
    with logging_to_stderr(level):
        answer = commands.run(schedule(DATA | {'eventName': 'a private matter'}), EVERYBODY)
    assert answer == {'status': 'failure', 'error': 'internal error'}
    said = capsys.readouterr().err
    assert 'level=error logger=reminder.commands event=command_failed' in said
    assert 'scheduleEvent failed: KeyError' in said
    assert 'test_commands.py' in said
    assert ('private' in said) == (level == 'DEBUG')


def test_what_clients_do_wrong_is_no_log_line(commands: Commands, store: Any, caplog: pytest.LogCaptureFixture) -> None:
    store.add.side_effect = StoreUnavailable('away')
    with caplog.at_level(logging.INFO):
        for message in (None, {'command': 'x'}, schedule(None), schedule(DATA)):
            assert commands.run(message, EVERYBODY)['status'] == 'failure'
    assert not caplog.records


class TestScopes:
    """What an identity may do, and since when not any longer."""

    def test_to_schedule_takes_its_scope(self, commands: Commands, store: Any) -> None:
        for scopes in ({LISTEN}, {LISTEN, MANAGE}, set()):
            answer = commands.run(schedule(DATA), Identity(frozenset(scopes)))
            assert answer == {'status': 'failure', 'error': "scope 'schedule' is required"}
        store.add.assert_not_called()
        assert commands.run(schedule(DATA), Identity(frozenset({SCHEDULE})))['status'] == 'success'

    def test_what_is_wrong_with_an_event_is_told_to_those_alone_who_may_schedule(self, commands: Commands) -> None:
        assert commands.run(schedule(None), Identity(frozenset({LISTEN})))['error'] == "scope 'schedule' is required"

    @pytest.mark.parametrize('scope', [LISTEN, SCHEDULE, MANAGE])
    def test_to_ask_takes_none(self, commands: Commands, store: Any, scope: str) -> None:
        store.record.return_value = Record(log='x', opened=0, closed=0, delivered=0, purged=0)
        store.read.return_value = []
        for command in ('getAllTimeZones', 'getStatus'):
            assert commands.run({'command': command}, Identity(frozenset({scope})))['status'] == 'success'

    @pytest.mark.parametrize(('expires', 'status'), [(NOW - 1, 'failure'), (NOW, 'failure'), (NOW + 1, 'success')])
    def test_once_its_token_has_expired_nothing_is_done(
        self, commands: Commands, store: Any, expires: int, status: str
    ) -> None:
        identity = Identity(frozenset({SCHEDULE}), expires=expires)
        for message in (schedule(DATA), {'command': 'getAllTimeZones'}):
            answer = commands.run(message, identity)
            assert answer['status'] == status
            assert answer.get('error', 'token has expired') == 'token has expired'
        assert store.add.called == (status == 'success')


def check_in_any_place(value: object) -> None:
    """Each message with that value in it is answered with an envelope, and no answer is a mistake of ours."""
    commands = commands_on(NOTHING)
    messages = [
        value,
        {'command': value, 'data': DATA},
        {'command': 'getAllTimeZones', 'data': value},
        schedule(value),
        *(schedule(DATA | {field: value}) for field in (*DATA, 'repeat', 'channel', 'payload', 'key')),
        *({'command': command, 'data': value} for command in OTHERS),
        *({'command': command, 'data': {field: value}} for command, fields in OTHERS.items() for field in fields),
    ]
    for message in messages:
        answer = commands.run(message, EVERYBODY)
        if answer['status'] == 'success':
            assert answer.keys() <= {'status', 'response', 'warning'}
            assert 'response' in answer
        else:
            assert answer.keys() == {'status', 'error'}
            assert answer['status'] == 'failure'
            assert answer['error'] != 'internal error'
        assert json.loads(json.dumps(answer, ensure_ascii=False).encode()) == answer


@settings(deadline=None)
@given(JSON)
def test_any_json_value_in_any_place_gives_an_envelope(value: object) -> None:
    check_in_any_place(value)


@pytest.mark.parametrize(('opening', 'closing'), ['[]', ('{"a":[', ']}')])
def test_so_does_the_deepest_that_python_reads(opening: str, closing: str) -> None:
    for depth in (32_000, 8_000, 2_000, 900, 450):
        with suppress(RecursionError):
            return check_in_any_place(json.loads(opening * depth + closing * depth))
    pytest.fail('Python reads none of them')

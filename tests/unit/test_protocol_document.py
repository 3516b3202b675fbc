"""The reference is up to date and complete: its file, its commands and scopes, its fields, and its failures."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import jsonschema
import pytest
from protocol import FILE, render

from reminder.commands import Commands
from reminder.errors import Busy, Changed, StoreUnavailable
from reminder.models.event import MINUTE, Event, Place, Record
from reminder.models.store import Store
from reminder.services.delivery import Delivery
from reminder.services.identity import EVERYBODY, SCOPES, Identity
from reminder.services.log import Log
from reminder.services.punctuality import Punctuality
from reminder.services.series import Occurrences
from reminder.specification import asyncapi, schemas
from reminder.specification.examples import EXCHANGES, STAND_UP
from reminder.specification.failures import FAILURES, OTHER_FAILURES, REFUSALS, TOKEN_REFUSALS
from reminder.specification.protocol import COMMANDS
from tests.server import ROOT, millis

NOW = millis('2027-01-15 08:00:20')
ERRORS = [shown.error for shown in (*FAILURES, *REFUSALS, *TOKEN_REFUSALS)] + [error for _, error in OTHER_FAILURES]


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == render(), 'stale: run scripts/protocol.py'


def test_the_asyncapi_document_shows_examples_of_all_that_clients_emit_and_get() -> None:
    document = json.loads(asyncapi.document())
    shown = {name: message.get('examples', []) for name, message in document['components']['messages'].items()}
    assert {name for name, examples in shown.items() if not examples} == {'connected', 'connect_error'}
    for name, examples in shown.items():
        validator = jsonschema.Draft7Validator(document | {'$ref': f'#/components/messages/{name}/payload'})
        for example in examples:
            validator.validate(example['payload'])


# -- commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Any:
    """A store with one pending event."""
    store = create_autospec(Store, instance=True)
    store.record.return_value = Record('0' * 16, NOW, NOW, NOW, NOW)
    store.get.return_value = Event(STAND_UP, 'Stand-up', NOW + 1_800_000, '2027-01-15 09:30', 'Europe/Berlin')
    store.get_series.return_value = None
    store.read.return_value = store.list_series.return_value = []
    store.add.side_effect = lambda event: event
    store.replace.side_effect = lambda old, new: new
    return store


@pytest.fixture
def commands(store: Any) -> Commands:
    log = create_autospec(Log, instance=True)
    log.end, log.locate.return_value = Place(NOW, ''), (Place(NOW, ''), True)
    delivery = create_autospec(Delivery, instance=True)
    delivery.counts, delivery.behind.return_value = {}, 0
    return Commands(
        store,
        log,
        delivery,
        create_autospec(Occurrences, instance=True),
        Punctuality(),
        lambda: NOW,
        lambda seconds: None,
    )


def scheduling(**changes: Any) -> dict[str, Any]:
    data = {'eventName': 'Tea', 'time': '2027-01-15 16:00', 'timeZone': 'UTC', **changes}
    return {'command': 'scheduleEvent', 'data': data}


def test_there_are_just_these_commands(commands: Commands) -> None:
    assert {command.name for command in COMMANDS} == commands._table.keys()


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command.name)
@pytest.mark.parametrize('scope', sorted(SCOPES))
def test_they_take_just_these_scopes(commands: Commands, command: Any, scope: str) -> None:
    answer = commands.run({'command': command.name}, Identity(frozenset({scope}), 'ann'))
    refused = bool(re.fullmatch("scope '.*' is required", answer.get('error', '')))
    assert refused == (scope not in command.scopes)


class Recorder(dict[str, Any]):
    """The data of a command, which notes the names that are asked for."""

    def __init__(self, data: dict[str, Any], asked: set[str]) -> None:
        super().__init__(data)
        self._asked = asked

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self._asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._asked.add(str(name))
        return super().__contains__(name)


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command.name)
def test_they_read_just_these_fields(commands: Commands, command: Any) -> None:
    asked: set[str] = set()
    for one in EXCHANGES:
        if one.message['command'] == command.name:
            data = Recorder({'_id': STAND_UP, **one.message.get('data', {})}, asked)
            commands.run({'command': command.name, 'data': data}, EVERYBODY)
    assert asked == (command.data or {'properties': {}})['properties'].keys()


# -- bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('field', 'values'),
    [
        ('eventName', ['', 'x', 'x' * 1_000, 'x' * 1_001, None, 5]),
        ('time', ['2027-01-15 09:30', '2027-01-15T09:30', '2027-1-15 09:30', '', None, 5]),
        ('timeZone', ['UTC', None, 5]),
        ('channel', ['a', 'team/web', 'a' * 128, 'a' * 129, '', 'ü', 'a b', None, 5]),
        ('key', ['', 'k', 'k' * 255, 'k' * 256, None, 5]),
        ('repeat', ['', 'FREQ=DAILY', None, 5]),
    ],
)
def test_a_bound_is_where_the_server_has_it(commands: Commands, field: str, values: list[Any]) -> None:
    validator = jsonschema.Draft7Validator(schemas.SCHEDULE)
    for value in values:
        message = scheduling(**{field: value})
        answer = commands.run(message, EVERYBODY)
        failed = 'error' in answer and answer['error'] != "'key' was used before, with other data"
        assert validator.is_valid(message['data']) != failed, (value, answer)


@pytest.mark.parametrize('limit', [0, 1, 1_000, 1_001, '5', 1.5, True, None])
def test_so_is_that_of_lists(commands: Commands, limit: Any) -> None:
    answer = commands.run({'command': 'listEvents', 'data': {'limit': limit}}, EVERYBODY)
    assert jsonschema.Draft7Validator(schemas.LIST).is_valid({'limit': limit}) == (answer['status'] == 'success')


# -- failures -----------------------------------------------------------------------------------------------------


def literals(file: Path) -> Iterator[tuple[str, str]]:
    """The texts of failures in a source: where each stands, and a pattern that it makes."""
    for node in ast.walk(ast.parse(file.read_text())):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
        if file.name == 'errors.py' and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = 'Failure'  # one that has its text itself
        if called in ('InvalidInput', 'UnknownCommand', 'NotAuthenticated', 'NotAllowed', 'Busy', 'Failure'):
            assert isinstance(node, ast.Call)
            for argument in node.args:
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                texts = [str(part.value) if isinstance(part, ast.Constant) else None for part in parts]
                if any(texts):
                    where = f'{file.relative_to(ROOT)}:{node.lineno}'
                    yield where, ''.join('.+' if text is None else re.escape(text) for text in texts)


SOURCES = [
    ROOT / 'reminder' / 'errors.py',
    *sorted((ROOT / 'reminder' / 'commands').glob('*.py')),
    *sorted((ROOT / 'reminder' / 'services').glob('*.py')),
    *sorted((ROOT / 'reminder' / 'websocket').glob('*.py')),
]
FOUND = [found for file in SOURCES for found in literals(file)]


def test_failures_are_found() -> None:
    assert len(FOUND) > 40


@pytest.mark.parametrize(('where', 'pattern'), FOUND, ids=[where for where, _ in FOUND])
def test_every_failure_in_the_code_is_described(where: str, pattern: str) -> None:
    assert any(re.fullmatch(pattern, error, re.S) for error in ERRORS), (where, pattern)


def test_none_is_described_twice() -> None:
    whens = [shown.when for shown in FAILURES]
    assert len(set(whens)) == len(whens)


BINARY, INFINITE, CROWDED, EXPIRED, HIDDEN, CHANGED, AWAY, MISTAKEN = (error for _, error in OTHER_FAILURES)


def test_binary_data_fails_as_described(commands: Commands) -> None:
    answer = commands.run(scheduling(payload={'picture': [b'']}), EVERYBODY)
    assert answer == {'status': 'failure', 'error': BINARY}


def test_an_infinite_number_fails_as_described(commands: Commands) -> None:
    answer = commands.run(scheduling(payload=[1e999]), EVERYBODY)
    assert answer == {'status': 'failure', 'error': INFINITE}


def test_a_crowd_with_series_fails_as_described(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands._known.rules, 'pass_through', Mock(side_effect=Busy))
    answer = commands.run(scheduling(repeat='FREQ=DAILY'), EVERYBODY)
    assert answer == {'status': 'failure', 'error': CROWDED}


def test_a_key_of_what_has_moved_out_of_sight_fails_as_described(commands: Commands, store: Any) -> None:
    store.get.side_effect = lambda id: Event(id, 'tea', NOW + MINUTE, channel='secret')
    identity = Identity(SCOPES, channels=frozenset({'team/web'}))
    assert commands.run(scheduling(key='k'), identity) == {'status': 'failure', 'error': HIDDEN}


def test_an_expired_token_fails_as_described(commands: Commands) -> None:
    answer = commands.run({'command': 'getAllTimeZones'}, Identity(SCOPES, expires=NOW))
    assert answer == {'status': 'failure', 'error': EXPIRED}


@pytest.mark.parametrize(
    ('raised', 'error'), [(Changed(), CHANGED), (StoreUnavailable(), AWAY), (RuntimeError(), MISTAKEN)]
)
def test_a_troubled_store_fails_as_described(commands: Commands, store: Any, raised: Exception, error: str) -> None:
    store.replace.side_effect = raised
    answer = commands.run({'command': 'cancelEvent', 'data': {'_id': STAND_UP}}, EVERYBODY)
    assert answer == {'status': 'failure', 'error': error}

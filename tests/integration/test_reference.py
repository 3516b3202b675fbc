"""The reference says what is so: its examples, sent by official clients to real servers, are answered as it shows."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest
import requests

from reminder.specification import asyncapi, examples, openapi
from reminder.specification.examples import AFTER, BEFORE, CANCELS, HEARD, OPENINGS, Exchange
from reminder.specification.failures import FAILURES, REFUSALS, TOKEN_REFUSALS
from tests.clients import JS, Client, Clients, install
from tests.faults import ClockedServer
from tests.server import millis
from tests.tokens import AUDIENCE, ISSUER, SECRET, token

ID = re.compile('[0-9a-f]{24}|[0-9a-f]{16}')
SCHEMA = JS / 'node_modules' / '@asyncapi' / 'specs' / 'schemas' / '3.0.0-without-$id.json'


def openapi_commands() -> set[str]:
    """The commands that the document names."""
    return {path.removeprefix('/api/') for path in json.loads(openapi.document())['paths']}


class Ids:
    """The examples' ids, and what a server has in their place."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def real(self, example: Any) -> Any:
        """What is sent for what an example shows."""
        return json.loads(ID.sub(lambda id: self._real.get(id[0], id[0]), json.dumps(example)))

    def compare(self, shown: Any, real: Any) -> bool:
        """Whether an example shows what is real; learns the ids that it sees for the first time."""
        if isinstance(shown, dict):
            return (
                isinstance(real, dict)
                and shown.keys() == real.keys()
                and all(name in examples.OWN or self.compare(value, real[name]) for name, value in shown.items())
            )
        if isinstance(shown, list):
            if shown[-1:] == [examples.OMITTED]:
                shown, real = shown[:-1], real[: len(shown) - 1]
            return len(shown) == len(real) and all(map(self.compare, shown, real))
        if isinstance(shown, str) and isinstance(real, str) and ID.sub('', shown) == ID.sub('', real):
            return all(
                self._real.setdefault(a, b) == b for a, b in zip(ID.findall(shown), ID.findall(real), strict=True)
            )
        return type(shown) is type(real) and bool(shown == real)


@dataclass
class Told:
    """A story as it was: what was otherwise than shown, and all messages of it by their names in the document."""

    wrong: dict[str, list[Any]] = field(default_factory=lambda: {'answers': [], 'failures': [], 'events': []})
    messages: list[tuple[str, Any]] = field(default_factory=list)


class Story:
    """The examples, told to a server by a client of some kind."""

    def __init__(self, server: ClockedServer, connect: Callable[..., Client], over_http: bool = False) -> None:
        self.server = server
        self.over_http = over_http
        self.connect = connect
        self.ids = Ids()
        self.told = Told()
        self.client = connect(auth={'channels': ['team/web']})

    def tell(self) -> Told:
        self.exchange(*BEFORE)
        self.fail(early=True)
        self.exchange(*CANCELS)
        for minute in examples.MINUTES:
            self.server.set_clock(millis(f'{minute}:00'))
            self.wait_for_reminder(f'{minute.replace(" ", "T")}:00.000Z')
        self.server.set_clock(millis(f'{examples.LATER}:00'))
        self.wait_for_delivery()
        self.exchange(*AFTER)
        self.fail(early=False)
        heard = [(event['name'], event['args'][0]) for event in self.client.events if event['event'] == 'message']
        self.compare('events', HEARD, heard[1:])  # the first is the cursor of who has just connected
        for opening in OPENINGS:
            self.open(opening.auth, opening.events)
        return self.told

    def compare(self, kind: str, shown: Any, real: Any) -> None:
        shown, real = json.loads(json.dumps([shown, real]))
        if not self.ids.compare(shown, real):
            self.told.wrong[kind].append((shown, real))

    def exchange(self, *exchanges: Exchange) -> None:
        for shown in exchanges:
            message = self.ids.real(shown.message)
            answer = self.ask(message)
            self.compare('answers', shown.answer, answer)
            name = message['command']
            self.told.messages += [(name, message), (f'{name}.answer', answer)]

    def fail(self, early: bool) -> None:
        for shown in FAILURES:
            if shown.claims is None and shown.early == early:
                answer = self.ask(self.ids.real(shown.message))
                self.compare('failures', {'status': 'failure', 'error': shown.error}, answer)
                self.told.messages.append(('getStatus.answer', answer))  # all fail in the same form

    def ask(self, message: Any) -> Any:
        command = message.get('command') if isinstance(message, dict) else None
        if not self.over_http or not command:
            return self.client.command(message)
        data = {'json': message['data']} if 'data' in message else {}
        answer = requests.post(f'{self.server.url}/api/{command}', **data, timeout=10)
        failed = 404 if command not in openapi_commands() else 400
        assert answer.status_code == (200 if answer.json()['status'] == 'success' else failed)
        return answer.json()

    def open(self, auth: Any, shown: Any) -> None:
        client = self.connect(auth=self.ids.real(auth))
        last = shown[-1][0]
        client.wait(lambda event: event.get('name') == last)
        heard = [(event['name'], event['args'][0]) for event in client.events if event['event'] == 'message']
        cursors = [number for number, (name, _) in enumerate(heard) if name == 'cursor']
        self.compare('events', shown, [one for number, one in enumerate(heard) if number not in cursors[:-1]])
        self.told.messages += [('connect', self.ids.real(auth)), *heard]

    def wait_for_reminder(self, due: str) -> None:
        self.client.wait(lambda event: event.get('name') == 'eventReminder' and event['args'][0]['time'] == due)

    def wait_for_delivery(self) -> None:
        due, deadline = f'{examples.LATER.replace(" ", "T")}:00.000Z', time.monotonic() + 15
        while self.client.command({'command': 'getStatus'})['response']['delivered'] != due:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope='module', params=['python', 'js-4.8', 'http'])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with (
        ClockedServer(tmp_path_factory.mktemp('reference'), examples.CLOCK) as server,
        Clients(lambda: request.getfixturevalue('driver')) as connect,
    ):
        server.start()
        assert requests.get(f'{server.url}/asyncapi.json', timeout=5).content == asyncapi.document()
        assert requests.get(f'{server.url}/openapi.json', timeout=5).content == openapi.document()
        over_http = request.param == 'http'
        kind = 'python' if over_http else request.param
        yield Story(server, lambda **options: connect(server.url, kind, **options), over_http).tell()


@pytest.mark.parametrize('kind', ['answers', 'failures', 'events'])
def test_they_are_as_the_examples_show(told: Told, kind: str) -> None:
    assert told.wrong[kind] == []


def test_messages_are_as_the_asyncapi_document_describes_them(told: Told) -> None:
    document = closed(json.loads(asyncapi.document()))
    assert {name for name, _ in told.messages} == document['components']['messages'].keys() - {
        'connected',
        'connect_error',
    }
    for name, message in told.messages:
        schema = document | {'$ref': f'#/components/messages/{name}/payload'}
        jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(message)


def closed(schema: Any) -> Any:
    """A schema whose objects have no fields but those that it names."""
    if isinstance(schema, dict):
        more = {'additionalProperties': False} if schema.get('type') == 'object' else {}
        return {name: closed(value) for name, value in schema.items()} | more
    return [closed(one) for one in schema] if isinstance(schema, list) else schema


@pytest.fixture(scope='module')
def validator() -> Any:
    """Validates by the official JSON Schema of AsyncAPI 3.0."""
    install()
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))


def test_the_asyncapi_document_is_valid(validator: Any) -> None:
    assert list(validator.iter_errors(json.loads(asyncapi.document()))) == []


@pytest.mark.parametrize('part', ['info', 'channels', 'operations', 'components'])
def test_an_invalid_one_would_be_noticed(validator: Any, part: str) -> None:
    wrong = json.loads(asyncapi.document()) | {part: {'title': {'x': 1}}}
    assert not validator.is_valid(wrong)


def test_what_the_document_refers_to_is_in_it() -> None:
    text = asyncapi.document().decode()
    references = set(re.findall(r'"\$ref":"([^"]+)"', text))
    assert references
    for reference in references:
        found = json.loads(text)
        for part in reference.removeprefix('#/').split('/'):
            found = found[part]


@pytest.fixture(scope='module')
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedServer]:
    """A server that asks for tokens."""
    settings = {'AUTH_SECRET': SECRET, 'AUTH_AUDIENCE': AUDIENCE, 'AUTH_ISSUER': ISSUER}
    with ClockedServer(tmp_path_factory.mktemp('tokens'), examples.CLOCK, **settings) as server:
        yield server.start()


def test_connections_are_refused_as_shown(asking: ClockedServer, connect: Clients) -> None:
    refusals = [*(shown._replace(claims={}) for shown in REFUSALS), *TOKEN_REFUSALS]
    for shown in refusals:
        auth = shown.auth if shown.claims is None else {**shown.auth, 'token': token(asking.now(), **shown.claims)}
        client = connect(asking.url, 'js-4.8', wait=False, auth=auth)
        assert client.wait_for('connect_error')['message'] == shown.error


def test_other_namespaces_are_refused_as_said(asking: ClockedServer, connect: Clients) -> None:
    client = connect(f'{asking.url}/other', 'js-4.8', wait=False, auth={'token': token(asking.now())})
    assert client.wait_for('connect_error')['message'] == 'Invalid namespace'


def test_commands_that_a_token_does_not_allow_fail_as_shown(asking: ClockedServer, connect: Clients) -> None:
    ids, scheduled = Ids(), BEFORE[1]
    manager = connect(asking.url, 'python', auth={'token': token(asking.now())})
    assert ids.compare(scheduled.answer, manager.command(scheduled.message))
    for shown in FAILURES:
        if shown.claims is not None:
            client = connect(asking.url, 'python', auth={'token': token(asking.now(), **shown.claims)})
            assert client.command(ids.real(shown.message)) == {'status': 'failure', 'error': shown.error}


@pytest.mark.parametrize(
    ('shown', 'real'),
    [
        ({'a': 1}, {'a': 1, 'b': 2}),
        ({'a': 1, 'b': 2}, {'a': 1}),
        ([1], [1, 2]),
        (['x', '...'], ['y', 'z']),
        ('at 08:30', 'at 08:31'),
        ({'a': '1' * 24, 'b': '1' * 24}, {'a': '2' * 24, 'b': '3' * 24}),
        ({'a': '1' * 24}, {'a': '1' * 23}),
        (0, None),
        (1, '1'),
    ],
)
def test_what_is_otherwise_than_shown_is_noticed(shown: Any, real: Any) -> None:
    assert Ids().compare(shown, shown)
    assert not Ids().compare(shown, real)

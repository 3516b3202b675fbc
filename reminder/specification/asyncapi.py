"""The protocol as an AsyncAPI 3.0 document, for programs that make documents, clients or tests from one.

Texts have code between pairs of backquotes, which both CommonMark (AsyncAPI's) and reStructuredText take.
"""

import json
from collections.abc import Iterable

from reminder import __version__
from reminder.specification import examples
from reminder.specification.examples import Json
from reminder.specification.protocol import COMMANDS, EVENTS, Command
from reminder.specification.schemas import CONNECT, SCHEMAS, WARNING, Schema, fields, text

_ROOT = '#/channels/root'
_WHAT_IT_IS = (
    'Reminders for Socket.IO clients: Socket.IO 5 over Engine.IO 4. A message goes with the Socket.IO event in its '
    '``x-event``, as the one argument; answers to commands are acknowledgements.'
)
_FAILURE = fields('status error', status={'const': 'failure'}, error=text('what is wrong, in words'))
_CONNECTED = fields(
    'sid', sid=text('the id of the connection'), pid=text('what to give back, beside an ``offset``, to recover')
)
_REFUSED = fields('message', message=text('why the connection is refused'))


def document() -> bytes:
    """The document: JSON in UTF-8, always the same."""
    messages = _messages()
    content: Json = {
        'asyncapi': '3.0.0',
        'info': {
            'title': 'event-reminder',
            'version': __version__,
            'description': _WHAT_IT_IS,
            'license': {'name': 'MIT'},
        },
        'defaultContentType': 'application/json',
        'servers': {
            'here': {
                'host': '{host}',
                'pathname': '/socket.io/',
                'protocol': 'ws',
                'description': 'The server that this document comes from.',
                'variables': {'host': {'default': '127.0.0.1:3000', 'description': 'its name and port'}},
            }
        },
        'channels': {
            'root': {
                'address': '/',
                'description': "Socket.IO's default namespace.",
                'messages': {name: {'$ref': f'#/components/messages/{name}'} for name in messages},
            }
        },
        'operations': _operations(),
        'components': {'schemas': {**SCHEMAS, 'Failure': _FAILURE}, 'messages': messages},
    }
    return json.dumps(content, ensure_ascii=False, separators=(',', ':')).encode()


def _operations() -> Json:
    operations = {'connect': _operation('receive', 'connect', 'Connects.', 'connected', 'connect_error')}
    for command in COMMANDS:
        operations[command.name] = _operation('receive', command.name, command.text, _answer_to(command))
    for event in EVENTS:
        operations[event.name] = _operation('send', event.name, event.text)
    return operations


def _operation(action: str, message: str, description: str, *answers: str) -> Json:
    """What the server does; `answers` are the messages one of which it answers with, if it does."""
    operation = {'action': action, 'description': description, **_references(message)}
    return {**operation, 'reply': _references(*answers)} if answers else operation


def _references(*messages: str) -> Json:
    return {'channel': {'$ref': _ROOT}, 'messages': [{'$ref': f'{_ROOT}/messages/{name}'} for name in messages]}


def _messages() -> dict[str, Json]:
    messages = {
        'connect': _message('connect', 'What CONNECT takes.', CONNECT, (one.auth for one in examples.OPENINGS)),
        'connected': _message('connect', 'What CONNECT is answered with.', _CONNECTED),
        'connect_error': _message('connect_error', 'What CONNECT is refused with.', _REFUSED),
    }
    for command in COMMANDS:
        name = command.name
        exchanges = [one for one in examples.EXCHANGES if one.message['command'] == name]
        messages[name] = _message('command', command.text, _request(command), (one.message for one in exchanges))
        messages[_answer_to(command)] = _message(
            'command', f'What ``{name}`` is answered with.', _answer(command), (one.answer for one in exchanges)
        )
    for event in EVENTS:
        messages[event.name] = _message(event.name, event.text, event.argument, examples.arguments(event.name))
    return messages


def _answer_to(command: Command) -> str:
    """The name of the message that answers a command."""
    return f'{command.name}.answer'


def _message(event: str, summary: str, payload: Schema, of: Iterable[Json] = ()) -> Json:
    message = {'x-event': event, 'summary': summary, 'payload': payload}
    shown = [{'payload': example} for example in of]
    return {**message, 'examples': shown} if shown else message


def _request(command: Command) -> Schema:
    name: Schema = {'const': command.name}
    if command.data is None:
        return fields('command', command=name)
    return fields('command data' if command.data['required'] else 'command', command=name, data=command.data)


def _answer(command: Command) -> Schema:
    success = fields(
        'status response',
        status={'const': 'success'},
        response=command.response,
        warning=WARNING,
    )
    return {'oneOf': [success, {'$ref': '#/components/schemas/Failure'}]}

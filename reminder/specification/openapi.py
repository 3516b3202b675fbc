"""The HTTP door as an OpenAPI 3.1 document, from the same source as the AsyncAPI one: commands, schemas, examples."""

import json
from typing import Any

from reminder import __version__
from reminder.services.fields import KEY_LENGTH
from reminder.specification.examples import EXCHANGES, Exchange, Json
from reminder.specification.protocol import COMMANDS, Command
from reminder.specification.schemas import OFFSET, SCHEMAS, WARNING, fields, text
from reminder.websocket.payloads import MAX_MESSAGE

_WHAT_IT_IS = (
    'Reminders over plain HTTP: commands, and what is due as Server-Sent Events. Answers are those of Socket.IO, which '
    'the AsyncAPI document at /asyncapi.json describes.'
)
_JSON = 'application/json'
_FAILURE = fields('status error', status={'const': 'failure'}, error=text('what is wrong, in words'))
STATUSES = {
    '400': 'What was asked for cannot be done; ``error`` says why.',
    '401': 'The token is missing, wrong, or has expired.',
    '403': 'The token does not allow it, or the page that asks is of an origin that is not let in.',
    '411': 'The body comes in chunks: its ``Content-Length`` has to be given.',
    '413': f'The data has more than {MAX_MESSAGE:,} bytes.',
    '415': f'The body is not ``{_JSON}``.',
    '429': 'Too many commands in a short time, or too many that ask for the same.',
    '500': 'A mistake in the server, which is in its log.',
    '503': 'The database is away, or the server is full or stops. Whether it was done is not known.',
}
_LATER = {'Retry-After': {'description': 'seconds after which to try again', 'schema': {'type': 'integer'}}}
_KEY = {
    'name': 'Idempotency-Key',
    'in': 'header',
    'description': 'The `key` of the event: the same with the same data gives the same event.',
    'schema': {'type': 'string', 'minLength': 1, 'maxLength': KEY_LENGTH, 'pattern': '^[!-~]+$'},
}


def document() -> bytes:
    """The document: JSON in UTF-8, always the same."""
    content: Json = {
        'openapi': '3.1.0',
        'info': {
            'title': 'event-reminder',
            'version': __version__,
            'description': _WHAT_IT_IS,
            'license': {'name': 'MIT', 'identifier': 'MIT'},
        },
        'servers': [{'url': '/'}],
        'security': [{'token': []}, {}],
        'paths': {
            **{f'/api/{command.name}': {'post': _operation(command)} for command in COMMANDS},
            '/api/reminders/stream': {'get': _STREAM},
            '/calendar.ics': {'get': _CALENDAR},
            '/healthz': {'get': _probe('healthz', 'Whether the server is alive.', 'text/plain')},
            '/readyz': {'get': _READY},
            '/metrics': {'get': _METRICS},
            '/asyncapi.json': {'get': _probe('asyncapi', 'What Socket.IO clients may do.', _JSON)},
            '/openapi.json': {'get': _probe('openapi', 'This document.', _JSON)},
        },
        'components': {
            'schemas': {**SCHEMAS, 'Failure': _FAILURE},
            'responses': {status: _refusal(status, why) for status, why in STATUSES.items()},
            'securitySchemes': {
                'tokenInQuery': {
                    'type': 'apiKey',
                    'in': 'query',
                    'name': 'token',
                    'description': 'For programs that show calendars, which cannot send a header.',
                },
                'token': {
                    'type': 'http',
                    'scheme': 'bearer',
                    'bearerFormat': 'JWT',
                    'description': 'On a server that asks for tokens.',
                },
            },
        },
    }
    return json.dumps(content, ensure_ascii=False, separators=(',', ':')).encode()


def _operation(command: Command) -> Json:
    shown = [one for one in EXCHANGES if one.message['command'] == command.name]
    operation: dict[str, Any] = {
        'operationId': command.name,
        'summary': _markdown(command.text),
        'responses': {'200': _success(command, shown), **_refused(*STATUSES)},
    }
    if command.name == 'scheduleEvent':
        operation['parameters'] = [_KEY]
    if command.data is not None:
        operation['requestBody'] = {
            'required': bool(command.data['required']),
            'content': {
                _JSON: {
                    'schema': command.data,
                    'examples': _examples(one.message['data'] for one in shown if 'data' in one.message),
                }
            },
        }
    return operation


def _success(command: Command, shown: list[Exchange]) -> Json:
    envelope = fields(
        'status response',
        status={'const': 'success'},
        response=command.response,
        warning=WARNING,
    )
    content = {'schema': envelope, 'examples': _examples(one.answer for one in shown)}
    return {'description': 'Done.', 'content': {_JSON: content}}


def _examples(values: Any) -> Json:
    return {str(number): {'value': value} for number, value in enumerate(values, 1)}


def _refusal(status: str, why: str) -> Json:
    answer = {'description': _markdown(why), 'content': {_JSON: {'schema': {'$ref': '#/components/schemas/Failure'}}}}
    return {**answer, 'headers': _LATER} if status in ('429', '503') else answer


def _refused(*statuses: str) -> Json:
    return {status: {'$ref': f'#/components/responses/{status}'} for status in statuses}


def _query(name: str, description: str, **schema: Any) -> Json:
    return {'name': name, 'in': 'query', 'description': description, 'schema': {'type': 'string', **schema}}


def _answer(description: str, kind: str, **schema: Any) -> Json:
    return {'description': description, 'content': {kind: {'schema': {'type': 'string', **schema}}}}


def _probe(name: str, summary: str, kind: str) -> Json:
    answer = {'description': summary, 'content': {kind: {'schema': {'type': 'object'} if kind == _JSON else {}}}}
    return {'operationId': name, 'summary': summary, 'security': [], 'responses': {'200': answer}}


def _markdown(description: str) -> str:
    return description.replace('``', '`')


_CHANNELS = 'names of channels with commas between them; what is for everybody comes, too'
_STREAM: Json = {
    'operationId': 'stream',
    'summary': 'Reminders as they fire, as Server-Sent Events: `eventReminder`, `cursor`, `replayed`. Their ids are '
    'offsets, by which clients go on where they were.',
    'parameters': [
        _query('since', 'where to begin: an offset, the `_id` of a reminder, or an ISO 8601 time with its zone'),
        _query('channels', _CHANNELS),
        {
            'name': 'Last-Event-ID',
            'in': 'header',
            'description': 'Where the client left off. Goes before `since`; what is no offset counts as none.',
            'schema': {'type': 'string', 'pattern': OFFSET},
        },
    ],
    'responses': {
        '200': _answer('A stream that does not end by itself.', 'text/event-stream'),
        **_refused('400', '401', '403', '503'),
    },
}
_CALENDAR: Json = {
    'operationId': 'calendar',
    'summary': 'What is pending as an iCalendar (RFC 5545) to subscribe to.',
    'security': [{'token': []}, {'tokenInQuery': []}, {}],
    'parameters': [_query('channel', _CHANNELS)],
    'responses': {
        '200': _answer('The calendar.', 'text/calendar'),
        '304': {'description': 'It is the same as before.'},
        **_refused('400', '401', '403', '503'),
    },
}
_READY: Json = {
    **_probe('readyz', 'Whether the server can do its work.', _JSON),
    'responses': {
        status: {'description': description, 'content': {_JSON: {'schema': fields('ready', ready={'const': ready})}}}
        for status, description, ready in (
            ('200', 'It can.', True),
            ('503', 'It cannot; of each part that keeps it from that, it says what is wrong.', False),
        )
    },
}
_METRICS: Json = {
    'operationId': 'metrics',
    'summary': 'Figures of the server, as Prometheus and OpenMetrics have them.',
    'responses': {
        '200': {
            'description': 'The figures.',
            'content': {'text/plain': {'schema': {}}, 'application/openmetrics-text': {'schema': {}}},
        },
        **_refused('401', '403'),
    },
}

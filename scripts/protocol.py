#!/usr/bin/env python3
"""Writes docs/protocol.rst, the reference of the protocol, from `reminder.specification`."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from reminder.specification import examples, schemas
from reminder.specification.examples import Json
from reminder.specification.failures import FAILURES, OTHER_FAILURES, REFUSALS, TOKEN_REFUSALS
from reminder.specification.openapi import STATUSES
from reminder.specification.protocol import COMMANDS, EVENTS, LIMITS, Command, Event
from reminder.specification.schemas import SCHEMAS, Schema

FILE = Path(__file__).parents[1] / 'docs' / 'protocol.rst'
WIDTH = 120
LONGEST = 40
"""Characters of a text in an example that are shown."""
FORMS = {
    schemas.INSTANT: 'an instant',
    schemas.ID: '24 hexadecimal digits',
    schemas.OFFSET: 'an offset',
    schemas.WALL_CLOCK: '``YYYY-MM-DD HH:mm``',
    'date-time': 'ISO 8601 with a zone',
}
PLAIN = {'string': 'a text', 'integer': 'a whole number', 'number': 'a number', 'boolean': 'true or false'}

HEAD = """\
``scripts/protocol.py`` makes this file from ``reminder/specification``, and a test sends its examples to servers. A \
running server describes the same as an `AsyncAPI <https://www.asyncapi.com>`_ 3.0 document at ``/asyncapi.json``.

Clients speak Socket.IO 5 over Engine.IO 4, at ``/socket.io/``, in the default namespace. All examples together are \
one story, which begins at 08:00 UTC on 15 January 2027, on a server that has just been set up. Instants are ISO 8601 \
in UTC with milliseconds: ``2027-01-15T08:30:00.000Z``."""
CONNECTING = """\
A client may give an object as ``auth``:"""
OPENINGS = """\
Who gives ``since``, or ``pid`` and ``offset``, first gets what was missed, then ``replayed``, then what is new. With \
``pid`` and ``offset``, which count before ``since``, the same ``pid`` in the answer means that nothing is missing. \
Three clients that connect at 08:50; below the ``auth`` of each, the events that it gets then (of several ``cursor``, \
the last one):"""
REFUSALS_HEAD = """\
A connection that is refused gets ``connect_error`` with one of these messages, and may try again; one to another \
namespace, ``Invalid namespace``:"""
TOKEN_REFUSALS_HEAD = """\
A server that asks for tokens looks at the token first, and at the channels that it names:"""
COMMANDS_HEAD = """\
A client emits ``command`` with one object, ``{command, data}``, and an acknowledgement callback. That gets ``{status: \
'success', response}`` or ``{status: 'failure', error}``. A ``warning`` beside the response says what became of a time \
that clocks skip or show twice. Fields that are not known are ignored. The commands of one connection are begun in the \
order in which they come, and each is answered when it is done."""
EVENTS_HEAD = """\
The server emits these, each with one argument, to clients that may ``listen``."""
FAILURES_HEAD = """\
Of several mistakes the first is told; the name, the zone and the form of the time come first, in this order. The \
messages belong to the story."""
OTHER_FAILURES_HEAD = """\
There are some that take more than such a message:"""
HTTP_HEAD = """\
``POST /api/<command>`` with ``data`` as a JSON object in the body, whose ``Content-Type`` is ``application/json``, is \
answered with what the acknowledgement would get. A token stands in ``Authorization: Bearer``. ``Idempotency-Key`` is \
the ``key``. The story's messages get the same answers this way. A running server describes this, and its other \
addresses, as an `OpenAPI <https://www.openapis.org>`_ 3.1 document at ``/openapi.json``.

The status of a success is 200; of a command that there is not, 404; of another method, 405. All others than 200 come \
with ``{status: 'failure', error}``, and 429 and 503 with ``Retry-After``, the seconds after which to try again:"""
LIMITS_HEAD = """\
Where a setting is named, its default is shown."""


def main() -> None:
    """Writes the file."""
    FILE.write_text(render())


def render() -> str:
    """The document."""
    parts = [
        heading('The protocol', '='),
        *map(paragraph, HEAD.split('\n\n')),
        heading('Connecting', '-'),
        paragraph(CONNECTING),
        definitions(schemas.CONNECT),
        paragraph(OPENINGS),
        *(code(shown.auth, *([name, argument] for name, argument in shown.events)) for shown in examples.OPENINGS),
        paragraph(REFUSALS_HEAD),
        *(definition(shown.error, f'{shown.when}: {literal(shown.auth)}') for shown in REFUSALS),
        paragraph(TOKEN_REFUSALS_HEAD),
        *(
            definition(shown.error, _with_claims(f'{shown.when}: {literal(shown.auth)}', shown.claims))
            for shown in TOKEN_REFUSALS
        ),
        heading('Commands', '-'),
        paragraph(COMMANDS_HEAD),
        *(part for command in COMMANDS for part in _command(command)),
        heading('Events', '-'),
        paragraph(EVENTS_HEAD),
        *(part for event in EVENTS for part in _event(event)),
        heading('Objects', '-'),
        *(part for name, schema in SCHEMAS.items() for part in (heading(name, '~'), definitions(schema))),
        heading('Failures', '-'),
        paragraph(FAILURES_HEAD),
        *(
            definition(shown.error, _with_claims(f'{shown.when}: {literal(shown.message)}', shown.claims))
            for shown in FAILURES
        ),
        paragraph(OTHER_FAILURES_HEAD),
        *(definition(error, when) for when, error in OTHER_FAILURES),
        heading('Over HTTP', '-'),
        *map(paragraph, HTTP_HEAD.split('\n\n')),
        table(('status', 'when'), list(STATUSES.items())),
        heading('Limits', '-'),
        paragraph(LIMITS_HEAD),
        table(('of', 'limit', 'beyond it'), [(one.of, one.value, one.beyond) for one in LIMITS]),
    ]
    return '\n\n'.join(parts) + '\n'


def _command(command: Command) -> Iterator[str]:
    yield heading(command.name, '~')
    yield paragraph(command.text)
    scopes = [f'``{scope}``' for scope in ('listen', 'schedule', 'manage') if scope in command.scopes]
    yield f'Scope: {" or ".join(scopes)}.'
    if command.data is not None:
        yield '``data``:' if command.data['required'] else '``data``, which may be left out:'
        yield definitions(command.data)
    yield from _what_it_is('Response', command.response)
    yield 'In the story:'
    for one in examples.EXCHANGES:
        if one.message['command'] == command.name:
            yield code(one.message, one.answer)


def _event(event: Event) -> Iterator[str]:
    yield heading(event.name, '~')
    yield paragraph(event.text)
    yield from _what_it_is('Argument', event.argument)
    yield 'In the story:'
    yield code(*examples.arguments(event.name))


def _what_it_is(name: str, schema: Schema) -> Iterator[str]:
    if 'properties' in schema:
        yield f'{name}:'
        yield definitions(schema)
    else:
        text = schema.get('description')
        yield paragraph(f'{name}: {kind(schema)}' + (f'; {text}.' if text else '.'))


def _with_claims(text: str, claims: Json) -> str:
    return text if claims is None else f'{text}, with the claims {literal(claims)} in the token'


def definitions(schema: Schema) -> str:
    """The fields of an object."""
    shown = []
    for name, of in schema['properties'].items():
        optional = '' if name in schema['required'] else ', optional'
        if 'properties' in of:
            shown.append(f'``{name}``: an object{optional}\n{textwrap.indent(definitions(of), "    ")}')
        else:
            shown.append(f'``{name}``: {kind(of)}{optional}\n{indented(of["description"])}')
    return '\n\n'.join(shown)


def kind(schema: Schema) -> str:
    """What a schema asks for, in words."""
    if '$ref' in schema:
        name = schema['$ref'].rpartition('/')[2]
        return f'{"an" if name[0] in "AEIOU" else "a"} {name}_'
    for choice in ('oneOf', 'anyOf', 'allOf'):
        if choice in schema:
            return ' or '.join(map(kind, schema[choice]))
    types = schema.get('type', 'any')
    return ' or '.join(_of_type(type, schema) for type in ([types] if isinstance(types, str) else types))


def _of_type(type: str, schema: Schema) -> str:
    if type == 'array':
        most = f'up to {schema["maxItems"]:,} ' if 'maxItems' in schema else ''
        return f'a list of {most}{_several(schema["items"])}'
    if type in ('null', 'any'):
        return {'null': 'null', 'any': 'any JSON'}[type]
    if 'enum' in schema:
        return f'one of {", ".join(f"``{one}``" for one in schema["enum"])}'
    if 'pattern' in schema or 'format' in schema:
        return _form(schema)
    if 'maximum' in schema:
        return f'a whole number from {schema["minimum"]} to {schema["maximum"]:,}, {schema["default"]} by default'
    if 'maxLength' in schema:
        least = f'{schema["minLength"]} to' if 'minLength' in schema else 'up to'
        return f'a text of {least} {schema["maxLength"]:,} characters'
    return PLAIN[type]


def _several(schema: Schema) -> str:
    """What several of the kind are called."""
    if '$ref' in schema:
        return f'{schema["$ref"].rpartition("/")[2]}_'
    if schema.get('pattern') == schemas.INSTANT:
        return 'instants'
    return _form(schema) if 'pattern' in schema else 'texts'


def _form(schema: Schema) -> str:
    form = schema.get('pattern') or schema['format']
    return FORMS.get(form, f'``{form.removeprefix("^").removesuffix("$")}``')


# -- reStructuredText -------------------------------------------------------------------------------------------


def heading(text: str, line: str) -> str:
    return f'{text}\n{line * len(text)}'


def paragraph(text: str, width: int = WIDTH) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def indented(text: str) -> str:
    return textwrap.indent(paragraph(text, WIDTH - 4), '    ')


def definition(term: str, text: str) -> str:
    return f'``{term}``\n{indented(text)}'


def literal(value: Json) -> str:
    """A value as JSON on one line, long texts cut."""
    return f'``{json.dumps(_cut(value))}``'


def code(*values: Json) -> str:
    """Values as JSON, one below the other."""
    blocks = [textwrap.indent(_json(value, WIDTH - 4), '    ') for value in values]
    return '.. code:: json\n\n' + '\n'.join(blocks)


def _json(value: Json, width: int) -> str:
    """JSON in one line if that fits, else each of its parts in lines of its own."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= width or not isinstance(value, dict | list):
        return line
    if isinstance(value, list):
        parts, brackets = [_json(one, width - 3) for one in value], '[]'
    else:
        # The key stands before the first line of its value.
        parts = [f'"{name}": {_json(one, width - len(name) - 7)}' for name, one in value.items()]
        brackets = '{}'
    return brackets[0] + '\n' + textwrap.indent(',\n'.join(parts), '  ') + '\n' + brackets[1]


def _cut(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _cut(one) for name, one in value.items()}
    return f'{value[:LONGEST]}...' if isinstance(value, str) and len(value) > 10 * LONGEST else value


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    line = ' '.join('=' * width for width in widths)
    lines = [
        ' '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return '\n'.join([line, lines[0], line, *lines[1:], line])


if __name__ == '__main__':
    main()

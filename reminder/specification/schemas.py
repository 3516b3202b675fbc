"""What commands, answers and events consist of, as JSON Schemas (draft 7). Every bound is the code's own constant."""

from typing import Any

from reminder.services import channels
from reminder.services.channels import MAX_CHANNELS
from reminder.services.fields import KEY_LENGTH, LIMIT, MAX_LIMIT, NAME_LENGTH, PAYLOAD_BYTES
from reminder.services.rrule import LENGTH as RULE_LENGTH
from reminder.services.tokens import MAX_TOKEN
from reminder.services.views import SHOWN

Schema = dict[str, Any]


def text(description: str, **more: Any) -> Schema:
    """A text; `more` are the schema's other keywords, as in the functions below."""
    return {'type': 'string', 'description': description, **more}


def fields(required: str, /, **properties: Schema) -> Schema:
    """An object with these fields; the names of those that are always there stand in `required`."""
    return {'type': 'object', 'required': required.split(), 'properties': properties}


def items(description: str, of: Schema, **more: Any) -> Schema:
    """A list."""
    return {'type': 'array', 'description': description, 'items': of, **more}


def named(name: str, description: str) -> Schema:
    """One of SCHEMAS; draft 7 takes no other keyword beside a reference."""
    return {'allOf': [{'$ref': f'#/components/schemas/{name}'}], 'description': description}


def optional(schema: Schema) -> Schema:
    """The same, or null."""
    if 'type' in schema:
        return {**schema, 'type': [schema['type'], 'null']}
    return {'oneOf': [*schema['allOf'], {'type': 'null'}], 'description': schema['description']}


_CHANNEL_NAME = f'^{channels.NAME.pattern}$'

INSTANT = '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$'
ID = '^[0-9a-f]{24}$'
OFFSET = '^[0-9a-f]{16}\\.[0-9]{1,15}\\.([0-9a-f]{24})?$'
WALL_CLOCK = '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}$'

_id = text('what the event or series is known by', minLength=1)
_name = text('what people are to be reminded of', minLength=1, maxLength=NAME_LENGTH)
_time = text('when, as the clocks in ``timeZone`` show it', pattern=WALL_CLOCK)
_zone = text(
    'an IANA time zone, in any letter case; ``getAllTimeZones`` names them. The data on zones '
    'ends with 2037: after it clocks stay as they are at the end of that year'
)
_repeat = text('an RRULE (RFC 5545), such as ``FREQ=DAILY``: makes it a series', minLength=1, maxLength=RULE_LENGTH)
_channel = text('whom it is for: those who connected with that channel. Without one, everybody', pattern=_CHANNEL_NAME)
_payload: Schema = {'description': f'up to {PAYLOAD_BYTES:,} bytes in UTF-8, which come with the reminder'}
_key = text(
    'the same key with the same data gives the same event, however often it is asked for',
    minLength=1,
    maxLength=KEY_LENGTH,
)
_from = text('those that are due then or later', format='date-time')
_to = text('those that are due then or earlier', format='date-time')
_only = text('those of this channel and those for everybody; else all that the client may see', pattern=_CHANNEL_NAME)
_limit: Schema = {
    'type': 'integer',
    'description': 'how many at most; there may be fewer though more lie behind',
    'minimum': 1,
    'maximum': MAX_LIMIT,
    'default': LIMIT,
}
_after = text('``next`` of the answer before, to go on behind it')
_since = text('an offset, the ``_id`` of a reminder, or an ISO 8601 time with its zone')

# -- what commands take -----------------------------------------------------------------------------------------------

ONE = fields('_id', _id=_id)
SCHEDULE = fields(
    'eventName time timeZone',
    eventName=_name,
    time=_time,
    timeZone=_zone,
    repeat=optional(_repeat),
    channel=optional(_channel),
    payload=_payload,
    key=optional(_key),
)
UPDATE = fields(
    '_id',
    _id=_id,
    eventName=_name,
    time=_time,
    timeZone=_zone,
    repeat={**_repeat, 'description': 'the new rule; of series only'},
    channel=optional({**_channel, 'description': 'the new channel; null for everybody'}),
    payload={'description': 'the new payload; null for none'},
)
LIST = fields(
    '', **{'from': optional(_from)}, to=optional(_to), channel=optional(_only), limit=_limit, after=optional(_after)
)
LIST_SERIES = fields('', channel=optional(_only), limit=_limit, after=optional(_after))
LOOK_BACK = fields(
    'since',
    since={**_since, 'description': 'where to begin: ' + _since['description']},
    channel=optional(_only),
    limit=_limit,
)
WARNING = text('what became of a time that clocks skip or show twice, or of a minute that was too near')

STATUS = fields('', _id={**_id, 'description': 'an event or series that is asked about'})
CONNECT = fields(
    '',
    token=text('a JSON Web Token, on servers that ask for one', maxLength=MAX_TOKEN),
    channels=optional(
        items(
            'beside what is for everybody, reminders of these',
            {'type': 'string', 'pattern': _CHANNEL_NAME},
            maxItems=MAX_CHANNELS,
        )
    ),
    since=optional({**_since, 'description': 'where the client left off: ' + _since['description']}),
    offset=text('the last ``cursor``; the official JavaScript client gives it and ``pid`` by itself'),
    pid=text('what CONNECT was answered with before'),
)

# -- what clients get -------------------------------------------------------------------------------------------------

_reminder = {
    'name': text('the ``eventName``'),
    'time': text('when it is due', pattern=INSTANT),
    '_id': text('what it is known by', pattern=ID),
}
_extras: dict[str, Schema] = {
    'channel': text('where it has one', pattern=_CHANNEL_NAME),
    'payload': {'description': 'where it has one'},
}
_of_series = {'series': text('the ``_id`` of the series, where it is an occurrence of one', pattern=ID)}
_wall_clock = {
    'localTime': text('the ``time`` that was asked for; not in events of the Node.js server', pattern=WALL_CLOCK),
    'timeZone': text('its zone', minLength=1),
}
_state = {
    'state': text(
        'in answers about one event; ``due`` means that its minute is closed, and nothing can change it any more',
        enum=['pending', 'due', 'delivered', 'cancelled'],
    )
}
_next_page = optional(text('to be given as ``after`` for those behind these; null where there are none'))
_reminder_ref = {'$ref': '#/components/schemas/Reminder'}

SCHEMAS: dict[str, Schema] = {
    'Reminder': fields('name time _id', **_reminder, **_extras, **_of_series),
    'Event': fields('name time _id', **_reminder, **_extras, **_of_series, **_wall_clock, **_state),
    'Series': fields(
        'name time _id repeat localTime timeZone occurrences',
        name=_reminder['name'],
        time=optional(text('the next occurrence; null where none comes any more', pattern=INSTANT)),
        _id=_reminder['_id'],
        repeat=text('its rule'),
        localTime=text('when it begins, by the clocks of its zone', pattern=WALL_CLOCK),
        timeZone=_wall_clock['timeZone'],
        occurrences=items('the next ones', {'type': 'string', 'pattern': INSTANT}, maxItems=SHOWN),
        **_extras,
    ),
}
"""Objects that several answers have in common."""

EVENT_OR_SERIES: Schema = {
    'description': 'the event with its ``state``, or the series',
    'anyOf': [{'$ref': '#/components/schemas/Event'}, {'$ref': '#/components/schemas/Series'}],
}
REMINDER_OR_SERIES: Schema = {
    'description': 'what the reminder will be, or the series',
    'anyOf': [_reminder_ref, {'$ref': '#/components/schemas/Series'}],
}
TIME_ZONES = items('the names of all time zones', {'type': 'string'})
EVENTS = fields(
    'events next',
    events=items('pending events, in order of time', {'$ref': '#/components/schemas/Event'}, maxItems=MAX_LIMIT),
    next=_next_page,
)
SERIES_LIST = fields(
    'series next',
    series=items('series that have not ended', {'$ref': '#/components/schemas/Series'}, maxItems=MAX_LIMIT),
    next=_next_page,
)
REMINDERS = fields(
    'reminders next complete',
    reminders=items('delivered ones, in order of time', _reminder_ref, maxItems=MAX_LIMIT),
    next=text('to be given as ``since`` for those behind these', pattern=OFFSET),
    complete={'type': 'boolean', 'description': 'whether nothing is missing behind ``since``'},
)


def _count(description: str) -> Schema:
    return {'type': 'integer', 'minimum': 0, 'description': description}


STATUS_RESPONSE = fields(
    'now log opened closed delivered purged secondsBehind clients clientsBehind lateness',
    now=text("the server's clock", pattern=INSTANT),
    log=text('which log it is; another one after a clock was set back by more than a minute', pattern='^[0-9a-f]{16}$'),
    opened=text('when that log began', pattern=INSTANT),
    closed=text('what is due up to this instant cannot change any more', pattern=INSTANT),
    delivered=text('what was due up to this instant was handed to clients', pattern=INSTANT),
    purged=text('what was due up to this instant may be missing', pattern=INSTANT),
    secondsBehind={'type': 'number', 'minimum': 0, 'description': 'how long the oldest minute waits that is over'},
    clients=_count('clients of this server that listen'),
    clientsBehind=_count('of these, those that have not got all that is due'),
    lateness=fields(
        'batches median worst',
        batches=_count('minutes with reminders since the server started'),
        median=optional(_count('how late (ms) half of them were at most')),
        worst=optional(_count('how late (ms) the latest was')),
    ),
    next=optional(named('Reminder', 'what is due next; only for the scopes ``listen`` and ``manage``')),
    event=EVENT_OR_SERIES,
)

"""Commands, events and limits: what each is for, who may use it, and what goes in and comes out."""

from dataclasses import dataclass

from reminder.commands.changes import ATTEMPTS, CHANGES_WAITING
from reminder.commands.known import RULES_WAITING
from reminder.commands.lists import LISTS_WAITING
from reminder.config import Config
from reminder.errors import SHOWN_LENGTH
from reminder.services import channels
from reminder.services.channels import MAX_CHANNELS
from reminder.services.events import CHANGE_LEAD, LEAD
from reminder.services.expansion import REACH
from reminder.services.fields import KEY_LENGTH, LIMIT, MAX_LIMIT, NAME_LENGTH, PAYLOAD_BYTES, PAYLOAD_DEPTH
from reminder.services.identity import LISTEN, MANAGE, SCHEDULE, SCOPES
from reminder.services.log import CURSOR_EVERY, SEARCH, WAITING
from reminder.services.rrule import COUNT, INTERVAL
from reminder.services.rrule import LENGTH as RULE_LENGTH
from reminder.services.search import ANSWER_BYTES, SEARCHED
from reminder.services.tokens import LEEWAY, MAX_TOKEN
from reminder.specification import schemas
from reminder.specification.schemas import Schema
from reminder.websocket.addresses import SHARE
from reminder.websocket.inbox import BURST, MAX_INBOX, MAX_INBOX_SIZE, WINDOW
from reminder.websocket.outbox import FEW, MAX_OUTBOX, MAX_UNREAD
from reminder.websocket.payloads import MAX_MESSAGE, MAX_POST, MAX_POST_PACKETS
from reminder.websocket.session import BEGIN

DEFAULTS = Config.from_env({})


@dataclass(frozen=True, slots=True)
class Command:
    """A command: who has one of `scopes` may send it. `data` is None where it takes none."""

    name: str
    text: str
    scopes: frozenset[str]
    data: Schema | None
    response: Schema


@dataclass(frozen=True, slots=True)
class Event:
    """An event that the server sends, with one argument."""

    name: str
    text: str
    argument: Schema


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound, and what happens beyond it."""

    of: str
    value: str
    beyond: str


def _number(value: float, unit: str = '') -> str:
    return f'{value:,.10g} {unit}'.strip()


COMMANDS = (
    Command('getAllTimeZones', 'The names of all time zones.', SCOPES, None, schemas.TIME_ZONES),
    Command(
        'scheduleEvent',
        'Schedules an event; with ``repeat``, a series. ``time`` has to be in the future, but a series may have begun '
        'in the past. Where clocks skip the time, the event is as much later; where they show it twice, it is at the '
        'first; the answer has a ``warning`` then.',
        frozenset({SCHEDULE}),
        schemas.SCHEDULE,
        schemas.REMINDER_OR_SERIES,
    ),
    Command(
        'getEvent',
        'What is known of an event or a series. Who may not listen or manage knows only of what they have scheduled.',
        SCOPES,
        schemas.ONE,
        schemas.EVENT_OR_SERIES,
    ),
    Command(
        'updateEvent',
        'Changes what is given of a pending event, or of a series, and nothing else; the ``_id`` stays. '
        '``time`` alone is in the zone that it has, and ``timeZone`` alone gives its time another meaning. '
        'Changing what others have scheduled takes the scope ``manage``. An occurrence of a series can be changed like '
        'any event, until the series is changed. A change of a series leaves the minute alone that is closed within '
        f'{_number(CHANGE_LEAD / 1000, "s")}, or has been and is not delivered yet; the answer has a ``warning`` then.',
        frozenset({SCHEDULE, MANAGE}),
        schemas.UPDATE,
        schemas.EVENT_OR_SERIES,
    ),
    Command(
        'listEvents',
        'What is pending, in order of time. A series is there with its next occurrence that was not cancelled.',
        frozenset({LISTEN, MANAGE}),
        schemas.LIST,
        schemas.EVENTS,
    ),
    Command(
        'listSeries',
        'The series that have not ended, in no particular order.',
        frozenset({LISTEN, MANAGE}),
        schemas.LIST_SERIES,
        schemas.SERIES_LIST,
    ),
    Command(
        'cancelEvent',
        'Cancels a pending event, or ends a series and cancels what is pending of it; where some of it is closed '
        'already, and so still comes, the answer has a ``warning``. Cancelling twice is no failure. '
        'Cancelling what others have scheduled takes the scope ``manage``.',
        frozenset({SCHEDULE, MANAGE}),
        schemas.ONE,
        schemas.EVENT_OR_SERIES,
    ),
    Command(
        'getReminders',
        'What was delivered, in order of time.',
        frozenset({LISTEN}),
        schemas.LOOK_BACK,
        schemas.REMINDERS,
    ),
    Command(
        'getStatus',
        'How the server is, and how far its log; with ``_id`` also how it is with that event or series.',
        SCOPES,
        schemas.STATUS,
        schemas.STATUS_RESPONSE,
    ),
)

EVENTS = (
    Event(
        'eventReminder',
        'An event is due. Sent when its minute begins to every client that is connected, may listen, and has the '
        'channel, if the event has one; and to those who come back, behind where they left off.',
        {'$ref': '#/components/schemas/Reminder'},
    ),
    Event(
        'cursor',
        'The place in the log up to which the client has got everything: an offset, which any server on the same '
        'database takes as ``since``. Sent after connecting, after the reminders of a minute, and after every '
        f'{CURSOR_EVERY} within them.',
        schemas.text('opaque, without secrets', pattern=schemas.OFFSET),
    ),
    Event(
        'replayed',
        'Who has said where they left off has got what they missed. ``complete`` is false where there was more than '
        'is replayed, and where the log does not reach back as far, or does not know that place.',
        schemas.fields(
            'count complete',
            count={'type': 'integer', 'minimum': 0, 'description': 'how many reminders were sent'},
            complete={'type': 'boolean', 'description': 'whether nothing is missing'},
        ),
    ),
)


LIMITS = (
    Limit('``eventName``', _number(NAME_LENGTH, 'characters'), 'failure'),
    Limit('a channel', f'``{channels.NAME.pattern}``', 'failure; refused where a client connects'),
    Limit('``payload``', f'{_number(PAYLOAD_BYTES, "bytes of JSON in UTF-8")}, {PAYLOAD_DEPTH} levels deep', 'failure'),
    Limit('``key``', _number(KEY_LENGTH, 'characters'), 'failure'),
    Limit('``repeat``', _number(RULE_LENGTH, 'characters'), 'failure'),
    Limit('``COUNT`` in ``repeat``', _number(COUNT), 'failure'),
    Limit('``INTERVAL`` in ``repeat``', _number(INTERVAL), 'failure'),
    Limit('the next time that ``repeat`` names', _number(REACH, 'years ahead'), 'failure, or the series is over'),
    Limit('series that wait to be scheduled or changed', _number(RULES_WAITING), 'failure'),
    Limit('lists that wait to be answered', _number(LISTS_WAITING), 'failure'),
    Limit('changes of one event that wait', _number(CHANGES_WAITING), 'failure'),
    Limit('a minute is closed', _number(LEAD / 1000, 's before it begins'), 'failure: ``should be in future``'),
    Limit('``limit``', f'{_number(MAX_LIMIT)}; {LIMIT} unless given', 'failure'),
    Limit(
        'entries that a list for some channels looks through',
        _number(SEARCHED),
        'fewer are answered, with ``next``',
    ),
    Limit('names and payloads in a list', _number(ANSWER_BYTES, 'bytes'), 'fewer are answered, with ``next``'),
    Limit('what an ``error`` repeats of a value', _number(SHOWN_LENGTH, 'characters'), '``…`` stands for the rest'),
    Limit('tries of a change that others get in the way of', _number(ATTEMPTS), 'failure'),
    Limit('``channels`` of a client', _number(MAX_CHANNELS, 'names'), 'refused'),
    Limit('``token``', _number(MAX_TOKEN, 'characters'), 'refused'),
    Limit("an issuer's clock may be ahead", _number(LEEWAY / 1000, 's'), 'refused'),
    Limit(
        'reminders that are replayed',
        f'``REPLAY_LIMIT``: {_number(DEFAULTS.replay_limit)}, the newest',
        '``complete`` is false',
    ),
    Limit('entries of the log that a replay looks through', f'{_number(SEARCH)}, the newest', '``complete`` is false'),
    Limit('clients that wait for where a replay for some channels begins', _number(WAITING), 'closed; they come again'),
    Limit('one message', _number(MAX_MESSAGE, 'bytes'), 'the connection is closed; HTTP 413'),
    Limit(
        'one POST of long-polling',
        f'{_number(MAX_POST, "bytes")}, {_number(MAX_POST_PACKETS, "packets")}',
        'HTTP 413; HTTP 400 and the end of the session',
    ),
    Limit(
        'commands of a connection',
        f'``COMMAND_RATE_LIMIT``: {DEFAULTS.command_rate_limit} a second, {BURST:g} s ahead',
        'they are handled later',
    ),
    Limit(
        'commands by HTTP from one address',
        f'``COMMAND_RATE_LIMIT``: {DEFAULTS.command_rate_limit} a second, {BURST:g} s ahead',
        'HTTP 429',
    ),
    Limit('commands of a connection at once', _number(WINDOW), 'they are handled later'),
    Limit(
        'messages of a connection that wait',
        f'{_number(MAX_INBOX)}, {_number(MAX_INBOX_SIZE, "characters")}',
        'nothing more is read until they are fewer',
    ),
    Limit(
        'answers that a client has not taken',
        f'{_number(MAX_OUTBOX, "bytes")}; {_number(FEW, "bytes")}, where all have {_number(MAX_UNREAD, "bytes")}',
        'nothing more of it is handled until it takes them',
    ),
    Limit('a client that does not connect', _number(BEGIN, 's'), 'the connection is closed'),
    Limit(
        'clients at a time',
        f'``MAX_CONNECTIONS``: {_number(DEFAULTS.max_connections)}, one in {SHARE} of them from one address',
        'HTTP 503',
    ),
    Limit(
        'silence of a client',
        f'``PING_INTERVAL`` + ``PING_TIMEOUT``: {_number(DEFAULTS.ping_interval + DEFAULTS.ping_timeout, "s")}',
        'the connection is closed',
    ),
)

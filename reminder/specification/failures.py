"""What goes wrong, when, and what the client is told: commands that fail, and connections that are refused."""

from typing import Any, NamedTuple

from reminder.services import channels
from reminder.services.channels import MAX_CHANNELS
from reminder.services.fields import KEY_LENGTH, MAX_LIMIT, NAME_LENGTH, PAYLOAD_BYTES, PAYLOAD_DEPTH
from reminder.services.identity import LISTEN, MANAGE, SCHEDULE
from reminder.specification.examples import BACKUP, BACKUP_DATA, DEPLOY, DEPLOY_DATA, REVIEW, STAND_UP


class Failure(NamedTuple):
    """When a command fails, with a message that does, and the `error` of its answer.

    It is tried in the examples' story: where it is done with, or, if `early`, before anything was cancelled. With
    `claims`, it fails for who has a token with these.
    """

    when: str
    message: Any
    error: str
    early: bool = False
    claims: dict[str, Any] | None = None


class Refusal(NamedTuple):
    """When a connection is refused, with an `auth` for which it is, and the message of the `connect_error`.

    With `claims`, the token of `auth` is one that is genuine and has these, a scope and an expiry.
    """

    when: str
    auth: dict[str, Any]
    error: str
    claims: dict[str, Any] | None = None


def _schedule(**changes: Any) -> dict[str, Any]:
    data = {'eventName': 'Tea', 'time': '2027-01-15 16:00', 'timeZone': 'UTC', **changes}
    return {'command': 'scheduleEvent', 'data': {name: value for name, value in data.items() if value is not None}}


def _ask(command: str, **data: Any) -> dict[str, Any]:
    return {'command': command, 'data': data}


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth > 1 else []


_UNKNOWN = '0123456789abcdef01234567'
_HALF = '\ud83d'
_HALF_ERROR = 'holds half of a surrogate pair, which is not a character'

FAILURES = (
    Failure(
        'the message is no object, or has no ``command``',
        {'data': {}},
        "Invalid message passed: an object with a 'command' is required",
    ),
    Failure('there is no such command', {'command': 'scheduleParty'}, 'un-recognized command'),
    Failure('no name, or no text', _schedule(eventName=None), "'eventName' is required"),
    Failure(
        'a long name',
        _schedule(eventName='x' * (NAME_LENGTH + 1)),
        f"'eventName' is longer than {NAME_LENGTH} characters",
    ),
    Failure('a name that is no Unicode', _schedule(eventName=_HALF), f"'eventName' {_HALF_ERROR}"),
    Failure('no zone, or no text', _schedule(timeZone=None), "'timeZone' is required"),
    Failure(
        'an unknown zone',
        _schedule(timeZone='Mars/Olympus'),
        "timeZone='Mars/Olympus' is invalid: 'timeZone' is required to be one that getAllTimeZones names",
    ),
    Failure('no time, or no text', _schedule(time=None), "'time' is required"),
    Failure(
        'a time in another form, or of a day that does not exist',
        _schedule(time='2027-02-30 10:00'),
        "time='2027-02-30 10:00' is invalid: 'time' is required in format 'YYYY-MM-DD HH:mm', and to exist",
    ),
    Failure(
        'a time that is not in the future: its minute is closed',
        _schedule(time='2027-01-15 08:00'),
        "time='2027-01-15 08:00' should be in future",
    ),
    Failure(
        'a rule that is no text, or empty', _schedule(repeat=''), "'repeat' has to be an RRULE, such as FREQ=DAILY"
    ),
    Failure(
        'a rule that cannot be read, is too fine, names no time, or takes too long; what is wrong stands behind',
        _schedule(repeat='FREQ=SECONDLY'),
        "repeat='FREQ=SECONDLY' is invalid: FREQ=SECONDLY is finer than a minute",
    ),
    Failure(
        'a rule all of whose times have passed',
        _schedule(time='2027-01-01 08:00', repeat='FREQ=DAILY;COUNT=3'),
        "repeat='FREQ=DAILY;COUNT=3' names no time in the future",
    ),
    Failure('a wrong channel', _schedule(channel='team web'), f"channel='team web' is invalid: {channels.RULE}"),
    Failure(
        'a long payload',
        _schedule(payload='x' * PAYLOAD_BYTES),
        f"'payload' is longer than {PAYLOAD_BYTES} bytes of JSON",
    ),
    Failure(
        'a deep payload',
        _schedule(payload=_nested(PAYLOAD_DEPTH + 1)),
        f"'payload' is nested more than {PAYLOAD_DEPTH} levels deep",
    ),
    Failure('a payload that is no Unicode', _schedule(payload=[_HALF]), f"'payload' {_HALF_ERROR}"),
    Failure('a wrong key', _schedule(key=''), f"'key' has to be a text of 1 to {KEY_LENGTH} characters"),
    Failure(
        'a key that stands for something else',
        _ask('scheduleEvent', **{**DEPLOY_DATA, 'payload': {'build': 43}}),
        "'key' was used before, with other data",
    ),
    Failure(
        'a key whose event was cancelled',
        _ask('scheduleEvent', **BACKUP_DATA),
        "'key' belongs to an event that was cancelled",
    ),
    Failure('no ``_id``, or no text', {'command': 'getEvent'}, "'_id' is required"),
    Failure(
        'an ``_id`` that does not exist, or of which the client may not know',
        _ask('cancelEvent', _id=_UNKNOWN),
        f"_id='{_UNKNOWN}' is not found",
    ),
    Failure(
        'to change or cancel what is due or was delivered',
        _ask('cancelEvent', _id=STAND_UP),
        f"_id='{STAND_UP}' is due already, which cannot be changed any more",
    ),
    Failure(
        'to change what is cancelled', _ask('updateEvent', _id=BACKUP, eventName='x'), f"_id='{BACKUP}' is cancelled"
    ),
    Failure(
        'to change a series that has ended', _ask('updateEvent', _id=REVIEW, eventName='x'), f"_id='{REVIEW}' has ended"
    ),
    Failure(
        'a wrong ``limit``',
        _ask('listEvents', limit=0),
        f"'limit' has to be a whole number from 1 to {MAX_LIMIT}",
    ),
    Failure(
        'a wrong ``from`` or ``to``',
        _ask('listEvents', **{'from': '2027-01-15'}),
        "'from' has to be an ISO 8601 time with its zone",
    ),
    Failure('a wrong ``after``', _ask('listEvents', after='2'), "'after' has to be what 'next' was"),
    Failure(
        'a wrong ``since``',
        _ask('getReminders', since='yesterday'),
        "'since' must be an offset, the _id of a reminder, or an ISO 8601 time with its zone",
    ),
    Failure(
        'to give a rule to what is no series',
        _ask('updateEvent', _id=DEPLOY, repeat='FREQ=DAILY'),
        "'repeat' is of series only",
        early=True,
    ),
    Failure(
        'to leave a series without a time in the future',
        _ask('updateEvent', _id=REVIEW, time='2027-01-01 08:00', repeat='FREQ=DAILY;COUNT=3'),
        "repeat='FREQ=DAILY;COUNT=3' names no time in the future",
        early=True,
    ),
    Failure(
        'the token has no scope for the command',
        _schedule(),
        f"scope '{SCHEDULE}' is required",
        claims={'scope': LISTEN},
    ),
    Failure(
        'the token is not enough for what others have scheduled',
        _ask('cancelEvent', _id=STAND_UP),
        f"scope '{MANAGE}' is required to change what others have scheduled",
        claims={'scope': f'{LISTEN} {SCHEDULE}', 'sub': 'bob'},
    ),
    Failure(
        'the token does not name the channel',
        _schedule(channel='ops'),
        "channel='ops' is not allowed by your token",
        claims={'channels': ['team/web']},
    ),
)
"""Why commands fail by what was sent."""

OTHER_FAILURES = (
    ('binary data in a payload; elsewhere it is of a wrong type', "'payload' holds binary data, which is no JSON"),
    ('a payload with a number that no double holds, such as ``1e999``', "'payload' holds a number that is too large"),
    (
        'too many clients want the rule of a series to be read, a list, or to change the same event',
        'too many ask for the same just now; please try again later',
    ),
    ('the token has expired; the connection ends, too', 'token has expired'),
    (
        'a key whose event was moved to a channel that the token does not name',
        "'key' was used before, for what has moved to a channel that is not allowed by your token",
    ),
    ('others change the same again and again', 'somebody else is changing the same; please try again'),
    (
        'the database does not answer; what was asked for may have been done or not, which a ``key`` makes harmless',
        'the database is unavailable, so this may not have been done; please try again later',
    ),
    ('a mistake in the server, which is in its log', 'internal error'),
)
"""What is no JSON, what official clients do not send, and what has other reasons than the message: when, and the
`error`."""

REFUSALS = (
    Refusal(
        '``since`` is none of the three',
        {'since': 'yesterday'},
        "'since' must be an offset, the _id of a reminder, or an ISO 8601 time with its zone",
    ),
    Refusal(
        'there are too many channels, or no list of them',
        {'channels': 'team/web'},
        f"'channels' has to be a list of at most {MAX_CHANNELS} names",
    ),
    Refusal(
        'a channel has another name than channels may have',
        {'channels': ['team web']},
        f"'channels' holds 'team web', which is invalid: {channels.RULE}",
    ),
)
"""Why any server refuses a connection."""

TOKEN_REFUSALS = (
    Refusal('there is none', {}, 'token is missing'),
    Refusal('it is no token, or somebody else has signed it', {'token': 'guessed'}, 'token is not valid'),
    Refusal('it has expired', {}, 'token has expired', {'exp': 0}),
    Refusal('it never expires', {}, "token has no 'exp'", {'exp': None}),
    Refusal('it is for later, or was made later', {}, 'token is not valid yet', {'nbf': 2**33}),
    Refusal('an instant is none', {}, "token's 'nbf' has to be a number of seconds since 1970", {'nbf': -1}),
    Refusal('it is for another server', {}, 'token is for another audience', {'aud': 'others'}),
    Refusal('somebody else has made it', {}, 'token is from another issuer', {'iss': 'others'}),
    Refusal(
        'it allows nothing',
        {},
        "token has none of the scopes listen, manage, schedule in its 'scope'",
        {'scope': 'openid'},
    ),
    Refusal(
        'its channels are none',
        {},
        "token's 'channels' has to be a list of names of channels",
        {'channels': ['team web']},
    ),
    Refusal(
        'it does not name a channel that the client asks for',
        {'channels': ['ops']},
        "channel='ops' is not among the channels of your token",
        {'channels': ['team/web']},
    ),
)
"""Why a server that asks for tokens refuses one besides."""

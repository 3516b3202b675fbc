"""One story that all examples tell together, from 08:00 UTC on 15 January 2027, on a server that has just been set up.

A test sends what is in here, in order, and gets the same answers; ids and the instants of the server's own are its own.
"""

from typing import Any, NamedTuple

Json = Any

CLOCK = '2027-01-15 08:00:20'
"""What the server's clock shows when it starts; UTC."""
MINUTES = ('2027-01-15 08:30', '2027-01-15 08:45')
"""When something is due in the story; UTC."""
LATER = '2027-01-15 08:50'
"""When everything is done that is due in the story; UTC."""
OMITTED = '...'
"""The last entry of a list of which the rest is not shown."""
OWN = frozenset({'now', 'opened', 'closed', 'delivered', 'purged', 'secondsBehind', 'lateness'})
"""Fields of `getStatus` that are different each time."""


class Exchange(NamedTuple):
    """A command, and its answer."""

    message: Json
    answer: Json


class Opening(NamedTuple):
    """What a client gives as `auth` when it connects, and the events that it gets then: name and argument.

    Of several cursors it is the last one.
    """

    auth: Json
    events: tuple[tuple[str, Json], ...]


LOG = 'f2dd27db9f7488da'
STAND_UP = '6b49d216f28a0dbf1073d582'
BACKUP = '82167565cba90dab1f468c2d'
DEPLOY = 'f69e0ab5da4069655eb8b2fc'
REVIEW = '6b49d216f28a0dbf1073d583'
FIRST_REVIEW = 'f2f6b24190b9626dbaf0f3a4'

_STAND_UP = {'name': 'Stand-up', 'time': '2027-01-15T08:30:00.000Z', '_id': STAND_UP}
_BACKUP = {'name': 'Backup', 'time': '2027-03-28T01:30:00.000Z', '_id': BACKUP}
_DEPLOY = {
    'name': 'Deploy',
    'time': '2027-01-15T08:45:00.000Z',
    '_id': DEPLOY,
    'channel': 'team/web',
    'payload': {'build': 42},
}
_REVIEW = {
    'name': 'Review',
    'time': '2027-01-18T14:00:00.000Z',
    '_id': REVIEW,
    'repeat': 'FREQ=WEEKLY;BYDAY=MO,TH',
    'localTime': '2027-01-18 09:00',
    'timeZone': 'America/New_York',
    'occurrences': [f'2027-{day}T14:00:00.000Z' for day in ('01-18', '01-21', '01-25', '01-28', '02-01')],
}
_MONDAYS = {
    **_REVIEW,
    'repeat': 'FREQ=WEEKLY;BYDAY=MO',
    'occurrences': [f'2027-{day}T14:00:00.000Z' for day in ('01-18', '01-25', '02-01', '02-08', '02-15')],
}
_STAND_UP_EVENT = {**_STAND_UP, 'localTime': '2027-01-15 09:30', 'timeZone': 'Europe/Berlin'}
_DEPLOY_EVENT = {**_DEPLOY, 'localTime': '2027-01-15 08:45', 'timeZone': 'UTC'}
_BACKUP_EVENT = {
    **_BACKUP,
    'time': '2027-03-28T20:30:00.000Z',
    'localTime': '2027-03-28 22:30',
    'timeZone': 'Europe/Berlin',
}
_FIRST_REVIEW = {
    'name': 'Review',
    'time': '2027-01-18T14:00:00.000Z',
    '_id': FIRST_REVIEW,
    'series': REVIEW,
    'localTime': '2027-01-18 09:00',
    'timeZone': 'America/New_York',
}
_BEHIND_DEPLOY = f'{LOG}.1800002700000.{DEPLOY}'
_BEHIND_STAND_UP = f'{LOG}.1800001800000.{STAND_UP}'
_END = f'{LOG}.1800003000001.'
DEPLOY_DATA: Json = {
    'eventName': 'Deploy',
    'time': '2027-01-15 08:45',
    'timeZone': 'UTC',
    'channel': 'team/web',
    'payload': {'build': 42},
    'key': 'deploy-42',
}
BACKUP_DATA: Json = {
    'eventName': 'Backup',
    'time': '2027-03-28 02:30',
    'timeZone': 'europe/berlin',
    'key': 'backup-7',
}


def _exchange(command: str, response: Json, warning: str | None = None, /, **data: Json) -> Exchange:
    message = {'command': command, 'data': data} if data else {'command': command}
    answer = {'status': 'success', 'response': response}
    return Exchange(message, answer if warning is None else {**answer, 'warning': warning})


BEFORE = (
    _exchange('getAllTimeZones', ['Africa/Abidjan', 'Africa/Accra', OMITTED]),
    _exchange('scheduleEvent', _STAND_UP, eventName='Stand-up', time='2027-01-15 09:30', timeZone='Europe/Berlin'),
    _exchange(
        'scheduleEvent',
        _BACKUP,
        '2027-03-28 02:30 does not exist in Europe/Berlin, where clocks are put forward then; '
        'the reminder comes at 2027-03-28 03:30 there, 2027-03-28T01:30:00.000Z',
        **BACKUP_DATA,
    ),
    _exchange('scheduleEvent', _DEPLOY, **DEPLOY_DATA),
    _exchange(
        'scheduleEvent',
        _REVIEW,
        eventName='Review',
        time='2027-01-18 09:00',
        timeZone='America/New_York',
        repeat='FREQ=WEEKLY;BYDAY=MO,TH',
    ),
    _exchange('getEvent', {**_STAND_UP_EVENT, 'state': 'pending'}, _id=STAND_UP),
    _exchange('updateEvent', {**_BACKUP_EVENT, 'state': 'pending'}, _id=BACKUP, time='2027-03-28 22:30'),
    _exchange('updateEvent', _MONDAYS, _id=REVIEW, repeat='FREQ=WEEKLY;BYDAY=MO'),
    _exchange('listEvents', {'events': [_STAND_UP_EVENT, _DEPLOY_EVENT], 'next': _BEHIND_DEPLOY}, limit=2),
    _exchange('listEvents', {'events': [_FIRST_REVIEW, _BACKUP_EVENT], 'next': None}, limit=2, after=_BEHIND_DEPLOY),
    _exchange(
        'listEvents',
        {'events': [_DEPLOY_EVENT], 'next': None},
        **{'from': '2027-01-15T08:40:00Z', 'to': '2027-01-15T10:00:00+01:00', 'channel': 'team/web'},
    ),
    _exchange('listSeries', {'series': [_MONDAYS], 'next': None}),
)
"""What is asked before anything is due."""

CANCELS = (
    _exchange('cancelEvent', {**_BACKUP_EVENT, 'state': 'cancelled'}, _id=BACKUP),
    _exchange('cancelEvent', {**_MONDAYS, 'time': None, 'occurrences': []}, _id=REVIEW),
)
"""What is asked then."""

AFTER = (
    _exchange(
        'getReminders',
        {'reminders': [_STAND_UP], 'next': _BEHIND_STAND_UP, 'complete': True},
        since='2027-01-15T08:30:00Z',
        limit=1,
    ),
    _exchange('getReminders', {'reminders': [_DEPLOY], 'next': _END, 'complete': True}, since=_BEHIND_STAND_UP),
    _exchange(
        'getStatus',
        {
            'now': '2027-01-15T08:50:01.510Z',
            'log': LOG,
            'opened': '2027-01-15T08:00:22.694Z',
            'closed': '2027-01-15T08:50:00.000Z',
            'delivered': '2027-01-15T08:50:00.000Z',
            'purged': '2027-01-15T08:00:22.694Z',
            'secondsBehind': 0.0,
            'clients': 1,
            'clientsBehind': 0,
            'lateness': {'batches': 2, 'median': 1, 'worst': 1},
            'next': None,
            'event': {**_STAND_UP, 'state': 'delivered'},
        },
        _id=STAND_UP,
    ),
)
"""What is asked at 08:50."""

EXCHANGES = BEFORE + CANCELS + AFTER
"""All of them."""

HEARD: tuple[tuple[str, Json], ...] = (
    ('eventReminder', _STAND_UP),
    ('cursor', f'{LOG}.1800001800001.'),
    ('eventReminder', _DEPLOY),
    ('cursor', f'{LOG}.1800002700001.'),
)
"""What a client gets meanwhile that has connected with the channel `team/web`: names and arguments of events."""

OPENINGS = (
    Opening({}, (('cursor', _END),)),
    Opening(
        {'since': '2027-01-15T08:30:00Z', 'channels': ['team/web']},
        (
            ('eventReminder', _STAND_UP),
            ('eventReminder', _DEPLOY),
            ('cursor', _END),
            ('replayed', {'count': 2, 'complete': True}),
        ),
    ),
    Opening(
        {'since': STAND_UP},
        (('cursor', _END), ('replayed', {'count': 0, 'complete': True})),
    ),
)
"""Who connects at 08:50."""


def arguments(event: str) -> list[Json]:
    """What comes with the events of that name, each once."""
    told = [*HEARD, *(one for opening in OPENINGS for one in opening.events)]
    found: list[Json] = []
    for name, argument in told:
        if name == event and argument not in found:
            found.append(argument)
    return found

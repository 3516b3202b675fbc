"""What people see of events and series: the columns of their lists, and the facts of one that is looked at alone."""

import json
from collections.abc import Callable
from datetime import datetime

from reminder.terminal import Columns, Facts, Reminder, local, printable, relative, when

PAYLOAD = 30
"""Characters of a payload in a list, at most."""


def columns(now: datetime) -> Columns:
    """The columns of a list that is shown at `now`."""
    return {
        'time': lambda entry: local(entry['time']) if entry.get('time') else '',
        'from now': lambda entry: relative(entry.get('time'), now),
        'name': lambda entry: printable(entry.get('name')),
        'repeats': _field('repeat'),
        'channel': _field('channel'),
        'payload': lambda entry: _shortened(_payload(entry)),
        'id': _field('_id'),
    }


def facts(what: str, entry: Reminder) -> Facts:
    """What is told of an event or a series; `what` is what was done to it, or how it is."""
    return {
        printable(what): printable(entry.get('name')),
        **({'next': _occurrences(entry)} if 'repeat' in entry else {'time': when(entry.get('time'))}),
        'repeats': _field('repeat')(entry),
        'channel': _field('channel')(entry),
        'payload': _payload(entry),
        'id': _field('_id')(entry),
    }


def _occurrences(series: Reminder) -> str:
    times = series.get('occurrences')
    return '\n'.join(map(when, times)) if isinstance(times, list) and times else 'it has ended'


def _payload(entry: Reminder) -> str:
    return printable(json.dumps(entry['payload'], ensure_ascii=False)) if 'payload' in entry else ''


def _field(name: str) -> Callable[[Reminder], str]:
    return lambda entry: printable(entry[name]) if name in entry else ''


def _shortened(text: str) -> str:
    return text if len(text) <= PAYLOAD else f'{text[: PAYLOAD - 1]}…'

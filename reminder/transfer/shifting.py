"""Rules of reminders that come before or after what they remind of: the same rule, on a wall clock that is shifted."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.services.recurrence import Rule
from reminder.services.rrule import WEEKDAYS

COMPARED = 200
"""Occurrences by which it is found whether a rule is the right one."""

_FORM = '%Y%m%dT%H%M%S'


def shift_rule(text: str, start: datetime, shift: timedelta, zone: BaseTzInfo) -> str:
    """The rule whose times are those of `text` from `start` on (naive), each `shift` later on the wall clock.

    Raises InvalidInput where that is no rule, such as 15 minutes before midnight on the first of each month.
    """
    if not shift:
        return text
    wanted = [datetime.fromisoformat(time) + shift for time in _times(text, start, zone)]
    for candidate in _candidates(text, start, shift):
        try:
            found = [datetime.fromisoformat(time) for time in _times(candidate, start + shift, zone)]
        except InvalidInput:
            continue
        if found == wanted:
            return candidate
    raise InvalidInput(f'there is no rule for a reminder {abs(shift)} {_side(shift)} {text[:100]}')


def _times(text: str, start: datetime, zone: BaseTzInfo) -> list[str]:
    """The first occurrences on the wall clock."""
    rule = Rule.parse(text, start, zone)
    return [one.local_time for one in islice(rule.occurrences(rule.start - 1), COMPARED)]


def _candidates(text: str, start: datetime, shift: timedelta) -> Iterator[str]:
    parts = dict(part.split('=', 1) for part in text.upper().removeprefix('RRULE:').split(';') if '=' in part)
    if 'UNTIL' in parts:
        parts['UNTIL'] = _shifted_until(parts['UNTIL'], shift)
    yield _text(parts)
    days = ((start + shift).date() - start.date()).days
    weekdays = {day: WEEKDAYS[(number + days) % 7] for number, day in enumerate(WEEKDAYS)}
    if 'BYDAY' in parts:
        shifted = ','.join(weekdays.get(day, day) for day in parts['BYDAY'].split(','))
        yield _text({**parts, 'BYDAY': shifted, 'WKST': weekdays[parts.get('WKST', 'MO')]})
    yield _text({**parts, 'WKST': weekdays.get(parts.get('WKST', 'MO'), 'MO')})
    # What the rule says is what the start says, too.
    yield _text({name: value for name, value in parts.items() if not name.startswith('BY')})


def _shifted_until(until: str, shift: timedelta) -> str:
    form, zulu = (until[:-1], 'Z') if until.endswith('Z') else (until, '')
    try:
        moment = datetime.strptime(form if 'T' in form else f'{form}T235900', _FORM)
        return f'{(moment + shift).strftime(_FORM)}{zulu}'
    except (ValueError, OverflowError):
        raise InvalidInput(f'UNTIL={until[:100]} is no time') from None


def _text(parts: dict[str, str]) -> str:
    return ';'.join(f'{name}={value}' for name, value in parts.items())


def _side(shift: timedelta) -> str:
    return 'before' if shift < timedelta() else 'after'

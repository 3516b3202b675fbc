"""The grammar of recurrence rules (RFC 5545, 3.3.10): from text to parts that are checked one by one and together."""

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import IntEnum

LENGTH = 500
"""How many characters a rule may have."""

INTERVAL = 1_000_000
"""The greatest INTERVAL."""

COUNT = 10_000
"""The greatest COUNT: a start that is counted from is stepped through up to the last one."""

WEEKDAYS = 'MO TU WE TH FR SA SU'.split()
_MOST_IN_A_MONTH = 5
_DAY_ENDS = timedelta(hours=23, minutes=59)


class Frequency(IntEnum):
    """The values of FREQ, from rare to frequent."""

    YEARLY = 0
    MONTHLY = 1
    WEEKLY = 2
    DAILY = 3
    HOURLY = 4
    MINUTELY = 5


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a rule. A list that the rule lacks is empty; all are sorted and hold nothing twice.

    `until` is aware (UTC) where the rule has it so, else naive wall-clock time, a day's last minute where it is a
    date. Weekdays are numbers, Monday 0. `byday` holds `(weekday, n)` for the nth such day of the month or year,
    counted from its end if negative, and `(weekday, 0)` for each.
    """

    freq: Frequency
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    wkst: int = 0
    bysetpos: tuple[int, ...] = ()
    bymonth: tuple[int, ...] = ()
    bymonthday: tuple[int, ...] = ()
    byyearday: tuple[int, ...] = ()
    byweekno: tuple[int, ...] = ()
    byday: tuple[tuple[int, int], ...] = ()
    byhour: tuple[int, ...] = ()
    byminute: tuple[int, ...] = ()
    bysecond: tuple[int, ...] = ()


_NAMES = [field.name.upper() for field in fields(Parts)]
_NUMBERS = {'INTERVAL': INTERVAL, 'COUNT': COUNT}
_LISTS = {  # the least and the greatest number, and whether a minus sign counts from the end
    'BYSETPOS': (1, 366, True),
    'BYMONTH': (1, 12, False),
    'BYMONTHDAY': (1, 31, True),
    'BYYEARDAY': (1, 366, True),
    'BYWEEKNO': (1, 53, True),
    'BYHOUR': (0, 23, False),
    'BYMINUTE': (0, 59, False),
    'BYSECOND': (0, 59, False),
}
_UNTIL = re.compile(r'(?P<day>\d{8})(?P<time>T([01]\d|2[0-3])\d{4}Z?)?')
_BYDAY = re.compile(rf'(?P<n>[+-]?\d\d?)?(?P<day>{"|".join(WEEKDAYS)})')


def parse(text: str) -> Parts:
    """The parts of `text`: an RRULE with or without its name before it, in any letter case.

    Raises `ValueError`, whose text says what is wrong in words for the one who wrote the rule.
    """
    if len(text) > LENGTH:
        raise ValueError(f'it is longer than {LENGTH} characters')
    given: dict[str, str] = {}
    if not text.isascii() or len(text.split()) != 1:
        raise ValueError('it is required to be one RRULE, without spaces; the start and the zone stand beside it')
    for part in text.strip().upper().removeprefix('RRULE:').split(';'):
        name, equals, value = part.partition('=')
        if not equals:
            raise ValueError(f"'{part}' is no NAME=VALUE as in FREQ=DAILY;COUNT=3")
        if name not in _NAMES:
            raise ValueError(f'{name} is no part of a rule')
        if name in given:
            raise ValueError(f'{name} stands there twice')
        given[name] = value
    if 'FREQ' not in given:
        raise ValueError('FREQ is required')
    parts = Parts(**{name.lower(): _value(name, value) for name, value in given.items()})  # type: ignore[arg-type]
    _check(parts)
    return parts


def _value(name: str, value: str) -> object:
    if name == 'FREQ':
        return _frequency(value)
    if name == 'UNTIL':
        return _until(value)
    if name == 'WKST':
        return _weekday(value)
    if name == 'BYDAY':
        return tuple(sorted({_byday(item) for item in value.split(',')}))
    if name in _NUMBERS:
        return _number(name, value, 1, _NUMBERS[name])
    return tuple(sorted({_number(name, item, *_LISTS[name]) for item in value.split(',')}))


def _frequency(value: str) -> Frequency:
    if value == 'SECONDLY':
        raise ValueError('FREQ=SECONDLY is finer than a minute')
    if value not in Frequency.__members__:
        raise ValueError(f'FREQ is required to be one of {", ".join(Frequency.__members__)}')
    return Frequency[value]


def _number(name: str, text: str, least: int, greatest: int, is_signed: bool = False) -> int:
    digits = text[1:] if is_signed and text[:1] in ('+', '-') else text
    if not digits.isdigit() or not least <= int(digits) <= greatest:
        sign = ', or as much from the end with a minus sign' if is_signed else ''
        raise ValueError(f"{name} is required to hold numbers from {least} to {greatest}{sign}, not '{text}'")
    return int(text)


def _until(value: str) -> datetime:
    form = _UNTIL.fullmatch(value)
    try:
        if form is not None:
            until = datetime.fromisoformat(value)
            return until if form['time'] else until + _DAY_ENDS
    except ValueError:
        pass  # no such day
    raise ValueError(f"UNTIL is required as YYYYMMDD, YYYYMMDDTHHMMSS or YYYYMMDDTHHMMSSZ, not '{value}'")


def _weekday(value: str) -> int:
    if value not in WEEKDAYS:
        raise ValueError(f"WKST is required to be one of {', '.join(WEEKDAYS)}, not '{value}'")
    return WEEKDAYS.index(value)


def _byday(text: str) -> tuple[int, int]:
    form = _BYDAY.fullmatch(text)
    n = int(form['n'] or 0) if form else 0
    if form is None or (form['n'] and not 1 <= abs(n) <= 53):
        raise ValueError(f"BYDAY is required to hold days as MO, 2MO or -1MO, up to 53, not '{text}'")
    return WEEKDAYS.index(form['day']), n


def _check(parts: Parts) -> None:
    """Refuse what the parts must not be together. The RFC's own rules but for the first two and the last."""
    freq = parts.freq
    lists = [name for name in _NAMES if name.startswith('BY') and getattr(parts, name.lower())]
    greatest_n = max((abs(n) for _, n in parts.byday), default=0)
    by_month = freq == Frequency.MONTHLY or bool(parts.bymonth)
    if parts.bysecond not in ((), (0,)):
        raise ValueError('BYSECOND is finer than a minute')
    if parts.count is not None and parts.until is not None:
        raise ValueError('COUNT and UNTIL exclude each other')
    if parts.byweekno and freq != Frequency.YEARLY:
        raise ValueError('BYWEEKNO goes with FREQ=YEARLY alone')
    if parts.byyearday and freq in (Frequency.MONTHLY, Frequency.WEEKLY, Frequency.DAILY):
        raise ValueError(f'BYYEARDAY does not go with FREQ={freq.name}')
    if parts.bymonthday and freq == Frequency.WEEKLY:
        raise ValueError('BYMONTHDAY does not go with FREQ=WEEKLY')
    if greatest_n and (freq > Frequency.MONTHLY or parts.byweekno):
        raise ValueError('BYDAY with a number goes with FREQ=MONTHLY, or with FREQ=YEARLY without BYWEEKNO')
    if lists == ['BYSETPOS']:
        raise ValueError('BYSETPOS needs another BY... beside it')
    if greatest_n > _MOST_IN_A_MONTH and by_month:
        raise ValueError(f'BYDAY asks for more than the {_MOST_IN_A_MONTH} that a month has of a weekday')

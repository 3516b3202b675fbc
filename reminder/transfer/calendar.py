"""Calendars of other programs (RFC 5545): what their VEVENTs say, for us to keep. UIDs that are our ids stay them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.transfer.target import Found
from reminder.transfer.times import Zones
from reminder.transfer.vevent import Entry, parse, repeated, single


@dataclass(slots=True)
class _Waiting:
    """The entries of one UID, each with where it stands: the repeated one, and those that change it."""

    repeated: list[tuple[str, Entry]] = field(default_factory=list)
    changes: list[tuple[str, Entry]] = field(default_factory=list)


def read(lines: Iterable[str], default: BaseTzInfo, now: int) -> Iterator[Found]:
    """What the VEVENTs of calendars say, at `now` (ms, UTC); `default` is the zone of times that name none.

    Repeated ones come last, as what changes them may stand anywhere.
    """
    zones, waiting = Zones(default, now), defaultdict[str, _Waiting](_Waiting)
    for block in blocks(lines):
        if block.kind == 'VTIMEZONE':
            zones.learn(block.text)
            continue
        uid = _uid(block.text)
        where = f'line {block.line} ({uid})' if uid else f'line {block.line}'
        try:
            entry = parse(block.text, zones)
            if entry.recurs_at is not None:
                waiting[entry.uid].changes.append((where, entry))
            elif entry.repeats:
                waiting[entry.uid].repeated.append((where, entry))
            elif not entry.is_cancelled:
                for event in single(entry):
                    yield Found(where, event)
        except (InvalidInput, OverflowError) as error:
            yield Found(where, _fault(error))
    for one in waiting.values():
        yield from _repeated(one, zones, now)


def _repeated(waiting: _Waiting, zones: Zones, now: int) -> Iterator[Found]:
    changes = [entry for _, entry in waiting.changes]
    for number, (where, entry) in enumerate(waiting.repeated):
        try:
            if number:
                raise InvalidInput('there is another repeated one of the same UID')
            if not entry.is_cancelled:
                for found in repeated(entry, changes, zones, now):
                    yield Found(where, found)
        except (InvalidInput, OverflowError) as error:
            yield Found(where, _fault(error))
    for where, entry in () if waiting.repeated else waiting.changes:
        try:
            for event in () if entry.is_cancelled else single(entry):
                yield Found(where, event)
        except (InvalidInput, OverflowError) as error:
            yield Found(where, _fault(error))


def _fault(error: Exception) -> InvalidInput:
    return error if isinstance(error, InvalidInput) else InvalidInput('it has a time that cannot be reckoned with')


class Block(NamedTuple):
    line: int
    kind: str
    text: str


def blocks(lines: Iterable[str]) -> Iterator[Block]:
    """The components VEVENT and VTIMEZONE, each with the number of its first line and its text."""
    begun, kind, kept = 0, '', list[str]()
    for number, line in enumerate(lines, 1):
        name = line.strip().upper()
        if name in ('BEGIN:VEVENT', 'BEGIN:VTIMEZONE'):
            if kept:
                yield Block(begun, kind, ''.join(kept))  # it lacks its end, which parsing finds
            begun, kind, kept = number, name.removeprefix('BEGIN:'), []
        if kind:
            kept.append(line)
        if name == f'END:{kind}':
            yield Block(begun, kind, ''.join(kept))
            kind, kept = '', []
    if kept:
        yield Block(begun, kind, ''.join(kept))


def _uid(text: str) -> str:
    return next((line.partition(':')[2] for line in text.splitlines() if line.upper().startswith('UID')), '')

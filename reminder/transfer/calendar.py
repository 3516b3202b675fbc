"""Calendars of other programs (RFC 5545): what their VEVENTs say, for us to keep. UIDs that are our ids stay them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput
from reminder.transfer.target import Found
from reminder.transfer.times import UnknownZone, Zones
from reminder.transfer.vevent import Entry, parse, repeated, single


class Block(NamedTuple):
    line: int
    kind: str
    text: str


@dataclass(slots=True)
class _Waiting:
    """The entries of one UID, each with where it stands: the repeated one, and those that change it."""

    repeated: list[tuple[str, Entry]] = field(default_factory=list)
    changes: list[tuple[str, Entry]] = field(default_factory=list)


def read(lines: Iterable[str], default: BaseTzInfo, now: int, left_out: Counter[str] | None = None) -> Iterator[Found]:
    """What the VEVENTs of calendars say, at `now` (ms, UTC); `default` is the zone of times that name none.

    Repeated ones come last, as what changes them may stand anywhere. What else is in the calendars is counted in
    `left_out`, by its kind.
    """
    zones, waiting = Zones(default, now), defaultdict[str, _Waiting](_Waiting)
    for where, entry in _entries(blocks(lines, Counter() if left_out is None else left_out), zones):
        try:
            if isinstance(entry, InvalidInput):
                raise entry
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


def _entries(found: Iterable[Block], zones: Zones) -> Iterator[tuple[str, Entry | InvalidInput]]:
    """The VEVENTs among blocks, each with where it stands. One waits for the VTIMEZONE of a zone that is not known."""
    untold = defaultdict[str, list[Block]](list)
    for block in found:
        ready = untold.pop(zones.learn(block.text), []) if block.kind == 'VTIMEZONE' else [block]
        for one in ready:
            entry = _entry(one, zones)
            if isinstance(entry, UnknownZone):
                untold[entry.tzid].append(one)
            else:
                yield _where(one), entry
    for one in chain.from_iterable(untold.values()):
        yield _where(one), _entry(one, zones)


def _entry(block: Block, zones: Zones) -> Entry | InvalidInput:
    try:
        return parse(block.text, zones)
    except (InvalidInput, OverflowError) as error:
        return _fault(error)


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


def blocks(lines: Iterable[str], left_out: Counter[str]) -> Iterator[Block]:
    """The components VEVENT and VTIMEZONE, each with the number of its first line and its text.

    The others of calendars are counted in `left_out`, by their names.
    """
    begun, kind, kept, other = 0, '', list[str](), ''
    for number, line in enumerate(lines, 1):
        name = line.strip().upper()
        if name in ('BEGIN:VEVENT', 'BEGIN:VTIMEZONE'):
            if kept:
                yield Block(begun, kind, ''.join(kept))  # it lacks its end, which parsing finds
            begun, kind, kept, other = number, name.removeprefix('BEGIN:'), [], ''
        elif name.startswith('BEGIN:') and name != 'BEGIN:VCALENDAR' and not kind and not other:
            other = name.removeprefix('BEGIN:')
            left_out[other] += 1
        if kind:
            kept.append(line)
        if kind and name == f'END:{kind}':
            yield Block(begun, kind, ''.join(kept))
            kind, kept = '', []
        elif name == f'END:{other}':
            other = ''
    if kept:
        yield Block(begun, kind, ''.join(kept))


def _where(block: Block) -> str:
    uid = next((line.partition(':')[2] for line in block.text.splitlines() if line.upper().startswith('UID')), '')
    return f'line {block.line} ({uid})' if uid else f'line {block.line}'

"""Repeating events: when a rule (RFC 5545, RRULE) lets them come, by the wall clock of their zone.

Occurrences are what the rule names on the wall clock, each at the instant that `timezones.resolve` finds for it:

- Where clocks are put forward, a time that is skipped comes as long after the change: daily at 02:30 comes at 03:30 on
  that day. The RFC would leave it out, but nobody wants to miss a reminder on one day of the year. If the rule names
  03:30 too, that is one occurrence, so the rules by hour and minute go on as if nothing were.
- Where clocks are put back, a time that is repeated comes the first time only: daily at 01:30 comes once, and a rule by
  hour or minute pauses while clocks pass the same hour again.

COUNT counts on the wall clock, thus also the one of two that become one. A rule is known by its text, start and zone
alone: nothing has to be remembered between one occurrence and the next, however many have passed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from pytz.tzinfo import BaseTzInfo

from reminder.errors import InvalidInput, shown
from reminder.models import event
from reminder.services import rrule, timezones
from reminder.services.expansion import REACH, Expansion, minutes, moment

_STRANGE = re.compile(r'[^ -~]')  # nothing in a rule
_EPOCH = datetime(1970, 1, 1)
_DAY = timedelta(days=1)


class Occurrence(NamedTuple):
    """The instant (ms, UTC), and the wall-clock time ('YYYY-MM-DD HH:mm') that the rule names for it."""

    time: int
    local_time: str


class _Resolved(NamedTuple):
    """A time of a rule. In order of instants, and of two that are the same the one first that clocks really show."""

    instant: int
    is_adjusted: bool
    local: datetime
    shown: datetime


@dataclass(frozen=True, slots=True)
class Rule:
    """A checked rule of a series with its start and zone. It never changes, so it may be kept and shared by threads.

    `last` is the last wall-clock time that COUNT or a local UNTIL leave, `until` the last instant (ms, UTC) that an
    UNTIL in UTC leaves; None if nothing does.
    """

    zone: BaseTzInfo
    start: int
    expansion: Expansion
    last: int | None
    until: int | None

    @classmethod
    def parse(cls, text: str, start: datetime, zone: BaseTzInfo) -> 'Rule':
        """The rule `text` (an RRULE; 'RRULE:' before it is optional) of a series that begins at `start` in `zone`.

        `start` is wall-clock time (naive), to the minute. It is an occurrence only if it fits the rule, as in
        python-dateutil and Node's rrule, and COUNT begins with the first that fits. Raises `InvalidInput` where the
        text is no such rule, is finer than a minute, names no time within `expansion.REACH` years, or takes longer
        than that for its COUNT. Whatever the text, the work is bounded: some ten milliseconds.
        """
        try:
            parts = rrule.parse(text)
            rule = cls._of(parts, start, zone)
            if next(rule.occurrences(rule.start - 1), None) is None:
                raise ValueError(f'it names no time from {_text(start)} on, in {REACH} years')
        except ValueError as error:
            raise InvalidInput(f"repeat='{shown(_STRANGE.sub('?', text))}' is invalid: {error}") from None
        return rule

    @classmethod
    def _of(cls, parts: rrule.Parts, start: datetime, zone: BaseTzInfo) -> 'Rule':
        expansion = Expansion(parts, start)
        last = until = None
        if parts.count is not None:
            last = next(islice(expansion.since(minutes(start)), parts.count - 1, None), None)
            if last is None:
                raise ValueError(f'COUNT={parts.count} is not reached in {REACH} years')
        elif parts.until is not None and parts.until.tzinfo is None:
            last = minutes(parts.until)
        elif parts.until is not None:
            until = event.instant(parts.until)
        return cls(zone, timezones.resolve(start, zone).instant, expansion, last, until)

    def occurrences(self, after: int) -> Iterator[Occurrence]:
        """Those after the instant `after` (ms, UTC), in order; no two are at the same instant.

        The first is found at once, however long the series has run. They end with the rule, or `expansion.REACH` years
        after `after`. What comes more rarely than that, by a large INTERVAL, counts as over.
        """
        latest = max(after, self.start - 1)
        for one in _in_order(self._resolved(latest)):
            if self.until is not None and one.instant > self.until:
                return
            if one.instant > latest:
                latest = one.instant
                yield Occurrence(one.instant, _text(one.local))

    def _resolved(self, after: int) -> Iterator[_Resolved]:
        try:
            for wall in self.expansion.since(self._begin(after)):
                if self.last is not None and wall > self.last:
                    return
                local = moment(wall)
                resolved = timezones.resolve(local, self.zone)
                yield _Resolved(resolved.instant, resolved.adjusted == 'gap', local, resolved.local)
        except OverflowError:
            return  # the calendar ends

    def _begin(self, after: int) -> int:
        """A wall-clock time before which all of the zone are at `after` (ms, UTC) or earlier.

        What was skipped up to a day ago may still be to come: it is as late as if clocks had not been put forward.
        """
        utc = _EPOCH + timedelta(milliseconds=after)
        shown = (self.zone.fromutc(utc - ago).replace(tzinfo=None) + ago for ago in (timedelta(), _DAY))
        return minutes(min(shown))


def _in_order(resolved: Iterable[_Resolved]) -> Iterator[_Resolved]:
    """`resolved`, which is in order of wall-clock time, in order of instants: what was skipped is held back."""
    held: list[_Resolved] = []
    for one in resolved:
        heappush(held, one)
        while held and held[0].shown <= one.local:
            yield heappop(held)
    yield from sorted(held)


def _text(local: datetime) -> str:
    return local.isoformat(' ', 'minutes')

"""The times that a recurrence rule names on the wall clock: no zone, no COUNT, no UNTIL.

python-dateutil says which days of a month or a year a rule allows, and no more is asked of it. Its own iterator steps
from the start through all that has passed; and where a rule names no time (`BYMONTH=2;BYMONTHDAY=30`), it searches up
to the year 9999 within one `next()`, for seconds or hours. Here the place to begin at is calculated, and a search ends
after `REACH`. As there are only 14 kinds of years (28 where weeks count), dateutil is asked 168 times for a rule at
most, which is what bounds the cost.

It is also corrected by the RFC in four points. Weeks 52 and 53 around a new year are counted here, as dateutil takes
the length of the wrong year. `BYDAY=MO,-1FR` means both, where dateutil wants days that are both at once. `BYSETPOS`
counts within the whole first week, where dateutil's begins at the start. And `BYWEEKNO` alone means the start's day of
these weeks (what a rule does not say is taken from the start), where dateutil takes all seven.

Wall-clock times are integers here, minutes: `ordinal of the day * 1440 + minute of the day`.
"""

from calendar import isleap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import MAXYEAR, date, datetime, timedelta
from functools import lru_cache
from itertools import chain, dropwhile, groupby

from dateutil.rrule import MONTHLY, YEARLY, rrule, weekday

from reminder.services.rrule import Frequency, Parts

REACH = 50
"""How many years a search goes on. Of the rules without INTERVAL the rarest (29 February on a Monday) needs 40."""

_DAY = 24 * 60
_FIRST_DAY = datetime.min.toordinal()
_END = (MAXYEAR + 1) * 12
_BEYOND = MAXYEAR * 12  # as INTERVAL it leads out of the calendar: dateutil ends behind one month or year
_SLOT = {Frequency.HOURLY: 60, Frequency.MINUTELY: 1}


def minutes(local: datetime) -> int:
    """The wall-clock time `local` (naive) as it is counted here; its seconds are dropped."""
    return local.toordinal() * _DAY + local.hour * 60 + local.minute


def moment(wall: int) -> datetime:
    """The wall-clock time (naive) that is counted as `wall` here."""
    return datetime.min + timedelta(minutes=wall - _FIRST_DAY * _DAY)


class Expansion:
    """The times that `parts` name for a series which begins at `start` (naive wall-clock time).

    The start itself is among them if it fits the rule, and left out if not, as in python-dateutil and Node's rrule.
    """

    def __init__(self, parts: Parts, start: datetime) -> None:
        self._parts = _completed(parts, start)
        self._start = minutes(start)
        self._month = _month(start)
        self._week = _week_start(start.toordinal(), parts.wkst)
        # Up to a day, INTERVAL counts periods of one length, slots: here, the day's times by which slots they fall in.
        is_fine = parts.freq >= Frequency.DAILY
        self._slot = _SLOT.get(parts.freq, _DAY)
        self._pace = parts.interval if is_fine else 1
        self._positions = () if is_fine else parts.bysetpos
        self._times = defaultdict[int, list[int]](list)
        for slot, group in groupby(_times(self._parts), lambda time: time // self._slot):
            times = list(group)
            self._times[slot % self._pace] += _at(parts.bysetpos, [0], times) if is_fine and parts.bysetpos else times

    def since(self, begin: int) -> Iterator[int]:
        """The times from `begin` on, in order, but none more than `REACH` years later."""
        begin = max(begin, self._start)
        walls = chain.from_iterable(map(self._walls, self._periods(begin // _DAY)))
        return dropwhile(lambda wall: wall < begin, walls)

    def _walls(self, days: Sequence[int]) -> Iterator[int]:
        if self._positions:
            return iter(_at(self._positions, days, self._times[0]))
        return (day * _DAY + time for day in days for time in self._times_of(day))

    def _times_of(self, day: int) -> Sequence[int]:
        return self._times.get((self._start // self._slot - day * _DAY // self._slot) % self._pace, ())

    def _periods(self, first: int) -> Iterator[list[int]]:
        """The days of each period of the rule from the one on that holds the day `first`; days are ordinals."""
        freq, interval = self._parts.freq, self._parts.interval
        if freq == Frequency.YEARLY:
            return self._spans(first, self._month - self._month % 12, interval * 12)
        if freq == Frequency.MONTHLY:
            return self._spans(first, self._month, interval)
        if freq > Frequency.WEEKLY:
            return ([day for day in days if day >= first] for days in self._spans(first, self._month, 1))
        days = chain.from_iterable(self._spans(first - 6, self._month, 1))
        weeks = groupby(days, lambda day: (day - self._week) // 7)
        return (list(week) for number, week in weeks if number % interval == 0)

    def _spans(self, first: int, origin: int, step: int) -> Iterator[list[int]]:
        """The days that the rule allows in each `step`th month from `origin` on, or in the years that begin there."""
        month = _month(date.fromordinal(first))
        for number in range(month - (month - origin) % step, min(month + REACH * 12, _END), step):
            begin = date(number // 12, number % 12 + 1, 1)
            found = _days(self._parts, _ALIKE[_kind(begin.year, bool(self._parts.byweekno))], begin.month)
            yield [begin.toordinal() + day for day in found]


def _completed(parts: Parts, start: datetime) -> Parts:
    """`parts` with what they leave to the start, so that dateutil has nothing to add by itself."""
    freq = parts.freq
    by_weekday = ((start.weekday(), 0),)
    if not (parts.bymonthday or parts.byyearday or parts.byday):
        if parts.byweekno or freq == Frequency.WEEKLY:
            parts = replace(parts, byday=by_weekday)
        elif freq > Frequency.WEEKLY:
            parts = replace(parts, bymonthday=tuple(range(1, 32)))
        else:
            bymonth = parts.bymonth or ((start.month,) if freq == Frequency.YEARLY else ())
            parts = replace(parts, bymonth=bymonth, bymonthday=(start.day,))
    if any(n for _, n in parts.byday):
        most = 53 if freq == Frequency.YEARLY and not parts.bymonth else 5
        numbered = ((day, n) for day, given in parts.byday for n in ([given] if given else range(1, most + 1)))
        parts = replace(parts, byday=tuple(numbered))
    byhour = tuple(range(24)) if freq >= Frequency.HOURLY else (start.hour,)
    byminute = tuple(range(60)) if freq >= Frequency.MINUTELY else (start.minute,)
    return replace(parts, byhour=parts.byhour or byhour, byminute=parts.byminute or byminute)


def _times(parts: Parts) -> list[int]:
    return [hour * 60 + minute for hour in parts.byhour for minute in parts.byminute]


def _at(positions: tuple[int, ...], days: Sequence[int], times: Sequence[int]) -> list[int]:
    """What BYSETPOS chooses of all `times` of `days`."""
    indexes = (divmod(index, len(times)) for index in _indexes(positions, len(days) * len(times)))
    return [days[day] * _DAY + times[time] for day, time in indexes]


@lru_cache(1000)
def _indexes(positions: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Where in a sequence of `size` the `positions` are that count from 1, or from -1 back."""
    return tuple(sorted({at - 1 if at > 0 else size + at for at in positions if abs(at) <= size}))


@lru_cache(4096)
def _days(parts: Parts, year: int, month: int) -> tuple[int, ...]:
    """The days that `parts` allow in the month (in the year, if yearly) that begins then, counted from its first, 0."""
    begin = datetime(year, month, 1)
    allowed = rrule(
        YEARLY if parts.freq == Frequency.YEARLY else MONTHLY,
        dtstart=begin,
        interval=_BEYOND,
        bymonth=parts.bymonth or None,
        bymonthday=parts.bymonthday or None,
        byyearday=parts.byyearday or None,
        byweekday=[weekday(day, n or None) for day, n in parts.byday] or None,
        byhour=0,
        byminute=0,
        bysecond=0,
    )
    days = (day.toordinal() for day in allowed)
    return tuple(day - begin.toordinal() for day in days if not parts.byweekno or _is_in_weeks(day, parts))


def _is_in_weeks(day: int, parts: Parts) -> bool:
    """Whether BYWEEKNO names the week of `day`. A week is one of the year that has four of its days (ISO 8601)."""
    middle = _week_start(day, parts.wkst) + 3
    year = date.fromordinal(middle).year
    since_first, until_last = middle - date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal() - middle
    return since_first // 7 + 1 in parts.byweekno or -(until_last // 7) - 1 in parts.byweekno


def _week_start(day: int, wkst: int) -> int:
    return day - (day - _FIRST_DAY - wkst) % 7  # the calendar's first day is a Monday


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _kind(year: int, by_week: bool) -> tuple[int, ...]:
    """All that the days of a rule in `year` depend on. Weeks reach into it from the years beside it."""
    kind = date(year, 1, 1).weekday(), isleap(year)
    return (*kind, isleap(year - 1), isleap(year + 1)) if by_week else kind


_ALIKE = {_kind(year, by_week): year for year in range(2000, 2028) for by_week in (False, True)}
"""A year of each kind."""

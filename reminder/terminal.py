"""What people and programs see of the command line's results."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import pytz

Reminder = Mapping[str, Any]
Columns = Mapping[str, Callable[[Reminder], str]]
"""Of each column of a table its title, and what it shows of an entry."""
Facts = Mapping[str, str]
"""What people are told of one thing, each fact under its title."""

_UNITS = (('s', 1, 60), ('min', 60, 60), ('h', 3_600, 48), ('d', 86_400, 731), ('y', 31_557_600, 10_000))
"""Of each unit its seconds, and the number that is too large to be told in it."""


class Output:
    """Results on standard output, everything else on standard error; in colour where a person looks at it.

    There is one rule for results: on a terminal they are tables, with times in this machine's zone and how far they are
    from now; in a pipe, or where that is asked for, they are what the server sent, one JSON value a line.
    """

    def __init__(self, as_json: bool) -> None:
        """`as_json`: JSON on a terminal, too."""
        self._as_json = as_json

    def listing(self, entries: Iterable[Reminder], columns: Columns) -> None:
        """Entries: a table of these columns, or each as it comes."""
        if not self._is_for_people():
            for entry in entries:
                _print_json(entry)
            return
        from reminder.tables import print_rows

        rows = [{title: show(entry) for title, show in columns.items()} for entry in entries]
        print_rows(rows, _is_coloured(sys.stdout))

    def single(self, value: Any, facts: Facts) -> None:
        """One thing, of which people are told these facts."""
        if not self._is_for_people():
            _print_json(value)
            return
        from reminder.tables import print_facts

        print_facts(facts, _is_coloured(sys.stdout))

    def reminder(self, reminder: Reminder) -> None:
        """A reminder as it comes, for which nobody waits with a table."""
        if self._is_for_people():
            print(line(reminder), flush=True)
        else:
            _print_json(reminder)

    def names(self, names: Sequence[Any]) -> None:
        """Names, one a line: the exception to the rule, as that is what programs read best, too."""
        if self._as_json:
            _print_json(names)
        else:
            print('\n'.join(map(printable, names)), flush=True)

    def notice(self, text: str) -> None:
        print(_style('2', text, sys.stderr), file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        print(_style('33', f'warning: {text}', sys.stderr), file=sys.stderr, flush=True)

    def _is_for_people(self) -> bool:
        return not self._as_json and sys.stdout.isatty()


def line(event: Reminder) -> str:
    """An event for people."""
    name = _style('1', event.get('name'), sys.stdout)
    return f'{local(event.get("time"))}  {name}  ({printable(event.get("_id"))})'


def printable(value: Any) -> str:
    """`value` as text without what would move a terminal's cursor: names come from strangers."""
    return ''.join(one if one.isprintable() else one.encode('unicode_escape').decode() for one in str(value))


def local(moment: Any) -> str:
    """An ISO time of the server in this machine's zone, for people."""
    try:
        return f'{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M %Z}'
    except (TypeError, ValueError, OverflowError):
        return printable(moment)


def local_zone(environ: Mapping[str, str], localtime: str = '/etc/localtime') -> str:
    """The IANA name of this machine's time zone, by TZ or else by the link `localtime`; 'UTC' where it has none."""
    source = environ.get('TZ') or os.path.realpath(localtime)
    name = source.removeprefix(':').rpartition('zoneinfo/')[2]
    return name if name in pytz.all_timezones_set else 'UTC'


def relative(moment: Any, now: datetime) -> str:
    """How far an ISO time of the server is from `now`, for people: 'in 5 min', '2 h ago'; '' for what is no time."""
    try:
        seconds = (datetime.fromisoformat(moment) - now) / timedelta(seconds=1)
    except (TypeError, ValueError, OverflowError):
        return ''
    counts = ((round(abs(seconds) / size), unit, limit) for unit, size, limit in _UNITS)
    count, unit = next((count, unit) for count, unit, limit in counts if count < limit)
    return f'in {count} {unit}' if seconds >= 0 else f'{count} {unit} ago'


def when(moment: Any) -> str:
    """An ISO time of the server in this machine's zone, and how far it is from now."""
    distance = relative(moment, datetime.now(UTC))
    return f'{local(moment)} ({distance})' if distance else local(moment)


@contextmanager
def progress(
    text: str, total: Callable[[], int | None], output: TextIO | None = None
) -> Iterator[Callable[[int], object]]:
    """Shows on standard error, where a person looks at it, how far something is: what it gives is told each step.

    `total`, where it is known, is what the steps come to. Nothing is shown where `output` is a terminal, too.
    """
    if not sys.stderr.isatty() or (output is not None and output.isatty()):
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total())
        yield lambda step: bar.advance(task, step)


def _print_json(value: Any) -> None:
    print(json.dumps(value), flush=True)


def _style(code: str, value: Any, stream: TextIO) -> str:
    return f'\033[{code}m{printable(value)}\033[0m' if _is_coloured(stream) else printable(value)


def _is_coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'

"""The commands `event-reminder export` and `import`: events and series between a database and files.

Both work on the database itself, which is the one that `serve` would use; servers may run on it meanwhile. What is
imported stands under the same fence as what is scheduled: it is in time, or it is past.

An export as JSON lines is a move, so it holds what would have been heard of at the place it comes from, which is more
than what people are to be reminded of. A cancelled event whose time is to come, and a series that has ended, are told
with the word for it: they hold their keys and ids, so that a client which asks for the same again, or a second import,
does not revive them. A calendar is for other programs to show, and has neither.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from pytz.tzinfo import BaseTzInfo

from reminder.calendar import writer
from reminder.calendar.source import Source
from reminder.calendar.writer import Part
from reminder.config import Config
from reminder.errors import ConfigError, InvalidInput, ReminderError
from reminder.models.event import Event
from reminder.models.store import Store, open_store
from reminder.services import timezones
from reminder.settings import read_settings
from reminder.terminal import local_zone, printable, progress
from reminder.transfer import calendar
from reminder.transfer.lines import from_line, to_line
from reminder.transfer.target import Counts, Found, Repeated, Target

STANDARD = Path('-')
"""In place of a file: standard output or input."""


class Incomplete(ReminderError):
    """Some of a file could not be imported; the rest was."""


def export_events(file: Path, form: str | None, with_past: bool) -> None:
    """Writes what is pending, or all there is, to `file`; without `form` as the file's name says."""
    form = form or ('ics' if file.suffix.lower() in ('.ics', '.ical') else 'jsonl')
    config = Config.from_env(read_settings())
    if _is_missing(config.database_url):
        raise ConfigError(f'there is no database {config.database_for_logs} (DATABASE_URL says which)')
    with _store(config.database_url) as store, _opened(file, 'w') as out:
        source = Source(store, with_past)
        parts = _calendar(source) if form == 'ics' else _lines(source)
        with progress('exporting', source.count, out) as advance:
            for part in parts:
                out.write(part.text)
                advance(part.events)


def import_events(file: Path, form: str | None, zone: str | None, dry_run: bool) -> None:
    """Keeps what is in `file`, tells what cannot be, and how much it was; without `form` as its first line says.

    `zone` is that of times in calendars that name none, else this machine's. Raises Incomplete where some was skipped.
    """
    default = timezones.find(zone or local_zone(os.environ))
    if default is None:
        raise ConfigError(f'--zone {zone!r} is no time zone')
    config = Config.from_env(read_settings())
    url = config.database_url
    with TemporaryDirectory() as folder, _opened(file, 'r') as source:
        if dry_run and _is_missing(url):
            url = f'sqlite:///{folder}/new.db'
        with _store(url) as store, progress('importing', lambda: _size(file)) as advance:
            target, left_out = Target(store, config.replay_limit, _now, dry_run), Counter[str]()
            for where, what in _found(_counted(source, advance), form, default, left_out):
                try:
                    if isinstance(what, InvalidInput):
                        raise what
                    target.keep(what)
                except InvalidInput as error:
                    target.counts.skipped += 1
                    print(printable(f'{where}: {error}'), file=sys.stderr)
            target.flush()
    _tell_left_out(file, target.counts, left_out)
    counts = target.counts
    told = f'{counts.imported} imported, {counts.present} present, {counts.past} past, {counts.skipped} skipped'
    print(f'{told} (a dry run: nothing was kept)' if dry_run else told)
    if counts.skipped:
        raise Incomplete(f'{counts.skipped} could not be imported')


def _tell_left_out(file: Path, counts: Counts, left_out: Counter[str]) -> None:
    """Says what is in a file that is no event, or that there is nothing at all."""
    if left_out:
        kinds = ', '.join(f'{number} {kind[:100]}' for kind, number in left_out.items())
        print(printable(f'left out, as only VEVENTs are events: {kinds}'), file=sys.stderr)
    elif not any(astuple(counts)):
        print(f'there is nothing to import in {"standard input" if file == STANDARD else file}', file=sys.stderr)


def _lines(source: Source) -> Iterator[Part]:
    """What is in `source` as JSON lines."""
    for series in source.series(ended=True):
        yield Part(f'{to_line(series)}\n')
    for event in source.events(cancelled=True):
        yield Part(f'{to_line(event)}\n', not event.cancelled)


def _calendar(source: Source) -> Iterator[Part]:
    """What is in `source` as a calendar."""
    yield Part(writer.begin())
    yield from writer.components(source, _now())
    yield Part(writer.END)


def _found(lines: Iterator[str], form: str | None, default: BaseTzInfo, left_out: Counter[str]) -> Iterator[Found]:
    """The entries of a file; `left_out` counts what else is in calendars, by its kind."""
    first = next(lines, '').lstrip('\ufeff')
    lines = chain([first], lines)
    if form == 'ics' or (form is None and first.upper().startswith('BEGIN:')):
        return calendar.read(lines, default, _now(), left_out)
    return (Found(f'line {number}', _entry(line)) for number, line in enumerate(lines, 1) if line.strip())


def _entry(line: str) -> Event | Repeated | InvalidInput:
    try:
        entry = from_line(line)
    except InvalidInput as error:
        return error
    return entry if isinstance(entry, Event) else Repeated(entry)


def _counted(source: TextIO, advance: Callable[[int], object]) -> Iterator[str]:
    for line in source:
        advance(len(line.encode(errors='surrogateescape')))
        yield line


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _store(url: str) -> Iterator[Store]:
    with closing(open_store(url, lambda function, *arguments: function(*arguments))) as store:
        store.open(_now())
        yield store


def _is_missing(url: str) -> bool:
    """Whether it is a file that would be made."""
    path = url.removeprefix('sqlite:///')
    return path != url and not Path(path).exists()


@contextmanager
def _opened(file: Path, mode: str) -> Iterator[Any]:
    """The file, or what stands for it; in UTF-8, what is not so being found where it is read as something."""
    if file == STANDARD:
        stream: Any = sys.stdout if mode == 'w' else sys.stdin
        stream.reconfigure(encoding='utf-8', errors='surrogateescape', newline='')
        yield stream
        stream.flush()
        return
    try:
        opened = file.open(mode, encoding='utf-8', errors='surrogateescape', newline='')
    except OSError as error:
        raise ReminderError(f'{file} cannot be opened: {error.strerror}') from error
    with opened:
        yield opened


def _size(file: Path) -> int | None:
    return None if file == STANDARD else file.stat().st_size

"""The calendars that `icalendar` ships for its own tests, of many programs: what they say stays the same when it is
imported, exported, and imported again."""

from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest
import pytz

from reminder.calendar import writer
from reminder.calendar.source import Source
from reminder.errors import InvalidInput
from reminder.models.store import Store, open_store
from reminder.transfer.calendar import read
from reminder.transfer.target import Target
from tests.integration.test_commands import run
from tests.server import millis

EARLY = millis('1980-01-01 00:00:00')
"""Before anything in them, so that all of it is to come."""
CALENDARS = sorted(
    (one for one in (resources.files('icalendar') / 'tests' / 'calendars').iterdir() if one.name.endswith('.ics')),
    key=lambda one: one.name,
)


def keep(store: Store, text: str) -> tuple[int, list[str]]:
    """How many entries of a calendar were imported, and what was said of the others."""
    store.open(EARLY)
    target, said = Target(store, 100, lambda: EARLY, dry_run=False), list[str]()
    for where, what in read(text.splitlines(keepends=True), pytz.timezone('Europe/Berlin'), EARLY):
        try:
            if isinstance(what, InvalidInput):
                raise what
            target.keep(what)
        except InvalidInput as error:
            said.append(f'{where}: {error}')
    target.flush()
    return target.counts.imported, said


def export(store: Store) -> str:
    return ''.join(part.text for part in writer.components(Source(store), EARLY))


def test_much_of_it_is_events(tmp_path: Path) -> None:
    with closing(open_store(f'sqlite:///{tmp_path}/all', run)) as store:
        texts = [calendar.read_bytes().decode(errors='surrogateescape') for calendar in CALENDARS]
        assert sum(keep(store, text)[0] for text in texts) > 50


@pytest.mark.parametrize('calendar', CALENDARS, ids=lambda one: one.name)
def test_what_it_says_stays_the_same(calendar: Path, tmp_path: Path) -> None:
    text = calendar.read_bytes().decode(errors='surrogateescape')
    with closing(open_store(f'sqlite:///{tmp_path}/one', run)) as one:
        imported, _ = keep(one, text)
        exported = export(one)
    with closing(open_store(f'sqlite:///{tmp_path}/two', run)) as two:
        assert keep(two, exported) == (imported, [])
        assert export(two) == exported

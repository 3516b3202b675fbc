"""Export and import: between stores without loss or doubling, beside a server, and what comes of what was imported."""

import io
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytz

from reminder.cli import main
from reminder.errors import InvalidInput
from reminder.models.event import MINUTE, Event, Series, iso, new_id
from reminder.models.store import Store, open_store
from reminder.transfer.calendar import read
from reminder.transfer.lines import to_line
from reminder.transfer.target import Target
from tests import mongodb
from tests.integration.test_cli import COMMAND, environment
from tests.integration.test_commands import NOW, run, wanted
from tests.integration.test_commands import Server as Commands
from tests.server import Server

Transfer = Callable[..., tuple[int, str, str]]

CALENDAR = """\
BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:single@example.com
DTSTART:20370903T163000Z
DTEND:20370903T190000Z
SUMMARY:Annual review
BEGIN:VALARM
TRIGGER:-PT30M
ACTION:AUDIO
END:VALARM
BEGIN:VALARM
TRIGGER;RELATED=END:PT0S
ACTION:DISPLAY
DESCRIPTION:over
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:series@example.com
DTSTART;TZID=America/New_York:20361201T090000
RRULE:FREQ=WEEKLY;UNTIL=20381224T000000Z;BYDAY=MO,WE
EXDATE;TZID=America/New_York:20361203T090000
RDATE;TZID=America/New_York:20361204T090000
SUMMARY:Team
END:VEVENT
BEGIN:VEVENT
UID:series@example.com
RECURRENCE-ID;TZID=America/New_York:20361208T090000
DTSTART;TZID=America/New_York:20361208T110000
SUMMARY:Team\\, later
END:VEVENT
BEGIN:VEVENT
UID:holiday@example.com
DTSTART;VALUE=DATE:20361225
SUMMARY:Holiday
RRULE:FREQ=YEARLY
END:VEVENT
BEGIN:VEVENT
UID:past@example.com
DTSTART:19970714T170000Z
SUMMARY:Bastille Day Party
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Transfer:
    """Runs `export` or `import` on a database, in this process; returns its exit code, output and notices."""
    monkeypatch.chdir(tmp_path)

    def transfer(url: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setenv('DATABASE_URL', url)
        capsys.readouterr()
        return (main(words), *capsys.readouterr())

    return transfer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A SQLite store, `database(tmp_path)`, that holds some of everything."""
    store = open_store(database(tmp_path), run)
    now = time.time_ns() // 1_000_000
    record = store.open(now)
    event = Event(new_id(now), 'Über 🎉', record.closed // MINUTE * MINUTE + 9_000 * MINUTE + 7, None, None)
    store.add(event)
    store.add(
        replace(event, id=new_id(now), time=event.time + 1, channel='a', payload='{"ü":[1]}', owner='o', request='r')
    )
    for _, what in read(CALENDAR.splitlines(keepends=True), pytz.timezone('Europe/Berlin'), now):
        assert not isinstance(what, InvalidInput)
        target = Target(store, 100, lambda: now, dry_run=False)
        target.keep(what)
        target.flush()
    yield store
    store.close()


def database(folder: Path, name: str = 'events') -> str:
    return f'sqlite:///{folder / name}.db'


def counts(imported: int, present: int, past: int = 0, skipped: int = 0) -> str:
    return f'{imported} imported, {present} present, {past} past, {skipped} skipped\n'


def test_everything_moves_to_another_kind_of_store_and_back(store: Store, tmp_path: Path, transfer: Transfer) -> None:
    code, first, err = transfer(database(tmp_path), 'export')
    assert (code, err) == (0, '')
    lines = first.splitlines()
    assert len(lines) == 12, first
    assert sum('"repeat"' in line for line in lines) == 2
    assert sum('"cancelled"' in line for line in lines) == 1

    with mongodb.database() as url:
        for target, source in ((url, database(tmp_path)), (database(tmp_path, 'copy'), url)):
            assert transfer(source, 'export', 'file.jsonl') == (0, '', '')
            assert transfer(target, 'import', 'file.jsonl', '--dry-run')[1].startswith(counts(12, 0)[:-1])
            assert transfer(target, 'import', 'file.jsonl') == (0, counts(12, 0), '')
            assert transfer(target, 'export') == (0, first, '')

            # Again, and where it was broken off
            assert transfer(target, 'import', 'file.jsonl') == (0, counts(0, 12), '')
            assert transfer(target, 'export') == (0, first, '')


def test_what_was_cancelled_is_not_revived_by_who_asks_for_it_again(tmp_path: Path, transfer: Transfer) -> None:
    # Given an event and a series with keys, both cancelled
    once = wanted(0, time='2037-01-01 00:00', key='once')
    daily = wanted(0, time='2037-01-01 00:00', key='daily', repeat='FREQ=DAILY')
    with closing(open_store(database(tmp_path), run)) as store:
        server = Commands(store)
        for wish in (once, daily):
            server.ask('cancelEvent', _id=server.ask('scheduleEvent', **wish)['_id'])

    # When all moves to another database
    copy = database(tmp_path, 'copy')
    assert transfer(database(tmp_path), 'export', 'file.jsonl') == (0, '', '')
    assert transfer(copy, 'import', 'file.jsonl') == (0, counts(3, 0), '')  # the series with its first occurrence

    # Then whoever asks for the same there is told so, and nothing comes of it
    with closing(open_store(copy, run)) as store:
        server = Commands(store)
        assert server.fail('scheduleEvent', **once) == "'key' belongs to an event that was cancelled"
        assert server.ask('scheduleEvent', **daily)['occurrences'] == []
        assert server.pending() == []
        assert server.ask('listSeries')['series'] == []


def test_a_calendar_comes_out_as_it_went_in(store: Store, tmp_path: Path, transfer: Transfer) -> None:
    code, calendar, err = transfer(database(tmp_path), 'export', '--format', 'ics')
    assert (code, err) == (0, '')
    Path('copy.ics').write_text(calendar, newline='')
    copy = database(tmp_path, 'copy')
    assert transfer(copy, 'import', 'copy.ics') == (0, counts(6, 0), '')
    assert told(transfer(copy, 'export', '--format', 'ics')[1]) == told(calendar)
    assert transfer(copy, 'import', 'copy.ics') == (0, counts(0, 6), '')

    # And where it came from it is known
    assert transfer(database(tmp_path), 'import', 'copy.ics') == (0, counts(0, 6), '')


@pytest.mark.parametrize('form', ['ics', 'jsonl'])
def test_a_name_comes_back_as_it_was_whatever_it_holds(tmp_path: Path, transfer: Transfer, form: str) -> None:
    # Given events with names that are odd, and a payload with the control character that JSON does not escape
    names = [
        ' lead',
        'trail ',
        '   ',
        '\u2028',
        '\u0085x',
        '\x0bx',
        '\x7f',
        'a\rb',
        'a\r\nb',
        '\n',
        '\ta\n',
        '\\n',
        ';,:"',
    ]
    now = time.time_ns() // 1_000_000
    with closing(open_store(database(tmp_path), run)) as store:
        store.open(now)
        due = (now // MINUTE + 9_000) * MINUTE
        for number, name in enumerate(names):
            store.add(Event(new_id(now), name, due + number * MINUTE, payload='"\x7f\u2028"'))
    # When they move
    assert transfer(database(tmp_path), 'export', f'file.{form}') == (0, '', '')
    assert transfer(database(tmp_path, 'copy'), 'import', f'file.{form}') == (0, counts(len(names), 0), '')
    # Then they are the same, and no program finds a control character in the file
    moved = [json.loads(line) for line in transfer(database(tmp_path, 'copy'), 'export')[1].split('\n')[:-1]]
    assert [one['name'] for one in moved] == names
    assert {one['payload'] for one in moved} == {'\x7f\u2028'}
    if form == 'ics':
        assert not re.search(r'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]', Path('file.ics').read_text().replace('\t', ''))


def test_an_import_that_was_killed_is_run_again(tmp_path: Path, transfer: Transfer) -> None:
    # Given a file with series and many events, and an import that was killed when it had kept some of it
    due = (time.time_ns() // MINUTE // 1_000_000 + 9_000) * MINUTE
    entries: list[Event | Series] = [
        Series(f'{number:024x}', 'daily', 'FREQ=DAILY', '2037-01-01 00:00', 'UTC', due) for number in range(9)
    ]
    entries += [Event(f'{number:024x}', f'event {number}', due + number * MINUTE) for number in range(100, 2_100)]
    lines = [f'{to_line(entry)}\n' for entry in entries]
    killed = subprocess.Popen(
        [*COMMAND, 'import', '-'], env=environment(DATABASE_URL=database(tmp_path)), stdin=subprocess.PIPE, text=True
    )
    assert killed.stdin
    killed.stdin.writelines(lines[:1_500])
    killed.stdin.flush()
    while not (there := rows(tmp_path / 'events.db')):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    # When it is run again
    (tmp_path / 'file').write_text(''.join(lines))
    code, out, err = transfer(database(tmp_path), 'import', 'file')
    # Then all is there, once
    imported, present = map(int, re.findall(r'\d+', out)[:2])
    assert (code, err, imported + present) == (0, '', len(lines))
    assert 0 < there <= present < len(lines)
    assert transfer(database(tmp_path, 'copy'), 'import', 'file') == (0, counts(len(lines), 0), '')
    assert transfer(database(tmp_path), 'export')[1] == transfer(database(tmp_path, 'copy'), 'export')[1]


def rows(path: Path) -> int:
    """How many events a store's file holds."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM events WHERE name != 'daily'").fetchone()[0])
    return 0


def told(calendar: str) -> list[str]:
    """What a calendar says but for when it was made."""
    return [line for line in calendar.splitlines() if not line.startswith('DTSTAMP')]


def test_a_calendar_says_what_other_programs_can_read(store: Store, tmp_path: Path, transfer: Transfer) -> None:
    _, calendar, _ = transfer(database(tmp_path), 'export', 'out.ics')
    lines = Path('out.ics').read_text().splitlines()
    for line in (
        'RRULE:FREQ=WEEKLY;UNTIL=20381224T000000Z;BYDAY=MO,WE',
        'DTSTART;TZID=America/New_York:20361201T090000',
        'EXDATE;TZID=America/New_York:20361203T090000',
        'RDATE;TZID=America/New_York:20361204T090000',
        'RECURRENCE-ID;TZID=America/New_York:20361208T090000',
        'DTSTART;TZID=America/New_York:20361208T110000',
        'SUMMARY:Team\\, later',
        'DTSTART:20370903T160000Z',
        'DTSTART:20370903T190000Z',
        'TZID:Europe/Berlin',
    ):
        assert lines.count(line) == 1, line
    assert calendar == ''


def test_the_past_is_exported_when_it_is_asked_for_and_never_imported(tmp_path: Path, transfer: Transfer) -> None:
    now = time.time_ns() // 1_000_000
    store = open_store(database(tmp_path), run)
    store.open(now - 60 * MINUTE)
    store.add(Event(new_id(now), 'past', now - 30 * MINUTE))
    store.close_minute(now // MINUTE * MINUTE)
    store.close()

    assert transfer(database(tmp_path), 'export') == (0, '', '')
    _, out, _ = transfer(database(tmp_path), 'export', '--all')
    assert json.loads(out)['name'] == 'past'
    Path('all').write_text(out)
    assert transfer(database(tmp_path, 'copy'), 'import', 'all') == (0, counts(0, 0, 1), '')


def test_what_is_bad_is_named_and_skipped(tmp_path: Path, transfer: Transfer) -> None:
    good = {'_id': '0' * 24, 'name': 'good', 'time': '2036-01-01T00:00:00Z'}
    series = {'_id': '1' * 24, 'name': 'x', 'repeat': 'FREQ=DAILY', 'localTime': '2036-01-01 00:00', 'timeZone': 'UTC'}
    faults: list[tuple[Any, str]] = [
        ({**good, '_id': 'x'}, "'_id' has to be 24 hexadecimal digits"),
        ({**good, 'time': 'soon'}, "'time' has to be an ISO 8601 time"),
        ({**good, 'name': ''}, "'eventName' is required"),
        ({**good, 'timeZone': 'Mars', 'localTime': '2036-01-01 00:00'}, "timeZone='Mars' is invalid"),
        ({**good, 'localTime': '2036-01-01 00:00'}, "'timeZone' is required"),
        ({**good, 'series': 'x'}, "'series' has to be"),
        ({**good, 'owner': 7}, "'owner' has to be a text"),
        ({**good, 'channel': ''}, "channel=''"),
        (series, "'revision' has to be a number"),
        ({**series, 'revision': 0}, "'made' has to be an ISO"),
        ({**series, 'revision': 0, 'made': good['time'], 'repeat': 'x'}, "repeat='x' is invalid"),
        ([], 'it is no JSON object'),
    ]
    lines = [json.dumps(line) for line, _ in faults]
    Path('bad').write_bytes(
        '\n'.join(['\ufeff' + json.dumps(good), '', '{', *lines]).encode()
        + b'\n{"_id": "'
        + b'2' * 24
        + b'", "time": "2036-01-01T00:00:00Z", "name": "\xff"}'
    )
    code, out, err = transfer(database(tmp_path), 'import', 'bad')
    assert (code, out) == (1, counts(1, 0, 0, len(faults) + 2))
    notices = err.splitlines()
    assert notices[0] == 'line 3: it is no JSON'
    for number, (notice, (_, said)) in enumerate(zip(notices[1:], faults, strict=False), 4):
        assert notice.startswith(f'line {number}: ')
        assert said in notice
    assert 'surrogate' in notices[-2]
    assert notices[-1] == f'event-reminder: {len(faults) + 2} could not be imported'


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'there is nothing to import in some.ics\n'),
        ('BEGIN:VCALENDAR\nEND:VCALENDAR\n', 'there is nothing to import in some.ics\n'),
        (
            'BEGIN:VCALENDAR\nBEGIN:VTODO\nEND:VTODO\nBEGIN:VTODO\nEND:VTODO\nBEGIN:X-\033\nEND:X-\033\nEND:VCALENDAR\n',
            'left out, as only VEVENTs are events: 2 VTODO, 1 X-\\x1b\n',
        ),
    ],
)
def test_what_is_left_out_is_said(tmp_path: Path, transfer: Transfer, text: str, said: str) -> None:
    Path('some.ics').write_text(text)
    assert transfer(database(tmp_path), 'import', 'some.ics') == (0, counts(0, 0), said)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('export',), 'there is no database'),
        (('import', 'missing'), 'missing cannot be opened: No such file or directory'),
        (('import', 'missing', '--zone', 'Mars'), "--zone 'Mars' is no time zone"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, transfer: Transfer, words: tuple[str, ...], said: str) -> None:
    code, out, err = transfer(database(tmp_path), *words)
    assert (code in (1, 2), out) == (True, '')
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_series_with_a_change_too_far_ahead_is_refused(tmp_path: Path, transfer: Transfer) -> None:
    entry = 'UID:far\nDTSTART:20360101T000000Z\nSUMMARY:x\nRRULE:FREQ=MINUTELY\nEXDATE:20370101T000000Z'
    Path('far.ics').write_text(f'BEGIN:VCALENDAR\nBEGIN:VEVENT\n{entry}\nEND:VEVENT\nEND:VCALENDAR\n')
    code, out, err = transfer(database(tmp_path), 'import', 'far.ics')
    assert (code, out) == (1, counts(0, 0, 0, 1))
    assert err.startswith('line 2 (far): one of it differs that is more than 1000 ahead')


def test_it_works_beside_a_server_and_in_a_pipe(
    tmp_path: Path, transfer: Transfer, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a server that has a database with an event
    with Server(tmp_path) as server:
        server.start()
        assert main(['schedule', 'there', '--at', '2035-01-01 00:00', '--zone', 'UTC', '--url', server.url]) == 0

        # When events are piped into it while it runs
        entry = 'UID:far\nDTSTART:20360101T000000Z\nSUMMARY:daily\nRRULE:FREQ=DAILY'
        calendar = f'BEGIN:VCALENDAR\nBEGIN:VEVENT\n{entry}\nEND:VEVENT\nEND:VCALENDAR\n'
        (tmp_path / '.env').write_text(f'DATABASE_URL={server.settings["DATABASE_URL"]}\n')
        run = [*COMMAND, 'import', '-']
        done = subprocess.run(run, input=calendar, env=environment(), cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, counts(1, 0), '')

        # Then clients of the server see them, and the export has both
        capsys.readouterr()
        assert main(['list', '--url', server.url]) == 0
        assert names(capsys.readouterr().out) == ['there', 'daily']
        assert names(transfer(server.settings['DATABASE_URL'], 'export')[1]) == ['daily', 'there', 'daily']


def names(lines: str) -> list[str]:
    return [json.loads(line)['name'] for line in lines.splitlines()]


def test_what_was_imported_comes_when_its_time_comes(tmp_path: Path) -> None:
    def at(minutes: int) -> str:
        return iso(NOW + minutes * MINUTE)[:16].replace('-', '').replace(':', '') + '00Z'

    entries = [
        f'UID:1\nDTSTART:{at(3)}\nSUMMARY:single\nBEGIN:VALARM\nTRIGGER:-PT1M\nEND:VALARM',
        f'UID:2\nDTSTART:{at(1)}\nSUMMARY:series\nRRULE:FREQ=MINUTELY;COUNT=5\nEXDATE:{at(2)}\nRDATE:{at(9)}',
        f'UID:2\nRECURRENCE-ID:{at(3)}\nDTSTART:{at(7)}\nSUMMARY:moved',
    ]
    lines = [f'{line}\n' for entry in entries for line in ('BEGIN:VEVENT', *entry.splitlines(), 'END:VEVENT')]
    store = open_store(database(tmp_path), run)
    server = Commands(store)
    target = Target(store, 100, lambda: NOW, dry_run=False)
    for _, what in read(lines, pytz.utc, NOW):
        assert not isinstance(what, InvalidInput)
        target.keep(what)
    target.flush()
    for minute in range(1, 11):
        server.pass_to(NOW + minute * MINUTE)
    reminders = server.ask('getReminders', since=iso(NOW))['reminders']
    store.close()
    assert [(one['name'], one['time']) for one in reminders] == [
        (name, iso(NOW + minutes * MINUTE))
        for name, minutes in (('series', 1), ('single', 2), ('series', 4), ('series', 5), ('moved', 7), ('series', 9))
    ]


def test_standard_input_is_read_in_this_process_too(
    tmp_path: Path, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(CALENDAR.replace('\n', '\r\n').encode()), 'latin-1'))
    code, out, err = transfer(database(tmp_path), 'import', '-', '--zone', 'Asia/Tokyo')
    assert (code, out, err) == (0, counts(4, 0, 1), '')
    lines = map(json.loads, transfer(database(tmp_path), 'export')[1].splitlines())
    assert {one['time'] for one in lines if one['name'] == 'Holiday' and 'time' in one} == {'2036-12-24T15:00:00.000Z'}


def test_a_person_sees_how_far_it_is_and_a_program_does_not(tmp_path: Path) -> None:
    (tmp_path / 'events.ics').write_text(CALENDAR.replace('Annual review', '世界' * 400), encoding='utf-8')
    controller, terminal = pty.openpty()
    env = environment(TERM='xterm', DATABASE_URL=database(tmp_path))
    done = subprocess.run(
        [*COMMAND, 'import', 'events.ics'], env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, text=True
    )
    os.close(terminal)
    shown = os.read(controller, 100_000).decode()
    os.close(controller)
    assert (done.returncode, done.stdout) == (0, counts(4, 0, 1))
    assert 'importing' in shown and '100%' in shown  # counted in bytes, as the size of a file is

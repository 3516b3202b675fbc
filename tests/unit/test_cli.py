"""The command line's parts that need no server: arguments, zones, the default minute, what people see."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, combinations
from pathlib import Path

import pytest

from reminder import client
from reminder.cli import main
from reminder.client import next_minute
from reminder.client.events import moment
from reminder.errors import ConfigError
from reminder.tables import print_facts, print_rows, without_room
from reminder.terminal import Output, local_zone, printable, relative


@pytest.fixture(autouse=True)
def time_zone() -> Iterator[None]:
    yield
    time.tzset()


def powerset(*names: str) -> Iterator[set[str]]:
    return map(set, chain.from_iterable(combinations(names, count) for count in range(len(names) + 1)))


@pytest.mark.parametrize(
    ('now', 'zone', 'expected'),
    [
        ('2026-11-29T22:29:00Z', 'UTC', ('2026-11-29 22:30', 'UTC')),
        ('2026-11-29T22:29:57.900Z', 'UTC', ('2026-11-29 22:30', 'UTC')),
        ('2026-11-29T22:29:58Z', 'UTC', ('2026-11-29 22:31', 'UTC')),
        ('2026-11-29T22:29:00Z', 'Asia/Kolkata', ('2026-11-30 04:00', 'Asia/Kolkata')),
        ('2026-12-31T23:59:30Z', 'Europe/Berlin', ('2027-01-01 01:00', 'Europe/Berlin')),
        # 01:30 comes twice in New York: 05:30 and 06:30 in UTC. Its second one cannot be named in that zone.
        ('2026-11-01T05:29:00Z', 'America/New_York', ('2026-11-01 05:30', 'UTC')),
        ('2026-11-01T06:29:00Z', 'America/New_York', ('2026-11-01 06:30', 'UTC')),
        ('2026-11-01T06:59:00Z', 'America/New_York', ('2026-11-01 02:00', 'America/New_York')),
    ],
)
def test_the_default_is_the_next_minute_that_is_still_open(now: str, zone: str, expected: tuple[str, str]) -> None:
    assert next_minute(datetime.fromisoformat(now), zone) == expected


def test_an_unknown_zone_has_no_next_minute() -> None:
    with pytest.raises(ConfigError, match="'Mars/Olympus' is no time zone"):
        next_minute(datetime.fromisoformat('2026-11-29T22:29:00Z'), 'Mars/Olympus')


@pytest.mark.parametrize(
    ('tz', 'expected'),
    [
        ('America/New_York', 'America/New_York'),
        (':Europe/Berlin', 'Europe/Berlin'),
        ('/usr/share/zoneinfo/Asia/Tokyo', 'Asia/Tokyo'),
        ('<-03>3', 'UTC'),
    ],
)
def test_the_zone_is_the_one_that_tz_names(tz: str, expected: str) -> None:
    assert local_zone({'TZ': tz}) == expected


@pytest.mark.parametrize(
    ('target', 'expected'),
    [
        ('usr/share/zoneinfo/Europe/Berlin', 'Europe/Berlin'),
        ('var/db/timezone/zoneinfo/America/Argentina/Ushuaia', 'America/Argentina/Ushuaia'),
        ('etc/copy-of-a-zone', 'UTC'),
    ],
)
def test_without_tz_the_zone_is_where_the_link_leads(tmp_path: Path, target: str, expected: str) -> None:
    (tmp_path / 'localtime').symlink_to(tmp_path / target)
    assert local_zone({}, str(tmp_path / 'localtime')) == expected


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['unknown'],
        ['schedule'],
        ['serve', 'more'],
        ['listen', '--url', 'localhost:3000'],
        ['listen', '--url', 'ftp://host'],
        ['listen', '--url', 'http://host:port'],
        ['listen', '--url', 'http://'],
        ['list', '--limit', '0'],
        ['list', '--limit', 'all'],
        ['cancel'],
        ['update', '--name', 'x'],
        ['update', '1', '--channel', 'a', '--no-channel'],
        ['schedule', 'x', '--payload', '{'],
        ['schedule', 'x', '--payload', 'NaN'],
        ['schedule', 'x', '--no-payload'],
        ['token', '--scope', 'everything'],
        ['token', '--scope', ''],
        ['token', '--scope', 'listen,'],
        ['token', '--expires', '0h'],
        ['token', '--expires', '1'],
        ['token', '--expires', 'never'],
        ['token', '--expires', '1000000s'],
    ],
)
def test_wrong_arguments_end_with_2_and_a_hint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert 'usage: event-reminder' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['update', '1'], 'nothing is to be changed'),
        (['list', '--from', 'noon'], "--from 'noon' is no time"),
        (['list', '--to', '5 m'], "--to '5 m' is no time"),
        (['list', '--series', '--to', '5m'], '--from and --to are for events'),
    ],
)
def test_arguments_that_make_no_sense_end_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ('moment', 'expected'),
    [
        ('2026-11-29T22:30:00.000Z', 'in 0 s'),
        ('2026-11-29T22:29:57.600Z', '2 s ago'),
        ('2026-11-29T22:30:59.600Z', 'in 1 min'),
        ('2026-11-29T22:35:20.000Z', 'in 5 min'),
        ('2026-11-29T23:29:40.000Z', 'in 1 h'),
        ('2026-11-29T20:30:00.000Z', '2 h ago'),
        ('2026-12-01T21:30:00.000Z', 'in 47 h'),
        ('2026-12-01T22:30:00.000Z', 'in 2 d'),
        ('2029-11-29T22:30:00.000Z', 'in 3 y'),
        ('9999-12-31T23:59:59.999Z', 'in 7973 y'),
        ('0001-01-01T00:00:00.000Z', '2026 y ago'),
        ('soon', ''),
        ('2026-11-29', ''),
        (None, ''),
    ],
)
def test_how_far_a_time_is_from_now_is_told_in_one_unit(moment: object, expected: str) -> None:
    assert relative(moment, datetime.fromisoformat('2026-11-29T22:30:00Z')) == expected


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('2030-01-31 09:30', '2030-01-31T09:30:00+09:00'),
        ('2030-01-31', '2030-01-31T00:00:00+09:00'),
        ('2030-01-31T09:30Z', '2030-01-31T18:30:00+09:00'),
        ('90m', '2026-11-30T00:00:00+00:00'),
        ('1d', '2026-11-30T22:30:00+00:00'),
        ('20300131T0930', '2030-01-31T09:30:00+09:00'),
        ('0123456789abcdef01234567', None),
        ('20250101' + '1' * 16, None),
        ('2025010112345678.1798000000000.202501011234567890123456', None),
        ('1w', None),
        ('', None),
    ],
)
def test_times_are_written_in_this_machines_zone_or_from_now(
    text: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TZ', 'Asia/Tokyo')
    time.tzset()
    assert moment(text, datetime.fromisoformat('2026-11-29T22:30:00Z')) == expected


def test_history_reckons_backwards() -> None:
    assert moment('2h', datetime.fromisoformat('2026-11-29T22:30:00Z'), is_past=True) == '2026-11-29T20:30:00+00:00'


@pytest.mark.parametrize(
    'command',
    'serve timezones schedule listen list cancel update history status export import token'.split(),
)
def test_each_command_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (['--help'], [command, '--help']):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert command in capsys.readouterr().out


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, 'listen', interrupted)
    assert main(['listen']) == 130
    assert capsys.readouterr().err == ''


REMINDER = {'name': 'Stand-up', 'time': '2026-11-29T22:30:00.000Z', '_id': '6925'}


def test_results_are_json_but_on_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(as_json: bool) -> str:
        output = Output(as_json)
        output.single(REMINDER, {'scheduled': 'Stand-up'})
        output.listing([REMINDER], {'name': lambda entry: entry['name'], 'id': lambda entry: entry['_id']})
        output.reminder(REMINDER)
        return capsys.readouterr().out

    in_a_pipe = shown(as_json=False)
    assert [json.loads(line) for line in in_a_pipe.splitlines()] == [REMINDER] * 3
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    monkeypatch.setenv('NO_COLOR', '1')
    monkeypatch.setenv('TZ', 'Asia/Tokyo')
    time.tzset()
    assert shown(as_json=True) == in_a_pipe
    assert shown(as_json=False).splitlines() == [
        'scheduled  Stand-up',
        'name      id',
        'Stand-up  6925',
        '2026-11-30 07:30 JST  Stand-up  (6925)',
    ]


def test_what_strangers_say_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({'[red]state': '[red]name[/red]'}, is_coloured=False)
    print_rows([{'name': '[red]name', 'channel': '[/red]', 'id': '1'}], is_coloured=False)
    out = capsys.readouterr().out
    assert out.splitlines() == ['[red]state  [red]name[/red]', 'name       channel  id', '[red]name  [/red]   1']


def test_names_are_lines_in_a_pipe_too(capsys: pytest.CaptureFixture[str]) -> None:
    Output(False).names(['UTC', 'a\033'])
    assert capsys.readouterr().out == 'UTC\na\\x1b\n'


@pytest.mark.parametrize('columns', [40, 60, 80, 100, 200])
@pytest.mark.parametrize('details', list(powerset('channel', 'payload', 'repeats')))
def test_ids_are_never_cut_and_names_can_be_read(
    columns: int, details: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given entries of which one has long details
    monkeypatch.setenv('COLUMNS', str(columns))
    long = {
        'channel': f'team/web/{"x" * 60}',
        'payload': '{"build": 42, "a": "bbbbbbbb…',
        'repeats': 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR',
    }
    empty = dict.fromkeys(('time', 'from now', 'name', 'repeats', 'channel', 'payload', 'id'), '')
    common = {**empty, 'time': '2030-01-01 09:00 +0545', 'from now': 'in 59 min'}
    ids = ['6b0cb208045bb154b861cb17', '6712e205b15a399298ea4c75']
    rows = [
        {**common, 'name': 'Stand-up', 'id': ids[0]},
        {**common, 'name': 'Deploy the thing', 'id': ids[1]} | {name: long[name] for name in details},
    ]
    # When they are shown
    print_rows(rows, is_coloured=False)
    lines = capsys.readouterr().out.splitlines()
    # Then nothing is cut, and names stand in one line where there is room
    assert max(map(len, lines)) <= columns
    for id, name in zip(ids, ('Stand-up', 'Deploy the thing' if columns > 40 else 'Deploy the'), strict=True):
        assert any(name in line and line.endswith(id) for line in lines), lines
    text = ''.join(''.join(lines).split())
    for name in details:
        assert ''.join(long[name].split()) in text
    assert '2030-01-0109:00+0545' in text and 'in59min' in text


@pytest.mark.parametrize(
    ('widths', 'room', 'expected'),
    [
        ({'time': 20, 'from now': 9, 'name': 16, 'channel': 8, 'payload': 13, 'id': 24}, 100, []),
        ({'time': 20, 'from now': 9, 'name': 16, 'channel': 8, 'payload': 13, 'id': 24}, 99, ['payload']),
        ({'time': 20, 'from now': 9, 'name': 16, 'channel': 69, 'payload': 13, 'id': 24}, 100, ['channel']),
        ({'time': 20, 'from now': 9, 'name': 16, 'channel': 69, 'payload': 13, 'id': 24}, 80, ['channel', 'payload']),
        ({'time': 20, 'from now': 9, 'name': 16, 'id': 24}, 70, ['from now']),
        ({'time': 20, 'from now': 9, 'name': 16, 'id': 24}, 40, ['time', 'from now']),
    ],
)
def test_what_has_no_room_gives_way_the_widest_detail_first(
    widths: dict[str, int], room: int, expected: list[str]
) -> None:
    assert without_room(widths, room) == expected


def test_colours_are_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.delenv('NO_COLOR', raising=False)
    Output(False).reminder(REMINDER)
    assert '\033[1mStand-up\033[0m' in capsys.readouterr().out

    Output(True).reminder(REMINDER)
    monkeypatch.setenv('NO_COLOR', '1')
    Output(False).reminder(REMINDER)
    monkeypatch.delenv('NO_COLOR')
    monkeypatch.setattr('sys.stdout.isatty', lambda: False)
    Output(False).reminder(REMINDER)
    assert '\033' not in capsys.readouterr().out


def test_names_of_strangers_cannot_move_the_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    monkeypatch.setenv('NO_COLOR', '1')
    Output(False).reminder({'name': 'a\033[2J\nb\u202e\ud800 ü', 'time': 'soon\r', '_id': None})
    assert capsys.readouterr().out == 'soon\\r  a\\x1b[2J\\nb\\u202e\\ud800 ü  (None)\n'
    assert printable('Grüße, 世界 🎉') == 'Grüße, 世界 🎉'

"""What the command line does with what was scheduled, against a real server: lists it, changes it, looks back at it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reminder.cli import main
from reminder.models.event import MINUTE, Event, iso, new_id
from reminder.models.store import open_store
from tests.integration.test_cli import COMMAND, environment, shown
from tests.server import Server

NOON = '2037-07-01 12:00'
Ask = Callable[..., Any]


@pytest.fixture(scope='module')
def past() -> list[Event]:
    """Three events, one of them for a channel, that fell due while no server ran."""
    begin = time.time_ns() // 1_000_000 // MINUTE * MINUTE - 10 * MINUTE
    return [
        Event(new_id(begin), f'past {number}', begin + number * MINUTE, channel=channel)
        for number, channel in ((1, None), (2, 'past'), (3, None))
    ]


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory, past: list[Event]) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp('server')) as server:
        store = open_store(server.settings['DATABASE_URL'], lambda function, *arguments: function(*arguments))
        store.open(past[0].time - MINUTE)
        for event in past:
            store.add(event)
        store.close()
        yield server.start()


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs the command line within this process; returns its exit code, output and notices."""
    monkeypatch.setenv('TZ', 'Asia/Tokyo')
    time.tzset()

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*words, '--url', server.url])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def ask(run: Ask) -> Ask:
    """What the command line prints as JSON lines, where it succeeds and has nothing to say beside."""

    def ask(*words: str) -> list[Any]:
        code, out, err = run(*words, '--json')
        assert (code, err) == (0, '')
        return [json.loads(line) for line in out.splitlines()]

    return ask


@pytest.fixture(autouse=True)
def time_zone() -> Iterator[None]:
    yield
    time.tzset()


def schedule(ask: Ask, name: str, *more: str, at: str = NOON) -> dict[str, Any]:
    (event,) = ask('schedule', name, '--at', at, '--zone', 'UTC', *more)
    return event  # type: ignore[no-any-return]


def test_events_are_listed_by_channel_and_time_page_after_page(
    ask: Ask, run: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [
        schedule(ask, f'list {hour}', '--channel', 'list', '--payload', '{"n": [1]}', at=f'2036-01-01 {hour}:00')
        for hour in range(10, 15)
    ]
    span = ('list', '--channel', 'list', '--from', '2036-01-01T10:00Z', '--to', '2036-01-01 22:00')
    expected = [{**event, 'localTime': f'2036-01-01 {10 + n}:00', 'timeZone': 'UTC'} for n, event in enumerate(made)]
    assert ask(*span) == expected[:4]  # 22:00 here is 13:00 in UTC
    assert expected[0]['payload'] == {'n': [1]}

    monkeypatch.setattr('reminder.client.events.PAGE', 2)
    assert ask(*span) == expected[:4]
    code, out, err = run(*span, '--limit', '3')
    assert [json.loads(line) for line in out.splitlines()] == expected[:3]
    assert (code, err) == (0, 'there may be more (--limit)\n')
    assert ask('list', '--to', '1s', '--from', '2030-01-01') == []


def test_an_event_is_changed_and_cancelled(ask: Ask, run: Ask) -> None:
    event = schedule(ask, 'change', '--channel', 'change', '--payload', '1')
    (changed,) = ask('update', event['_id'], '--name', 'changed', '--at', '2037-07-01 13:00', '--payload', '[2]')
    assert changed == {
        '_id': event['_id'],
        'name': 'changed',
        'time': '2037-07-01T13:00:00.000Z',
        'channel': 'change',
        'payload': [2],
        'localTime': '2037-07-01 13:00',
        'timeZone': 'UTC',
        'state': 'pending',
    }
    (changed,) = ask('update', event['_id'], '--zone', 'Europe/Berlin', '--no-channel', '--no-payload')
    assert changed['time'] == '2037-07-01T11:00:00.000Z'
    assert not {'channel', 'payload'} & changed.keys()

    code, out, _ = run('cancel', event['_id'])  # in a pipe it is JSON, too
    assert code == 0
    assert json.loads(out) == {**changed, 'state': 'cancelled'}
    code, out, err = run('update', event['_id'], '--name', 'again')
    assert (code, out, err) == (1, '', f"event-reminder: _id='{event['_id']}' is cancelled\n")
    assert run('cancel', 'x') == (1, '', "event-reminder: _id='x' is not found\n")


def test_a_series_is_scheduled_listed_changed_and_ended(ask: Ask, run: Ask, server: Server) -> None:
    more = ('--repeat', 'FREQ=DAILY', '--channel', 'series')
    code, out, err = run('schedule', 'daily', '--at', NOON, '--zone', 'UTC', *more)
    assert (code, err) == (0, '')
    assert json.loads(out)['occurrences'][:2] == ['2037-07-01T12:00:00.000Z', '2037-07-02T12:00:00.000Z']

    (series,) = (one for one in ask('list', '--series', '--channel', 'series') if one['name'] == 'daily')
    (occurrence,) = (one for one in ask('list', '--channel', 'series') if one.get('series') == series['_id'])
    assert occurrence['time'] == series['time']

    (changed,) = ask('update', series['_id'], '--repeat', 'FREQ=WEEKLY')
    assert changed['occurrences'][1] == '2037-07-08T12:00:00.000Z'
    told = shown(server, 'status', series['_id'])
    assert told[0] == 'series   daily'
    assert told[1].startswith('next     2037-07-01 21:00 JST (in ')
    assert told[2].startswith('         2037-07-08 21:00 JST (in ')
    assert told[-3:] == ['repeats  FREQ=WEEKLY', 'channel  series', f'id       {series["_id"]}']
    assert ask('cancel', series['_id'])[0]['occurrences'] == []
    assert shown(server, 'status', series['_id'])[1] == 'next     it has ended'
    assert series['_id'] not in [one['_id'] for one in ask('list', '--series')]


def test_a_key_makes_it_the_same_event(ask: Ask, run: Ask) -> None:
    assert schedule(ask, 'key', '--key', 'k') == schedule(ask, 'key', '--key', 'k')
    code, _, err = run('schedule', 'other', '--key', 'k')
    assert (code, err) == (1, "event-reminder: 'key' was used before, with other data\n")


def test_what_was_delivered_is_looked_back_at(
    ask: Ask, run: Ask, past: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*words: str) -> list[str]:
        return [reminder['name'] for reminder in ask('history', *words)]

    assert told() == ['past 1', 'past 2', 'past 3']
    assert ask('history')[1] == past[1].reminder()
    assert told('--channel', 'other') == ['past 1', 'past 3']
    assert told('--since', past[0].id) == ['past 2', 'past 3']
    assert told('--since', iso(past[2].time)) == ['past 3']
    assert told('--since', '1m') == []

    monkeypatch.setattr('reminder.client.events.PAGE', 1)
    assert told() == ['past 1', 'past 2', 'past 3']
    code, out, err = run('history', '--limit', '2')
    assert (code, len(out.splitlines())) == (0, 2)
    offset = err.removeprefix('there may be more (--since ').removesuffix(')\n')
    assert told('--since', offset) == ['past 3']

    assert 'there were more' in run('history', '--since', '2001-01-01')[2]
    assert run('history', '--since', 'nonsense')[0] == 1


def test_who_listens_to_a_channel_gets_what_is_for_it(server: Server) -> None:
    def listen(*words: str) -> list[str]:
        place = server.folder / '-'.join(('place', *words))
        place.write_text('2001-01-01T00:00:00Z\n')  # as a place it brings all that there was
        arguments = [*COMMAND, 'listen', '--state', str(place), '--json', '--url', server.url, *words]
        process = subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, text=True)
        assert process.stdout
        names: list[str] = []
        while 'past 3' not in names:
            names.append(json.loads(process.stdout.readline())['name'])
        process.kill()
        process.communicate()
        return names

    assert listen() == ['past 1', 'past 3']
    assert listen('--channel', 'past', '--channel', 'other') == ['past 1', 'past 2', 'past 3']


def test_a_terminal_gets_a_table_in_which_names_of_strangers_are_harmless(ask: Ask, server: Server) -> None:
    event = schedule(ask, '[red]a\033[2J\nb[/red]', '--channel', 'table', at='2035-01-01 12:00')
    other = schedule(ask, 'ü' * 150, '--channel', 'table', '--payload', '{"a": 1}', at='2035-01-02 12:00')
    head, *lines = shown(server, 'list', '--channel', 'table', '--from', '2035-01-01', '--to', '2035-02-01')
    assert head.split() == ['time', 'from', 'now', 'name', 'channel', 'payload', 'id']
    text = '\n'.join(lines)
    assert '\033' not in text
    assert '2035-01-01 21:00 JST  in ' in lines[0]
    assert event['_id'] in lines[0] and '[red]a' in lines[0]
    assert other['_id'] in text and '{"a": 1}' in text
    assert text.count('ü') == 150
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize('columns', [80, 100])
def test_a_terminal_shows_ids_and_names_however_long_the_rest_is(ask: Ask, server: Server, columns: int) -> None:
    channel, rule = f'narrow/{columns}/{"x" * 60}', 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR'
    more = ('--channel', channel, '--payload', json.dumps({'build': 'b' * 100}))
    event = schedule(ask, 'Deploy the thing', *more, at='2034-01-01 12:00')
    daily = schedule(ask, 'Daily stand-up', *more, '--repeat', rule, at='2034-01-02 12:00')
    for words, id, name in (
        (('list', '--from', '2034-01-01', '--to', '2034-01-02'), event['_id'], 'Deploy the thing'),
        (('list', '--series'), daily['_id'], 'Daily stand-up'),
    ):
        lines = shown(server, *words, '--channel', channel, columns=columns)
        assert max(map(len, lines)) <= columns
        (line,) = [line for line in lines if id in line]
        assert line.startswith('2034-01-0') and name in line
        text = ''.join(''.join(lines).split())
        assert channel in text and 'payload:{"build":' in text
        assert (rule in text) == (id == daily['_id'])


class TestShortPages:
    """A server that cuts pages at a size, and looks through a part of its log at a time."""

    MANY = 6_000
    """Entries that are for others. More than the server looks through for one page."""

    @pytest.fixture(scope='class')
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        with Server(tmp_path_factory.mktemp('pages')) as server:
            store = open_store(server.settings['DATABASE_URL'], lambda function, *arguments: function(*arguments))
            minute = time.time_ns() // 1_000_000 // MINUTE * MINUTE
            store.open(minute - 120 * MINUTE)
            for begin in (minute - 60 * MINUTE, minute + 60 * MINUTE):
                others = [Event(new_id(begin), 'other', begin, channel='others') for _ in range(cls.MANY)]
                rare = [Event(new_id(begin), f'rare {n}', begin + n * MINUTE, channel='rare') for n in range(1, 4)]
                large = [Event(new_id(begin), 'é' * 1_000, begin + 9 * MINUTE, channel='large') for _ in range(100)]
                events = [*others, *rare, *large]
                for first in range(0, len(events), 1_000):
                    store.add_all(events[first : first + 1_000])
            store.close()
            yield server.start()

    @pytest.mark.parametrize('command', ['list', 'history'])
    @pytest.mark.parametrize(('channel', 'count'), [('rare', 3), ('large', 100), ('none', 0)])
    def test_all_that_there_is_is_shown(self, ask: Ask, command: str, channel: str, count: int) -> None:
        assert len(ask(command, '--channel', channel, '--limit', '1000')) == count

    @pytest.mark.parametrize('command', ['list', 'history'])
    def test_a_limit_holds_over_pages(self, run: Ask, command: str) -> None:
        code, out, err = run(command, '--channel', 'large', '--limit', '70')
        assert (code, len(out.splitlines())) == (0, 70)
        assert err.startswith('there may be more (--')

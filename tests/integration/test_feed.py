"""The calendar feed: what others make of it is what the server does, and it harms nobody."""

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import icalendar
import pytest
import pytz
import requests
from werkzeug.test import Client

from reminder.config import Config
from reminder.models.event import MINUTE, Event, Place, new_id
from reminder.models.store import Store, open_store
from reminder.services.tokens import Tokens
from reminder.transfer.calendar import read
from reminder.transfer.target import Repeated
from reminder.web import Web, feed
from tests.clients import JS
from tests.integration.test_commands import NOW, run
from tests.integration.test_commands import Server as Commands
from tests.server import ROOT, Server, millis, missing
from tests.tokens import AUDIENCE, ISSUER, SECRET, token
from tests.wire import SocketIO, WebSocket

ANSWERED = 0.25
"""Seconds within which others are answered while a large calendar is made."""


def as_ical_js_reads(calendar: str, after: int, until: int) -> dict[str, list[int]]:
    """The instants (ms, UTC) in `(after, until]` at which each entry's alarms are, by UID."""
    if not (JS / 'node_modules' / 'ical.js').exists():
        missing('ical.js')
    command = ['node', 'calendar.mjs', str(after), str(until)]
    done = subprocess.run(command, cwd=JS, input=calendar, capture_output=True, text=True, check=True)
    alarms: dict[str, list[int]] = json.loads(done.stdout)['alarms']
    return {uid: sorted(set(instants)) for uid, instants in alarms.items()}


def entries(calendar: str) -> list[Any]:
    """The VEVENTs of a calendar, which icalendar reads without a complaint."""
    read = icalendar.Calendar.from_ical(calendar)
    assert not [error for component in read.walk() for error in component.errors]
    return list(read.walk('VEVENT'))


def client(store: Store) -> Client:
    """Who asks for the feed of a store, in this process."""
    config = Config.from_env({})
    calendars = feed.Feed(store, nothing, lambda seconds: None)
    return Client(Web(feed.routes(calendars, Tokens(config), lambda: NOW, lambda environ: nullcontext())))


def nothing() -> None:
    """Nobody waits for a turn."""


# -- what it says --------------------------------------------------------------------------------------------------

RULES = [
    ('2027-01-01 02:30', 'Europe/Berlin', 'FREQ=DAILY'),
    ('2027-01-03 02:15', 'Europe/Berlin', 'FREQ=WEEKLY;BYDAY=SU;UNTIL=20271121T021500'),
    ('2027-01-01 02:30', 'America/New_York', 'FREQ=DAILY;BYHOUR=2,14'),
    ('2027-01-01 02:30', 'America/New_York', 'FREQ=MONTHLY;BYDAY=2SU,1SU'),
    ('2027-01-01 02:10', 'Australia/Lord_Howe', 'FREQ=WEEKLY;BYDAY=SA,SU,MO'),
    ('2027-01-01 09:00', 'Africa/Casablanca', 'FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;COUNT=60'),
    ('2027-01-01 23:45', 'America/Santiago', 'FREQ=DAILY;INTERVAL=3;UNTIL=20271115'),
    ('2027-01-15 12:00', 'Asia/Kolkata', 'FREQ=MONTHLY;BYMONTHDAY=-1'),
    ('2027-01-01 00:00', 'UTC', 'FREQ=DAILY;BYHOUR=6;BYMINUTE=30'),
]
CHANGES = ['2027-03-12', '2027-03-26', '2027-04-02', '2027-10-01', '2027-10-29', '2027-11-05']
"""Days shortly before clocks are put forward or back in some of these zones: the feed is read then, and followed."""
FOLLOWED = 4 * 24 * 60 * MINUTE


def test_repeats_come_when_the_server_fires_them_over_both_changes_of_clocks(tmp_path: Path) -> None:
    with closing(open_store(f'sqlite:///{tmp_path / "events.db"}', run)) as store:
        server = Commands(store)
        series = [
            server.schedule(eventName=f'{zone} {rule}', time=time, timeZone=zone, repeat=rule)['_id']
            for time, zone, rule in RULES
        ]
        single = server.schedule(time='2027-10-31 02:30', timeZone='Europe/Berlin')['_id']
        seen, changes = 0, Counter[str]()
        for number, day in enumerate(CHANGES):
            begin = millis(f'{day} 00:00:00')
            end = begin + FOLLOWED
            server.pass_to(begin)

            # Given that one occurrence is moved, another cancelled, and a third renamed
            pending = {event['series']: event for event in server.ask('listEvents')['events'] if 'series' in event}
            moved, cancelled, renamed = (pending[series[(number + shift) % len(series)]] for shift in range(3))
            server.ask('updateEvent', _id=moved['_id'], time=f'{day} 17:17')
            server.ask('cancelEvent', _id=cancelled['_id'])
            server.ask('updateEvent', _id=renamed['_id'], eventName='renamed')
            changes.update(changed['series'] for changed in (moved, cancelled, renamed))

            # When the feed is read then, and the server runs on
            calendar = client(store).get('/calendar.ics').text
            fired = defaultdict[str, list[int]](list)
            for event in followed(server, begin, end):
                fired[event.series or event.id].append(event.time)

            # Then the server has fired at the instants that were read
            assert as_ical_js_reads(calendar, begin, end) == {uid: sorted(times) for uid, times in fired.items()}
            seen += sum(map(len, fired.values()))

            # And another server would import the same
            found = [what for _, what in read(calendar.splitlines(keepends=True), pytz.utc, begin)]
            assert {what.series.id for what in found if isinstance(what, Repeated)} == set(pending)
            assert all(len(what.others) <= changes[what.series.id] for what in found if isinstance(what, Repeated))
            assert {entry['UID'] for entry in entries(calendar)} >= set(pending)
        assert seen > 100
        assert server.ask('getEvent', _id=single)['state'] == 'delivered'


def followed(server: Commands, begin: int, end: int) -> Iterator[Event]:
    """What the server fires in `(begin, end]`, whose clock goes from one event to the next."""
    while (found := server.ask('listEvents', limit=1)['events']) and millis_of(found[0]) <= end:
        server.pass_to(millis_of(found[0]))
    yield from server.store.read(Place.after(begin), Place.after(end), 10_000)


def millis_of(event: dict[str, Any]) -> int:
    return millis(event['time'][:19])


def test_it_says_what_programs_want_to_know(tmp_path: Path) -> None:
    with closing(open_store(f'sqlite:///{tmp_path / "events.db"}', run)) as store:
        server = Commands(store)
        name = 'tea, or "coffee"; Käse \N{PARTY POPPER}\nand more\rEND:VEVENT'
        id = server.schedule(eventName=name, channel='team/a', payload={'a': 'b,c'}, timeZone='Asia/Tokyo', minutes=900)
        other = server.schedule(eventName='other', channel='team/b')
        server.schedule(eventName='for all', minutes=6)

        # When it is asked for as a whole, and for one channel
        answer = client(store).get('/calendar.ics')
        some = client(store).get('/calendar.ics?channel=team/a')

        # Then both are calendars that say how they are called and how often to ask
        assert answer.headers['Content-Type'] == 'text/calendar; charset=utf-8'
        assert {'NAME:Reminders', 'X-WR-CALNAME:Reminders', 'REFRESH-INTERVAL;VALUE=DURATION:PT1H'} < set(
            lines(answer.text)
        )
        assert 'X-WR-CALNAME:Reminders: team/a' in lines(some.text)
        assert len(entries(answer.text)) == 3
        assert {str(entry['SUMMARY']) for entry in entries(some.text)} == {name.replace('\r', ' '), 'for all'}

        # And an entry is at its time, has an alarm then, takes nobody's time, and zones are described
        (entry,) = [entry for entry in entries(some.text) if entry['UID'] == id['_id']]
        assert str(entry['SUMMARY']) == name.replace('\r', ' ')
        assert entry['DTSTART'].params['TZID'] == 'Asia/Tokyo'
        assert entry['TRANSP'] == 'TRANSPARENT'
        (alarm,) = entry.walk('VALARM')
        assert (alarm['ACTION'], alarm['TRIGGER'].dt.total_seconds()) == ('DISPLAY', 0)
        assert 'BEGIN:VTIMEZONE' in lines(some.text)
        assert all(len(line.encode()) <= 75 for line in answer.text.split('\r\n'))

        # And what was cancelled is not there any more
        server.ask('cancelEvent', _id=other['_id'])
        assert other['_id'] not in client(store).get('/calendar.ics').text


@pytest.mark.parametrize(
    'year, start',
    [(2037, 'DTSTART;TZID=Europe/Berlin:20370701T090000'), (2040, 'DTSTART:20400701T080000Z')],
)
def test_what_is_due_after_the_data_on_zones_ends_is_told_in_utc(tmp_path: Path, year: int, start: str) -> None:
    with closing(open_store(f'sqlite:///{tmp_path / "events.db"}', run)) as store:
        event = Commands(store).schedule(time=f'{year}-07-01 09:00', timeZone='Europe/Berlin')

        # Whatever a program knows of clocks, it finds the instant at which the server fires
        calendar = client(store).get('/calendar.ics').text
        assert start in lines(calendar)
        (entry,) = entries(calendar)
        assert entry['DTSTART'].dt.astimezone(UTC) == datetime.fromisoformat(event['time'])


def test_an_occurrence_that_went_to_another_channel_is_left_out_and_not_told(tmp_path: Path) -> None:
    with closing(open_store(f'sqlite:///{tmp_path / "events.db"}', run)) as store:
        server = Commands(store)
        series = server.schedule(repeat='FREQ=HOURLY', channel='a')
        (occurrence,) = server.ask('listEvents')['events']
        server.ask('updateEvent', _id=occurrence['_id'], channel='b', eventName='secret')

        calendar = client(store).get('/calendar.ics?channel=a').text
        assert 'secret' not in calendar
        first = millis_of(occurrence)
        assert as_ical_js_reads(calendar, NOW, first + 60 * MINUTE) == {series['_id']: [first + 60 * MINUTE]}
        assert [str(entry['SUMMARY']) for entry in entries(client(store).get('/calendar.ics?channel=b').text)] == [
            'secret'
        ]


def test_what_is_cut_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, 'ENTRIES', 3)
    monkeypatch.setattr(feed, 'SERIES', 1)
    with closing(open_store(f'sqlite:///{tmp_path / "events.db"}', run)) as store:
        server = Commands(store)
        for number in range(2):
            server.schedule(repeat='FREQ=DAILY', eventName=f'series {number}', minutes=7)
        for number in range(2):
            server.schedule(eventName=f'event {number}', minutes=9 - number)
        calendar = client(store).get('/calendar.ics').text
        assert [str(entry['SUMMARY']) for entry in entries(calendar)] == ['series 0', 'series 1', 'event 1']
        assert sum('RRULE' in entry for entry in entries(calendar)) == 1
        assert 'X-WR-CALDESC:There is more' in calendar
        monkeypatch.setattr(feed, 'ENTRIES', 4)
        assert 'X-WR-CALDESC' not in client(store).get('/calendar.ics').text


def lines(calendar: str) -> list[str]:
    return calendar.replace('\r\n ', '').split('\r\n')


# -- over HTTP -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for tokens and tells all that it does."""
    settings = {'AUTH_SECRET': SECRET, 'AUTH_AUDIENCE': AUDIENCE, 'AUTH_ISSUER': ISSUER, 'LOG_LEVEL': 'debug'}
    with Server(tmp_path_factory.mktemp('feed'), **settings) as server:
        server.start()
        with SocketIO(server.url, f'40{json.dumps({"token": token(server.now())})}') as client:
            for channel in (None, 'a', 'b'):
                data = {'eventName': f'for {channel}', 'time': '2037-01-01 00:00', 'timeZone': 'UTC'}
                data |= {'channel': channel} if channel else {}
                client.send('420' + json.dumps(['command', {'command': 'scheduleEvent', 'data': data}]))
                assert client.read_message().startswith('430[{"status":"success"')
        yield server
    assert 'Traceback' not in server.log()


def test_the_token_is_in_the_query_or_a_header_and_in_no_log(server: Server) -> None:
    url, good = f'{server.url}/calendar.ics', token(server.now(), scope='listen')
    assert requests.get(url, {'token': good}).status_code == 200
    assert requests.get(url, headers={'Authorization': f'Bearer {good}'}).status_code == 200

    # What lets nobody in
    missing = requests.get(url)
    assert (missing.status_code, missing.json()['error']) == (401, 'token is missing')
    assert missing.headers['WWW-Authenticate'] == 'Bearer'
    assert requests.get(url, {'token': f'{good}x'}).status_code == 401
    expired = requests.get(url, {'token': token(server.now(), exp=1)})
    assert (expired.status_code, expired.json()['error']) == (401, 'token has expired')
    assert requests.get(url, {'token': token(server.now(), scope='schedule manage')}).status_code == 403
    assert requests.get(url, {'token': good}, headers={'Authorization': 'Bearer x'}).status_code == 401

    # At no other door is a token in the query one
    stream = requests.get(f'{server.url}/api/reminders/stream', {'token': good})
    assert stream.status_code == 401
    assert requests.post(f'{server.url}/api/getStatus', params={'token': good}).status_code == 401
    for packet in ('40', f'40/?token={good},'):
        with WebSocket(server.url) as client:
            client.read()
            client.send(packet)
            assert client.read() == '44{"message":"token is missing"}'

    assert good.rpartition('.')[2] not in server.log()
    assert good.split('.')[1] not in server.log()


def test_a_token_sees_its_channels_and_no_others(server: Server) -> None:
    def names(query: str, **claims: Any) -> set[str]:
        given = token(server.now(), **claims)
        answer = requests.get(f'{server.url}/calendar.ics?token={given}{query}')
        assert answer.status_code == 200, answer.text
        return {str(entry['SUMMARY']) for entry in entries(answer.text)}

    assert names('') == {'for None', 'for a', 'for b'}
    assert names('&channel=a') == {'for None', 'for a'}
    assert names('&channel=a,b') == names('&channel=a&channel=b') == {'for None', 'for a', 'for b'}
    assert names('', channels=['a']) == {'for None', 'for a'}
    assert names('', channels=[]) == {'for None'}
    url = f'{server.url}/calendar.ics?token={token(server.now(), channels=["a"])}'
    assert requests.get(f'{url}&channel=b').status_code == 403
    wrong = requests.get(f'{url}&channel=a b')
    assert wrong.status_code == 400
    assert wrong.json()['error'].startswith("'channel' holds 'a b', which is invalid")


def test_what_has_not_changed_is_not_sent_again(server: Server) -> None:
    url = f'{server.url}/calendar.ics?token={token(server.now())}'
    first = requests.get(url)
    assert requests.get(url).headers['ETag'] == first.headers['ETag']
    again = requests.get(url, headers={'If-None-Match': first.headers['ETag']})
    assert (again.status_code, again.content) == (304, b'')
    assert again.headers['ETag'] == first.headers['ETag']
    assert requests.get(url, headers={'If-None-Match': '"other"'}).status_code == 200
    assert requests.get(f'{url}&channel=a').headers['ETag'] != first.headers['ETag']
    head = requests.head(url)
    assert (head.status_code, head.content) == (200, b'')
    assert head.headers['Content-Length'] == str(len(first.content))
    assert first.headers['Cache-Control'] == 'private, no-cache'
    assert requests.post(url).status_code == 405


def test_a_database_that_is_away_is_503(tmp_path: Path) -> None:
    with Server(tmp_path, DATABASE_URL='mongodb://127.0.0.1:1/away') as server:
        server.start('/healthz')
        answer = requests.get(f'{server.url}/calendar.ics')
        assert (answer.status_code, answer.headers['Retry-After']) == (503, '5')


@pytest.mark.measures
@pytest.mark.long
def test_ten_thousand_entries_keep_nobody_waiting(tmp_path: Path) -> None:
    # Given a server with more events than there are in a calendar
    with closing(open_store(f'sqlite:///{tmp_path / "events.db"}', run)) as store:
        now = time.time_ns() // 1_000_000
        closed = store.open(now).closed
        for begin in range(0, 10_500, 500):
            events = [
                Event(new_id(now), f'event {begin + number}', closed + (60 + begin + number) * MINUTE, None, None)
                for number in range(500)
            ]
            assert all(isinstance(outcome, Event) for outcome in store.add_all(events))
    with Server(tmp_path) as server:
        server.start()

        # When some ask for all of it at once, and a canary sings
        script = ROOT / 'tests' / 'hostile' / 'canary.py'
        canary = subprocess.Popen(
            [sys.executable, script, str(server.port), str(server.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert canary.stdout is not None and canary.stdout.readline() == 'ready\n'
        with ThreadPoolExecutor() as pool:
            urls = [f'{server.url}/calendar.ics{query}' for query in ('', '', '', '?channel=a')]
            answers = list(pool.map(lambda url: requests.get(url, timeout=60), urls))
        report = json.loads(canary.communicate('')[0])

        # Then all get it, and the canary its answers
        assert report['answered'] == report['asked'] > 20
        assert report['worst'] < 1000 * ANSWERED, report
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.headers['ETag'] for answer in answers[:3]}) == 1
        assert len(entries(answers[0].text)) == 10_000
        assert 'X-WR-CALDESC:There is more' in answers[0].text

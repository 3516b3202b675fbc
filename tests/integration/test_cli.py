"""The command line `event-reminder` as a person uses it, against a real server process."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Queue
from typing import Any, ClassVar

import jwt
import pytest

from tests.clients import Clients
from tests.faults import ClockedServer
from tests.server import ROOT, SETTINGS, Server, free_port, wall
from tests.tokens import AUDIENCE, ISSUER, SECRET, SIGNERS, private_pem, public_pem, token

COMMAND = [sys.executable, '-m', 'reminder.cli']


def environment(**changes: str) -> dict[str, str]:
    unwanted = {*SETTINGS, 'EVENT_REMINDER_URL', 'EVENT_REMINDER_TOKEN', 'NO_COLOR', 'TZ'}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, 'PYTHONPATH': str(ROOT), **changes}


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose clock is real, as the command line reckons with it."""
    with Server(tmp_path_factory.mktemp('server')) as server:
        yield server.start()


@pytest.fixture
def run(server: Server) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line against the server until it ends."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        env = environment(**{'EVENT_REMINDER_URL': server.url, **changes})
        return subprocess.run([*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=60)

    return run


class Running:
    """A command that goes on, with its output as lines that can be waited for."""

    def __init__(self, *arguments: str, **changes: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line.rstrip('\n'))

    def line(self, within: float = 90) -> str:
        """The next line that it prints; a reminder may take a minute on a machine that was too slow for the nearest."""
        try:
            return self._lines.get(timeout=within)
        except Empty:
            raise AssertionError('nothing was printed') from None

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Starts commands that go on, and ends them with the test."""
    with ExitStack() as stack:

        def start(*arguments: str, **changes: str) -> Running:
            running = Running(*arguments, **changes)
            stack.callback(running.process.wait)
            stack.callback(running.process.kill)
            return running

        yield start


Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Running]


def test_time_zones_are_listed_and_filtered_in_any_letter_case(run: Run) -> None:
    everything = run('timezones')
    assert (everything.returncode, everything.stderr) == (0, '')
    assert len(everything.stdout.splitlines()) > 500

    assert run('timezones', 'berLIN').stdout == 'Europe/Berlin\n'
    assert json.loads(run('timezones', 'argentina/u', '--json').stdout) == ['America/Argentina/Ushuaia']


def test_a_filter_without_a_match_is_a_failure(run: Run) -> None:
    done = run('timezones', 'atlantis')
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr == "event-reminder: no time zone contains 'atlantis'\n"


def test_an_event_is_scheduled_at_a_time_in_a_zone(run: Run) -> None:
    done = run('schedule', 'Lunch', '--at', '2037-07-01 12:00', '--zone', 'Europe/Berlin', '--json')
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout)
    assert event.keys() == {'name', 'time', '_id'}
    assert (event['name'], event['time']) == ('Lunch', '2037-07-01T10:00:00.000Z')

    event = json.loads(run('schedule', 'Lunch', '--at', '2037-07-01 12:00', TZ='Asia/Tokyo').stdout)
    assert event['time'] == '2037-07-01T03:00:00.000Z'


def test_a_person_is_told_the_time_in_their_own_zone(server: Server) -> None:
    first, second, third = shown(server, 'schedule', 'Lunch', '--at', '2037-07-01 12:00', '--zone', 'Europe/Berlin')
    assert first == 'scheduled  Lunch'
    assert re.fullmatch(r'time       2037-07-01 19:00 JST \(in \d+ y\)', second)
    assert re.fullmatch(r'id         [0-9a-f]{24}', third)


def shown(server: Server, *words: str, columns: int = 100, **changes: str) -> list[str]:
    """The lines that a terminal of this width gets to see, in Japan, without the blanks at their ends."""
    controller, terminal = pty.openpty()
    env = environment(**{'TERM': 'xterm', 'COLUMNS': str(columns), 'NO_COLOR': '1', 'TZ': 'Asia/Tokyo', **changes})
    subprocess.run([*COMMAND, *words, '--url', server.url], env=env, stdout=terminal, stderr=terminal, check=True)
    os.close(terminal)
    text = os.read(controller, 100_000).decode()
    os.close(controller)
    return [line.rstrip() for line in text.splitlines()]


def test_without_a_time_it_is_the_next_minute(run: Run) -> None:
    before = datetime.now(UTC)
    event = json.loads(run('schedule', 'Soon', '--json', TZ='America/New_York').stdout)
    assert 0 < (datetime.fromisoformat(event['time']) - before).total_seconds() < 70


def test_an_adjusted_time_comes_with_a_warning(run: Run) -> None:
    done = run('schedule', 'Night', '--at', '2031-03-30 02:30', '--zone', 'Europe/Berlin', '--json')
    assert (done.returncode, json.loads(done.stdout)['time']) == (0, '2031-03-30T01:30:00.000Z')
    assert done.stderr.startswith('warning: ')


@pytest.mark.parametrize(
    ('arguments', 'code', 'said'),
    [
        (['schedule', ''], 1, "'eventName' is required"),
        (['schedule', 'Late', '--at', '2001-01-01 00:00', '--zone', 'UTC'], 1, 'should be in future'),
        (['schedule', 'Odd', '--at', 'noon', '--zone', 'UTC'], 1, "time='noon' is invalid"),
        (['schedule', 'Odd', '--at', '2037-01-01 00:00', '--zone', 'Mars'], 1, "timeZone='Mars' is invalid"),
        (['schedule', 'Odd', '--zone', 'Mars'], 2, "--zone 'Mars' is no time zone"),
    ],
)
def test_a_failure_is_one_line_on_stderr(run: Run, arguments: list[str], code: int, said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (code, '')
    (line,) = done.stderr.splitlines()
    assert line.startswith('event-reminder: ')
    assert said in line


def test_who_cannot_be_reached_is_named_without_a_password(run: Run) -> None:
    port = free_port()
    done = run('timezones', '--url', f'http://me:secret@127.0.0.1:{port}/')
    assert done.returncode == 1
    assert done.stderr == f'event-reminder: cannot connect to http://127.0.0.1:{port}/: Connection refused\n'


def test_output_that_nobody_reads_is_no_traceback(server: Server) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, 'timezones', '--url', server.url],
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, '')


def test_waiting_ends_with_the_reminder_of_that_very_event(tmp_path: Path, start: Start) -> None:
    # Given a server, and a minute at which another event is due too
    with ClockedServer(tmp_path, clock='2030-01-01 11:59:10') as server:
        server.start()
        due = server.next_minute()
        at = wall(due)
        other = start('schedule', 'Stand-up', '--at', at, '--zone', 'UTC', '--json', '--url', server.url)
        other_id = json.loads(other.line())['_id']

        # When somebody schedules one more of that name and waits
        waiting = start('schedule', 'Stand-up', '--at', at, '--zone', 'UTC', '--json', '--wait', '--url', server.url)
        event = json.loads(waiting.line())

        # Then its own reminder ends it, and is what was acked
        assert event['_id'] != other_id
        server.set_clock(due - 1_000)
        assert json.loads(waiting.line()) == event
        assert waiting.process.wait(10) == 0


def test_listening_survives_restarts_of_the_server(tmp_path: Path, start: Start, connect: Clients) -> None:
    # Given somebody who listens
    with ClockedServer(tmp_path, clock='2030-01-01 11:59:10') as server:
        server.start()
        listening = start('listen', '--url', server.url, TZ='UTC')
        assert listening.line() == f'listening to {server.url} (Ctrl-C ends it)'

        # When the server is ended in good order, and killed, and each time started again
        for end in (server.terminate, server.kill):
            end()
            assert re.fullmatch(r'connection lost \(.*\), connecting again \.\.\.', listening.line())
            server.start()
            assert listening.line() == 'connected again'

        # Then reminders are printed as ever
        due = server.next_minute(margin=5)
        event = connect(server.url, 'python').schedule('Stand-up', wall(due))
        server.set_clock(due - 1_000)
        assert json.loads(listening.line()) == event
        assert listening.interrupt() == 130


def test_a_kept_place_brings_what_came_while_nobody_listened(tmp_path: Path, start: Start, run: Run) -> None:
    # Given somebody who has listened for a while, with a file for the place
    place = tmp_path / 'place'
    with Server(tmp_path, clock='2030-01-01 11:59:30') as server:
        server.start()
        arguments = ('listen', '--state', str(place), '--url', server.url)
        listening = start(*arguments)
        listening.line()
        while not place.exists():
            assert listening.process.poll() is None
            time.sleep(0.05)
        listening.interrupt()

        # When two events pass
        at = server.next_minute(margin=10)
        for name in ('first', 'second'):
            run('schedule', name, '--at', wall(at), '--zone', 'UTC', '--url', server.url)
        server.terminate()
        server.skip_to(at + 1_000)
        server.start()

        # Then whoever listens with that file gets them first, and nobody gets them twice
        listening = start(*arguments)
        lines = [listening.line() for _ in range(4)]
        assert [json.loads(line)['name'] for line in lines if line.startswith('{')] == ['first', 'second']
        assert '2 reminders came meanwhile' in lines
        listening.interrupt()

        listening = start(*arguments)
        assert listening.line().startswith('listening to')
        with pytest.raises(AssertionError, match='nothing was printed'):
            listening.line(within=1)


def test_a_file_that_can_hold_no_place_is_a_wrong_argument(tmp_path: Path, run: Run) -> None:
    done = run('listen', '--state', str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f'event-reminder: --state {tmp_path} cannot be read: ')

    done = run('listen', '--state', str(tmp_path / 'missing' / 'place'))
    assert done.returncode == 1
    assert 'cannot be written' in done.stderr


def test_status_tells_how_the_log_stands_and_how_an_event(run: Run, server: Server) -> None:
    event = json.loads(run('schedule', 'Later', '--at', '2037-07-01 12:00', '--zone', 'UTC', '--json').stdout)

    name, due, id = shown(server, 'status', event['_id'])
    assert (name, id) == ('pending  Later', f'id       {event["_id"]}')
    assert due.startswith('time     2037-07-01 21:00 JST (in ')
    assert json.loads(run('status', event['_id']).stdout) == {**event, 'state': 'pending'}

    told = shown(server, 'status')
    assert [line.split()[0] for line in told] == ['log', 'closed', 'delivered', 'behind', 'late', 'clients', 'next']
    assert told[1].startswith('closed     up to 2') and told[1].endswith(' ago)')
    assert json.loads(run('status').stdout)['clients'] >= 1

    done = run('status', 'nonsense')
    assert (done.returncode, done.stderr) == (1, "event-reminder: _id='nonsense' is not found\n")


@pytest.mark.parametrize('arguments', [('listen',), ('schedule', 'x', '--at', '2037-01-01 00:00', '--wait')])
def test_ctrl_c_ends_it_without_a_traceback(server: Server, start: Start, arguments: tuple[str, ...]) -> None:
    running = start(*arguments, '--url', server.url)
    running.line()
    assert running.interrupt() == 130
    assert running.process.stdout
    with pytest.raises(AssertionError, match='nothing was printed'):
        running.line(within=0.3)


def test_a_terminal_gets_colours_unless_somebody_asked_for_none(server: Server) -> None:
    def night(**changes: Any) -> str:
        arguments = ['schedule', 'Night', '--at', '2031-03-30 02:30', '--zone', 'Europe/Berlin']
        return '\n'.join(shown(server, *arguments, **changes))

    coloured = night(NO_COLOR='')
    assert '\033[33mwarning: ' in coloured and '\033[2mscheduled' in coloured
    assert '\033' not in night()
    assert '\033' not in night(NO_COLOR='', TERM='dumb')


class TestTokens:
    """Against a server that asks for tokens."""

    AUTH: ClassVar = {'AUTH_SECRET': SECRET, 'AUTH_AUDIENCE': AUDIENCE, 'AUTH_ISSUER': ISSUER}

    @pytest.fixture(scope='class')
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        with Server(tmp_path_factory.mktemp('tokens'), **cls.AUTH) as server:
            yield server.start()

    def make(self, run: Run, *arguments: str) -> str:
        """What `event-reminder token` prints, which is a token alone."""
        done = run('token', *arguments, **self.AUTH)
        assert (done.returncode, done.stderr) == (0, '')
        (line,) = done.stdout.splitlines()
        return line

    def test_what_is_made_lets_in(self, run: Run) -> None:
        made = self.make(run, '--scope', 'schedule', '--expires', '2h', '--subject', 'ann')
        claims = jwt.decode(made, SECRET, ['HS256'], audience=AUDIENCE, issuer=ISSUER)
        assert (claims['sub'], claims['scope'], claims['exp'] - claims['iat']) == ('ann', 'schedule', 7_200)

        for arguments, changes in ((('--token', made), {}), ((), {'EVENT_REMINDER_TOKEN': made})):
            done = run('schedule', 'x', '--at', '2037-01-01 00:00', *arguments, **changes)
            assert (done.returncode, done.stderr) == (0, '')
        done = run('timezones', 'berlin', '--token', made, EVENT_REMINDER_TOKEN='nonsense')
        assert done.stdout == 'Europe/Berlin\n'

    @pytest.mark.parametrize(
        ('arguments', 'allowed'),
        [
            (['--scope', 'listen', '--scope', 'manage'], {'listen', 'manage'}),
            (['--scope', 'listen,schedule', '--scope', 'schedule'], {'listen', 'schedule'}),
        ],
    )
    def test_scopes_may_be_given_one_by_one(self, run: Run, arguments: list[str], allowed: set[str]) -> None:
        claims = jwt.decode(self.make(run, *arguments), SECRET, ['HS256'], audience=AUDIENCE, issuer=ISSUER)
        assert set(claims['scope'].split()) == allowed

    def test_by_default_it_lets_listen_and_schedule_for_an_hour(self, run: Run) -> None:
        claims = jwt.decode(self.make(run), SECRET, ['HS256'], audience=AUDIENCE, issuer=ISSUER)
        assert (claims['scope'], claims['exp'] - claims['iat']) == ('listen schedule', 3_600)
        assert claims.keys().isdisjoint({'sub', 'channels'})

    def test_it_may_name_the_channels_that_its_owner_sees(self, run: Run) -> None:
        made = self.make(run, '--channel', 'team/web', '--channel', 'ops')
        claims = jwt.decode(made, SECRET, ['HS256'], audience=AUDIENCE, issuer=ISSUER)
        assert claims['channels'] == ['ops', 'team/web']
        refused = run('schedule', 'x', '--at', '2037-01-01 00:00', '--channel', 'secret', '--token', made)
        assert "channel='secret' is not allowed by your token" in refused.stderr
        assert 'a name is 1 to 128' in run('token', '--channel', 'team web').stderr

    def test_the_settings_are_those_of_the_servers_own_file(self, tmp_path: Path) -> None:
        key = tmp_path / 'key.pem'
        key.write_text(private_pem(SIGNERS['ES256']))
        one_line = public_pem(SIGNERS['ES256']).replace('\n', '\\n')
        (tmp_path / '.env').write_text(f'AUTH_PUBLIC_KEY={one_line}\n')
        arguments = [*COMMAND, 'token', '--scope', 'listen', '--private-key', str(key)]
        done = subprocess.run(arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, '')
        claims = jwt.decode(done.stdout.strip(), SIGNERS['ES256'].public_key(), ['ES256'])
        assert claims['scope'] == 'listen'

    @pytest.mark.parametrize(
        ('arguments', 'settings', 'said'),
        [
            ([], {}, 'neither AUTH_SECRET nor AUTH_PUBLIC_KEY is set'),
            ([], {'AUTH_SECRET': 'S3CRET'}, 'AUTH_SECRET has to be at least 32 bytes long'),
            ([], {'AUTH_PUBLIC_KEY': public_pem(SIGNERS['ES256'])}, '--private-key FILE'),
            (['--private-key', 'missing.pem'], AUTH, '--private-key missing.pem cannot be read: No such file'),
        ],
    )
    def test_what_is_missing_is_named(
        self, run: Run, arguments: list[str], settings: dict[str, str], said: str
    ) -> None:
        done = run('token', *arguments, **settings)
        assert (done.returncode, done.stdout) == (2, '')
        (line,) = done.stderr.splitlines()
        assert line.startswith(f'event-reminder: {said}') or said in line
        assert 'S3CRET' not in line

    @pytest.mark.parametrize('command', [('timezones',), ('status',), ('listen',), ('schedule', 'x')])
    def test_who_is_refused_is_told_so_in_one_line(self, run: Run, server: Server, command: tuple[str, ...]) -> None:
        for changes, reason in (({}, 'token is missing'), ({'EVENT_REMINDER_TOKEN': 'x.y.z'}, 'token is not valid')):
            done = run(*command, **changes)
            assert (done.returncode, done.stdout) == (1, '')
            assert done.stderr == f'event-reminder: {server.url} refuses the connection: {reason}\n'

    def test_who_may_not_schedule_is_told_so(self, run: Run) -> None:
        done = run('schedule', 'x', '--token', self.make(run, '--scope', 'listen'))
        assert (done.returncode, done.stderr) == (1, "event-reminder: scope 'schedule' is required\n")

    def test_who_may_not_listen_does_not_wait_for_ever(self, run: Run, server: Server) -> None:
        made = self.make(run, '--scope', 'schedule')
        for command in (('listen',), ('schedule', 'x', '--at', '2037-01-01 00:00', '--wait')):
            done = run(*command, '--token', made)
            assert (done.returncode, done.stdout) == (1, '')
            assert done.stderr == (
                f"event-reminder: no reminders come from {server.url}: the token lacks the scope 'listen'\n"
            )

    def test_who_listens_is_told_when_the_token_expires(self, tmp_path: Path, start: Start) -> None:
        server = ClockedServer(tmp_path, '2030-01-01 11:59:30', **self.AUTH)
        with server:
            server.start()
            listening = start('listen', '--url', server.url, EVENT_REMINDER_TOKEN=token(server.now()))
            assert listening.line().startswith('listening to')
            server.set_clock(server.now() + 3_600_000)
            assert re.fullmatch(r'connection lost \(.*\), connecting again \.\.\.', listening.line())
            assert listening.line() == f'event-reminder: {server.url} refuses the connection: token has expired'
            assert listening.process.wait(10) == 1

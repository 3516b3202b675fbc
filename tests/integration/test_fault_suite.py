"""The fault suite: a short round of it, and that it notices what it is there to notice."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fault_suite.ledger import Ledger, Receiver

from tests.server import ROOT, SETTINGS, millis, missing

pytestmark = [pytest.mark.long, pytest.mark.measures]

DUE = '2026-03-01T10:01:00.000Z'
LOG = '0123456789abcdef'
DOCTORED = 20
"""Events that are taken out of the database."""


def suite(folder: Path, *arguments: str) -> 'subprocess.Popen[str]':
    """The suite as a process, which puts what it writes into `folder`."""
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.Popen(
        [sys.executable, ROOT / 'scripts' / 'faults.py', *arguments],
        env=environment | {'PYTHONPATH': str(ROOT), 'TMPDIR': str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_below(folder: Path) -> list[Path]:
    """Where processes work, of those that work in a folder or below it; where the system can tell."""
    found = []
    for link in Path('/proc').glob('[0-9]*/cwd'):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            found.append(link.readlink())
    return [path for path in found if path.is_relative_to(folder)]


# -- whole rounds -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, str]]]:
    """Exit code and output of two rounds, side by side: one as it is, and one from whose database events are taken."""
    if not subprocess.run(['which', 'faketime'], capture_output=True).stdout:
        missing('faketime')
    folder = tmp_path_factory.mktemp('faults')
    events = folder / 'events.db'
    # Two minutes, as the first may begin before a slow machine has asked for much.
    round_ = ('--minutes', '2', '--compressed', '--seed', '1', '--events', '1000')
    running = {
        'as it is': suite(folder / 'as it is', *round_),
        'doctored': suite(folder / 'doctored', *round_, '--database', f'sqlite:///{events}'),
    }
    try:
        take_events(events, running['doctored'])
        yield {name: (process.wait(), ''.join(process.communicate())) for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            process.communicate()


def take_events(file: Path, running: 'subprocess.Popen[str]') -> None:
    """Deletes the oldest events of the database, which were acked, as soon as there are some younger ones."""
    while running.poll() is None:
        time.sleep(0.2)
        if not file.exists():
            continue
        db = sqlite3.connect(file, timeout=30)
        try:
            ids = db.execute('SELECT id FROM events ORDER BY id LIMIT ?', (3 * DOCTORED,)).fetchall()
            if len(ids) == 3 * DOCTORED:
                with db:
                    db.executemany('DELETE FROM events WHERE id = ?', ids[:DOCTORED])
                return
        except sqlite3.OperationalError:
            pass  # the server has not made its tables yet
        finally:
            db.close()


def test_a_short_round_loses_nothing(rounds: dict[str, tuple[int, str]]) -> None:
    code, output = rounds['as it is']
    assert code == 0, output
    for line in re.findall(r'^\d+ (?:Python|WebSocket, rec|JavaScript).*', output, re.M):
        owed, delivered, lost = (int(number.replace(',', '')) for number in re.findall(r'  ([\d,]+)\b', line)[:3])
        assert owed > 100, output
        assert (delivered, lost) == (owed, 0), output
    assert 'kill -9' in output


def test_a_round_notices_events_that_are_gone(rounds: dict[str, tuple[int, str]]) -> None:
    code, output = rounds['doctored']
    assert code == 1, output
    lost = re.search(r'^2 Python +\S+ +\S+ +(\d+)', output, re.M)
    assert lost, output
    assert int(lost[1]) >= DOCTORED, output
    assert "Python: lost {'name': " in output
    assert 'NOT ALL IS WELL' in output


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    # Given a round that is on its way
    process = suite(tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(r' [1-9]\d*/', line):
            break
    assert processes_below(tmp_path) or sys.platform != 'linux'

    # When Ctrl-C ends it
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    # Then it says so, and nothing of it is left
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--minutes', '0'], 'whole number above 0'),
        (['--minutes', 'many'], 'whole number above 0'),
        (['--database', 'mysql://localhost/x'], 'has to begin with'),
        (['--database', f'sqlite:///{__file__}'], 'exists already'),
        (['--database', 'mongodb://127.0.0.1:1/'], 'database does not answer'),
        (['--database', 'mongodb://127.0.0.1:1/', '--compressed'], '--compressed'),
        (['--database-command', 'mongod'], '--database-command'),
        (['--database', 'mongodb://127.0.0.1:1/', '--database-command', 'no-such-program'], 'no-such-program'),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    process = suite(tmp_path, *arguments)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (2, '')
    assert words in errors
    assert 'Traceback' not in errors
    assert list(tmp_path.iterdir()) == []


# -- the ledger -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger() -> Ledger:
    """A ledger whose events fell due on time, by a clock that is this machine's."""
    return Ledger(lambda instant: instant / 1000)


@pytest.fixture
def client(ledger: Ledger) -> Receiver:
    """A client that resumes, on its first connection."""
    receiver = ledger.receiver('client', resumes=True, ordered=True)
    receiver.opening(None)
    receiver.opened()
    return receiver


def event(number: int) -> dict[str, str]:
    return {'name': f'event {number}', 'time': DUE, '_id': f'{number:024x}'}


def offset(number: int) -> str:
    """The place behind that event."""
    return f'{LOG}.{millis("2026-03-01 10:01:00")}.{number:024x}'


def ack(ledger: Ledger, *numbers: int) -> None:
    for number in numbers:
        ledger.asked(f'event {number}')
        ledger.answered(f'event {number}', {'status': 'success', 'response': event(number)})


def remind(receiver: Receiver, *numbers: int, late: float = 0) -> None:
    for number in numbers:
        receiver.reminder([event(number)], millis('2026-03-01 10:01:00') / 1000 + late)


def test_the_ledger_counts_what_came_and_how_late(ledger: Ledger, client: Receiver) -> None:
    ack(ledger, 1, 2, 3)
    remind(client, 1, 2, late=0.1)
    remind(client, 3, late=0.7)
    (row,) = ledger.verdict()
    assert (row.owed, row.delivered, row.good) == (3, 3, True)
    assert (row.median, row.worst) == pytest.approx((0.1, 0.7))


def test_an_acked_event_that_does_not_come_is_lost(ledger: Ledger, client: Receiver) -> None:
    ack(ledger, 1, 2)
    remind(client, 1)
    (row,) = ledger.verdict()
    assert (row.owed, row.delivered, row.lost, row.good) == (2, 1, 1, False)
    assert ledger.examples() == [f'client: lost {event(2)}, which 0 of 1 clients got']


def test_only_what_was_acked_is_owed(ledger: Ledger, client: Receiver) -> None:
    for number, answer in enumerate([{'status': 'failure', 'error': 'the database is unavailable'}, 'what?']):
        ledger.asked(f'event {number}')
        ledger.answered(f'event {number}', answer)
    ledger.asked('event 2')  # whose answer was lost, as its connection broke
    remind(client, 2)
    (row,) = ledger.verdict()
    assert (row.owed, row.lost, row.wrong) == (0, 0, 0)


def test_a_repeat_is_explained_by_a_connection_that_broke_before_the_offset_behind_it(
    ledger: Ledger, client: Receiver
) -> None:
    ack(ledger, 1, 2)
    remind(client, 1, 2)
    client.closed()
    client.opening(offset(1))
    remind(client, 2)
    (row,) = ledger.verdict()
    assert (row.explained, row.unexplained, row.good) == (1, 0, True)


def test_a_repeat_of_what_the_client_said_it_has_is_not_explained(ledger: Ledger, client: Receiver) -> None:
    ack(ledger, 1, 2)
    remind(client, 1, 2)
    client.closed()
    client.opening(offset(2))
    remind(client, 2)
    (row,) = ledger.verdict()
    assert (row.explained, row.unexplained, row.good) == (0, 1, False)


def test_a_repeat_on_one_connection_is_not_explained(ledger: Ledger, client: Receiver) -> None:
    ack(ledger, 1)
    remind(client, 1, 1)
    (row,) = ledger.verdict()
    assert (row.explained, row.unexplained, row.good) == (0, 1, False)


@pytest.mark.parametrize(
    'wrong',
    [
        lambda client: remind(client, 2, 1),
        lambda client: remind(client, 1, late=-1),
        lambda client: client.reminder([event(1), 'more'], time.time()),
        lambda client: client.reminder([event(1) | {'name': 'another'}], time.time()),
        lambda client: client.reminder([event(3)], time.time()),
        lambda client: client.replayed([{'count': 1, 'complete': False}]),
        lambda client: (client.opening(offset(1)), client.opened(recovered=False)),
    ],
    ids=['order', 'early', 'arguments', 'content', 'stranger', 'incomplete', 'not recovered'],
)
def test_what_no_fault_explains_is_wrong(ledger: Ledger, client: Receiver, wrong: object) -> None:
    ack(ledger, 1, 2)
    assert callable(wrong)
    wrong(client)
    (row,) = ledger.verdict()
    assert row.wrong == 1


def test_a_client_without_an_offset_is_owed_what_fell_due_well_within_a_connection(ledger: Ledger) -> None:
    ledger = Ledger(lambda instant: time.time() + 2)
    client = ledger.receiver('client', resumes=False, ordered=True)
    ack(ledger, 1)

    assert [row.owed for row in ledger.verdict()] == [0]
    client.opening(None)
    client.opened()
    assert [row.owed for row in ledger.verdict()] == [1]
    client.closed()
    assert [row.owed for row in ledger.verdict()] == [0]

"""The soak: a short one, and that it notices what it is there to notice."""

import itertools
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_suite.ledger import Ledger
from soak_suite.hostile import FOREIGN, SCRIPTS, Heard, Script
from soak_suite.watch import Sample, wrong_with_answers, wrong_with_log, wrong_with_process

from tests.server import ROOT, SETTINGS, missing

pytestmark = [pytest.mark.long, pytest.mark.measures]

SHORT = ('--minutes', '0.025', '--connections', '40', '--seed', '1')
CALM = Sample(memory=50_000, files=20)


def soak(folder: Path, *arguments: str) -> 'subprocess.Popen[str]':
    """A soak as a process, which puts what it writes into `folder`."""
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.Popen(
        [sys.executable, ROOT / 'scripts' / 'soak.py', *arguments],
        env=environment | {'PYTHONPATH': str(ROOT), 'TMPDIR': str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# -- whole soaks ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def soaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, str]]]:
    """Exit code and output of two soaks, side by side: one as it is, and one whose database forgets some events."""
    if not subprocess.run(['which', 'faketime'], capture_output=True).stdout:
        missing('faketime')
    folder = tmp_path_factory.mktemp('soak')
    events = folder / 'events.db'
    running = {
        'as it is': soak(folder / 'as it is', *SHORT),
        'doctored': soak(folder / 'doctored', *SHORT, '--database', f'sqlite:///{events}'),
    }
    try:
        forget_events(events, running['doctored'])
        yield {name: (process.wait(), ''.join(process.communicate())) for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            process.communicate()


def forget_events(file: Path, running: 'subprocess.Popen[str]') -> None:
    """Has a database lose each tenth honest event that comes from now on, once the server has made its tables."""
    while running.poll() is None:
        time.sleep(0.05)
        if not file.exists():
            continue
        db = sqlite3.connect(file, timeout=30)
        try:
            db.execute(
                "CREATE TRIGGER lose AFTER INSERT ON events WHEN NEW.name LIKE 'honest %7' "
                'BEGIN DELETE FROM events WHERE id = NEW.id; END'
            )
            return
        except sqlite3.OperationalError:
            pass  # there is no table yet
        finally:
            db.close()


def test_a_short_soak_harms_nobody(soaks: dict[str, tuple[int, str]]) -> None:
    code, output = soaks['as it is']
    assert code == 0, output
    assert re.search(r'^[1-9]\d* hostile connections', output, re.M), output
    assert re.search(r'^3 WebSocket +[1-9]', output, re.M), output


def test_a_soak_notices_events_that_are_gone(soaks: dict[str, tuple[int, str]]) -> None:
    code, output = soaks['doctored']
    assert code == 1, output
    assert "WebSocket: lost {'name': 'honest 7'" in output
    assert '--seed 1' in output


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    process = soak(tmp_path, *SHORT)
    assert process.stderr is not None
    for line in process.stderr:
        if '--seed' in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('arguments', [('--minutes', '0'), ('--minutes', 'nan'), ('--connections', '-1')])
def test_wrong_arguments_are_named(tmp_path: Path, arguments: tuple[str, str]) -> None:
    process = soak(tmp_path, *arguments)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f'{arguments[0]}: ' in errors


# -- what is wrong ----------------------------------------------------------------------------------------------------


def test_memory_that_grows_is_a_problem() -> None:
    growing = [Sample(50_000 + 1_000 * second, 20) for second in range(60)]
    assert wrong_with_process(growing, CALM, CALM) == ['memory grew from 70.3 to 99.6 MiB']


def test_memory_of_warming_up_and_single_peaks_are_none() -> None:
    memory = [40_000] * 15 + [60_000] * 40 + [200_000] * 5
    assert wrong_with_process([Sample(one, 200) for one in memory], CALM, CALM) == []


def test_files_that_stay_open_are_a_problem() -> None:
    (problem,) = wrong_with_process([CALM], CALM, CALM._replace(files=40))
    assert problem == '40 files are open, and 20 were before the attack'


def test_an_answer_that_comes_late_is_a_problem() -> None:
    assert wrong_with_answers([0.002, 0.3]) == []
    assert wrong_with_answers([0.002, 9.0]) == ['an honest command was answered after 9.00 s']
    assert wrong_with_answers([]) != []


@pytest.mark.parametrize(
    'line',
    [
        'time=2026-11-25T02:27:45.638Z level=error logger=reminder.commands event=command_failed message=failed',
        'Traceback (most recent call last):',
        'forged',
        'time=2026-01-01T00:00:00.000Z level=info logger=elsewhere message=printed',
    ],
)
def test_whatever_is_no_plain_notice_in_the_log_is_a_problem(line: str) -> None:
    plain = [
        'time=2026-11-25T02:27:45.638Z level=info logger=reminder.app event=stopping message=stopping\n',
        'time=2026-11-25T02:27:45.638Z level=warning logger=reminder.x message=y\n',
    ]
    assert wrong_with_log(plain) == []
    assert wrong_with_log([*plain, f'{line}\n']) == [f'in the log: {line}']


def test_events_of_strangers_are_no_business_of_the_ledger() -> None:
    ledger = Ledger(lambda instant: instant / 1000, foreign=(FOREIGN,))
    receiver = ledger.receiver('client', resumes=True, ordered=True)
    for number, name in enumerate((f'{FOREIGN}1', 'nobody asked for it')):
        receiver.reminder([{'name': name, 'time': '2026-03-01T10:01:00.000Z', '_id': f'{number:024x}'}], 1.8e9)
    (row,) = ledger.verdict()
    assert (row.owed, row.wrong) == (0, 1)


# -- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.__name__)
def test_a_seed_repeats_what_is_sent(script: Script) -> None:
    first, again, other = (
        list(itertools.islice(script(random.Random(seed), Heard()), 30)) for seed in ('1 1', '1 1', '1 2')
    )
    assert first == again
    assert len(first) == 30 and all(isinstance(data, bytes) for data in first)
    assert first != other or script.__name__ == 'trickle'

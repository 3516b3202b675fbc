"""Signals, and the form of log lines."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reminder.serve import log_to_stderr

ROOT = Path(__file__).parents[2]
SERVE = """
from gevent import monkey
monkey.patch_all()
import time, gevent
from reminder import serve

class Application:
    def __init__(self, config): pass
    def start(self): gevent.spawn(gevent.sleep, 60); print('started', time.strftime('%Z'), flush=True)
    def stop(self): print('stopping', flush=True); gevent.sleep(60)

serve.Application = Application
serve.serve()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def slow(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`serve` around an application that takes a minute to stop, on a machine in New York."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'TZ': 'America/New_York'}
    with subprocess.Popen([sys.executable, '-c', SERVE], env=env, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_second_ctrl_c_ends_it_at_once(slow: subprocess.Popen[str]) -> None:
    assert said(slow) == 'started UTC'
    slow.send_signal(signal.SIGINT)
    assert said(slow) == 'stopping'
    slow.send_signal(signal.SIGINT)
    assert slow.wait(5) == -signal.SIGINT


def test_a_second_sigterm_changes_nothing(slow: subprocess.Popen[str]) -> None:
    assert said(slow) == 'started UTC'
    slow.send_signal(signal.SIGTERM)
    assert said(slow) == 'stopping'
    slow.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        slow.wait(0.3)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger, and the root logger as it was once the test is over."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield logging.getLogger('reminder.test')
    root.setLevel(level)
    root.handlers[:] = handlers


def test_log_lines_are_text_in_utc(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr('INFO', 'text')
    logger.debug('not this')
    record = logger.makeRecord('reminder.test', logging.INFO, '', 0, 'kept %d', (3,), None)
    record.created, record.msecs = 1_795_991_400.25, 250
    logger.handle(record)
    assert capsys.readouterr().err == '2026-11-29T22:30:00.250Z INFO reminder.test: kept 3\n'


def test_log_lines_are_json_objects(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr('WARNING', 'json')
    try:
        raise ValueError('two\nlines')
    except ValueError:
        logger.exception('broken')
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry.pop('time').endswith('Z')
    assert entry.pop('exception').startswith('Traceback')
    assert entry == {'level': 'error', 'logger': 'reminder.test', 'message': 'broken'}

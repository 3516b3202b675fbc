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


FORGED = '2030-01-01T00:00:00.000Z INFO reminder.app: all is well'


@pytest.mark.parametrize('level', ['INFO', 'DEBUG'])
@pytest.mark.parametrize('separator', ['\n', '\r', '\r\n', '\v', '\f', '\x1c', '\x85', '\u2028', '\u2029'])
def test_no_line_can_be_forged_by_what_another_quotes(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], level: str, separator: str
) -> None:
    name = f'tea{separator}{FORGED}\033[2J\ud800'
    for form in ('text', 'json'):
        log_to_stderr(level, form)
        logger.warning('odd: %s', name)
        try:
            raise KeyError(name)
        except KeyError:
            logger.exception('broken by %s', name)
        lines = capsys.readouterr().err.splitlines()
        begun = [line for line in lines if not line.startswith('    ')]
        assert len(begun) == 2
        assert all(line.isprintable() for line in lines)
        assert not any(line.startswith(FORGED) for line in lines)
        if form == 'json':
            assert [json.loads(line)['message'] for line in begun] == [f'odd: {name}', f'broken by {name}']


@pytest.mark.parametrize('form', ['text', 'json'])
def test_what_an_unexpected_error_quotes_is_told_at_debug_alone(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    for level in ('INFO', 'DEBUG'):
        log_to_stderr(level, form)
        try:
            try:
                raise KeyError('a private' + ' matter')
            except KeyError as error:
                raise ValueError('of a private' + ' matter') from error
        except ValueError:
            logger.exception('broken')
        said = capsys.readouterr().err
        assert 'Traceback' in said
        assert 'test_serve.py' in said
        assert 'ValueError' in said
        assert ('private matter' in said) == (level == 'DEBUG')

"""How signals end the server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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

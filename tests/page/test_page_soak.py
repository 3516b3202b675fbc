"""A short round of the page's soak."""

import subprocess
import sys

import pytest

from tests.clients import install
from tests.page.browser import FOLDER
from tests.server import ROOT

pytestmark = pytest.mark.long


def soak(*arguments: str) -> 'subprocess.CompletedProcess[str]':
    program = ROOT / 'scripts' / 'page_soak.py'
    return subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, timeout=120)


def test_a_short_round_gives_each_reminder_once_in_order() -> None:
    install(FOLDER)
    done = soak('--minutes', '0.15', '--seed', '1')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'All is well.' in done.stdout
    assert ' restarts; ' in done.stdout


def test_wrong_arguments_are_named() -> None:
    done = soak('--minutes', '0')
    assert done.returncode == 2
    assert 'minutes above 0' in done.stderr

"""The README's ten-liners, run as they are: they schedule for the next minute and are reminded of just that."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clients
from tests.server import ROOT, Server, missing


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server at a quarter to a minute."""
    with Server(tmp_path, clock='2030-01-01 11:59:45') as server:
        yield server.start()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The examples beside an installed `socket.io-client`."""
    clients.install()
    examples = tmp_path / 'examples'
    shutil.copytree(ROOT / 'examples', examples)
    (examples / 'node_modules').symlink_to(ROOT / 'tests' / 'js' / 'node_modules')
    return examples


def start(server: Server, *command: str | Path) -> subprocess.Popen[str]:
    """Starts a client that lives by the server's clock."""
    if not shutil.which('faketime'):
        missing('faketime')
    ahead = server.now() / 1000 - time.time()
    environment = {**os.environ, 'FAKETIME_DONT_FAKE_MONOTONIC': '1', 'DONT_FAKE_MONOTONIC': '1'}
    return subprocess.Popen(
        ['faketime', '-f', f'{ahead:+.3f}s', *command, server.url],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # faketime and its child, to be ended together
    )


def test_each_example_is_reminded_of_what_it_scheduled(server: Server, folder: Path) -> None:
    running = [start(server, 'node', folder / 'client.mjs'), start(server, sys.executable, folder / 'client.py')]
    try:
        server.wait_until(server.next_minute() + 2_000)
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
    for process in running:
        scheduled, *reminders = process.communicate(timeout=10)[0].split('reminder:')
        (id,) = re.findall(r"_id'?: '([0-9a-f]{24})'", scheduled)
        assert scheduled.startswith('scheduled:')
        assert [id in reminder for reminder in reminders].count(True) == 1
        assert len(reminders) == len(running)

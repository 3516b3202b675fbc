"""The README's ten-liners, run as they are: they schedule for the next minute and are reminded of it."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clients
from tests.faults import ClockedServer
from tests.server import ROOT


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClockedServer]:
    with ClockedServer(tmp_path, clock='2030-01-01 11:59:10') as server:
        yield server.start()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The examples beside an installed `socket.io-client`."""
    clients.install()
    examples = tmp_path / 'examples'
    shutil.copytree(ROOT / 'examples', examples)
    (examples / 'node_modules').symlink_to(ROOT / 'tests' / 'js' / 'node_modules')
    return examples


class Example:
    """An example as a process that lives by the server's clock."""

    def __init__(self, server: ClockedServer, *command: str | Path) -> None:
        self._output = server.folder / f'{Path(command[-1]).name}.log'
        with self._output.open('wb') as output:
            self._process = subprocess.Popen(
                [*command, server.url],
                env=server.environment(),
                stdout=output,
            )

    def wait_for(self, pattern: str, within: float = 90) -> re.Match[str]:
        """The first match in what it has printed."""
        deadline = time.monotonic() + within
        while not (match := re.search(pattern, self._output.read_text(), re.S)):
            assert time.monotonic() < deadline, self._output.read_text()
            time.sleep(0.1)
        return match

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def test_each_example_is_reminded_of_what_it_scheduled(server: ClockedServer, folder: Path) -> None:
    examples = [Example(server, 'node', folder / 'client.mjs'), Example(server, sys.executable, folder / 'client.py')]
    try:
        ids = [example.wait_for("^scheduled:.*?_id'?: '([0-9a-f]{24})'")[1] for example in examples]
        server.set_clock(server.next_minute() - 1_000)  # theirs, too
        for example, id in zip(examples, ids, strict=True):
            example.wait_for(f"reminder:[^}}]*_id'?: '{id}'")
    finally:
        for example in examples:
            example.end()

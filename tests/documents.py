"""The documents' commands and programs, run as a reader would: on a terminal, word for word, from top to bottom.

What is looked at in a document:

- `.. code:: console`: what follows `$` is run in a shell, and what stands below it is what it prints. With
  `:class: stays` it goes on, as in a terminal of its own, where the same command is ended first. With `:class: again`
  it does so too, but begins when the next minute has begun.
- `.. code:: text`: what one of the commands that go on prints from then on.
- A block behind a line that is the name of a file, as in "``listen.py``:", is written into that file.

`...` stands for anything, an id for another one, which then is the same wherever it is shown.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
import tty
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.faults import ClockedServer
from tests.server import Server

ENOUGH = 90.0
"""Seconds that a command may take, or a reminder may be away."""
PATIENCE = 3.0
"""Seconds after which who waits for a minute has the clock set, where that can be."""

_BLOCK = re.compile(
    r'(?:^``(?P<file>[\w.-]+)``:\n\n)?'
    r' *\.\. code:: (?P<kind>\w+)\n(?: +:class: (?P<css>\w+)\n)?\n'
    r'(?P<text>(?: {4}.*\n|\n)+)',
    re.M,
)
_ID = re.compile(r'\b(?:[0-9a-f]{24}|[0-9a-f]{16})\b')


@dataclass(frozen=True)
class Block:
    """A block of code: what `kind` it is of, its class if it has one, and the name of the file that it is to be in."""

    kind: str
    text: str
    css: str | None
    file: str | None


def blocks(document: str) -> Iterator[Block]:
    """The blocks of a document in reStructuredText."""
    for found in _BLOCK.finditer(document):
        text = textwrap.dedent(found['text']).rstrip() + '\n'
        yield Block(found['kind'], text, found['css'], found['file'])


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands in a console, each with what it prints."""
    first, *parts = re.split(r'^\$ ', text, flags=re.M)
    assert parts and not first, text
    for part in parts:
        command = re.match(r'(?:.*\\\n)*.*', part)
        assert command
        yield command[0], part[command.end() + 1 :]


class Running:
    """A command of a document that was started, as `real`."""

    def __init__(self, command: str, real: str, folder: Path, environment: Mapping[str, str], output: Path) -> None:
        self.command = command
        self._output = output
        controller, terminal = pty.openpty()
        tty.setraw(terminal)  # lines end as they were written
        # Not by a thread, which would keep all others waiting where gevent has made greenlets of them.
        with output.open('wb') as file:
            self._copy = subprocess.Popen(['cat'], stdin=controller, stdout=file, stderr=subprocess.DEVNULL)
        os.close(controller)
        self.process = subprocess.Popen(
            ['bash', '-c', real],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self.read = 0
        """Characters of its output that were looked at."""

    def wait(self, seconds: float) -> None:
        """Waits until it has ended, and all is there that it has printed. Raises TimeoutExpired."""
        self.process.wait(seconds)
        self._copy.wait(seconds)

    def output(self) -> str:
        """What it has printed since."""
        return self._output.read_text(errors='replace')[self.read :]

    def end(self) -> None:
        """Ctrl-C."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._copy.terminate()
        self._copy.wait()


class Reader:
    """Who follows a document: a folder, a shell, and the commands that go on.

    They have the environment and the clock of a server, which need not run.
    """

    def __init__(self, server: Server, **places: str) -> None:
        """`places` are what is to stand in place of what documents say, beside the server's address."""
        self._server = server
        self.folder = server.folder
        self._places = {'127.0.0.1:3000': f'127.0.0.1:{server.port}', **places}
        self._environment = server.environment() | {'EVENT_REMINDER_URL': server.url}
        self._environment['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{self._environment["PATH"]}'
        (self.folder / '.venv').symlink_to(sys.prefix)
        # A terminal as documents show it: without colours and what moves, in this zone.
        self._environment |= {'TERM': 'dumb', 'NO_COLOR': '1', 'TZ': 'UTC'}
        (self.folder / '.curlrc').write_text('silent\nno-styled-output\n')
        self._environment['CURL_HOME'] = str(self.folder)
        self._ids: dict[str, str] = {}
        self._running: list[Running] = []
        self._started = 0

    def follow(self, document: str) -> None:
        """Does what a document says. Fails where something else comes of it."""
        for block in blocks(document):
            if block.file:
                (self.folder / block.file).write_text(self._real(block.text))
            elif block.kind == 'console':
                for command, shown in commands(block.text):
                    if block.css == 'again':
                        self.end(command)
                        self._hurry()
                        self._server.wait_until(self._server.next_minute(margin=0))
                    self.run(command, shown, stays=block.css is not None)
            elif block.kind == 'text':
                self.wait_for(block.text)

    def run(self, command: str, shown: str, stays: bool = False) -> None:
        """Runs a command, which has to print what is shown; it ends then, unless it stays."""
        self.end(command)
        self._started += 1
        output = self.folder / f'.output-{self._started}'
        running = Running(command, self._real(command), self.folder, self._environment, output)
        self._running.append(running)
        if stays:
            self._wait(shown, [running])
            assert running.process.poll() is None, f'{command} ended:\n{running.output()}'
            return
        try:
            running.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._hurry()
            running.wait(ENOUGH)
        self._running.remove(running)
        assert self._matches(shown, running, whole=True), f'{command}\n\nprinted:\n{running.output()}\nnot:\n{shown}'

    def end(self, command: str) -> None:
        """Ends a command, if it goes on."""
        for running in [running for running in self._running if running.command == command]:
            running.end()
            self._running.remove(running)

    def wait_for(self, shown: str) -> None:
        """Waits until one of the commands that go on prints what is shown."""
        self._wait(shown, self._running)

    def _wait(self, shown: str, among: list[Running]) -> None:
        begin, hurried = time.monotonic(), False
        while not any(self._matches(shown, running) for running in among):
            outputs = '\n'.join(f'{running.command}:\n{running.output()}' for running in among)
            waited = time.monotonic() - begin
            assert waited < ENOUGH, f'missing:\n{shown}\nin\n{outputs}'
            if waited > PATIENCE and not hurried:
                hurried = True
                self._hurry()
            time.sleep(0.1)

    def _hurry(self) -> None:
        """Brings the next minute near, for all that runs."""
        if isinstance(self._server, ClockedServer):
            self._server.set_clock(self._server.next_minute(margin=0) - 500)

    def _matches(self, shown: str, running: Running, whole: bool = False) -> bool:
        """Whether that command has printed that; learns the ids that it sees for the first time."""
        new: list[str] = []

        def pattern(found: re.Match[str]) -> str:
            id = found[0]
            if id == re.escape('...'):
                return '.*?'
            if id in self._ids:
                return self._ids[id]
            if id in new:
                return rf'(?P=id{new.index(id)})'
            new.append(id)
            return rf'(?P<id{len(new) - 1}>[0-9a-f]{{{len(id)}}})'

        escaped = re.escape(self.placed(shown).strip())
        expected = re.sub(rf'\\\.\\\.\\\.|{_ID.pattern}', pattern, escaped)
        output = running.output()
        match = re.fullmatch(rf'\s*{expected}\s*', output, re.S) if whole else re.search(expected, output, re.S)
        if match:
            running.read += match.end()
            self._ids |= {id: match[f'id{number}'] for number, id in enumerate(new)}
        return match is not None

    def _real(self, text: str) -> str:
        """What a reader types or writes in place of what is shown."""
        return _ID.sub(lambda id: self._ids.get(id[0], id[0]), self.placed(text))

    def placed(self, text: str) -> str:
        """What a document says, for the places at which it is followed."""
        for shown, real in self._places.items():
            text = text.replace(shown, real)
        return text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._running:
            running.end()

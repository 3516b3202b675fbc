"""A MongoDB for tests: the one that TEST_MONGODB_URI names, else FerretDB, which Go builds here once.

Where there is neither, `database()` skips its test, or fails it in CI. Only a FerretDB of one's own can be stopped,
started again on the same port and data, or given a wrong clock.
"""

import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pymongo import MongoClient

from tests.server import free_port, missing

_FOLDER = Path(__file__).parent
_SOURCES = ('main.go', 'go.mod', 'go.sum')


@contextmanager
def database() -> Iterator[str]:
    """The url of a new, empty database, which is dropped afterwards."""
    url = _named(os.environ.get('TEST_MONGODB_URI') or _shared().url, f'test-{token_hex(6)}')
    try:
        yield url
    finally:
        client: MongoClient[dict[str, Any]] = MongoClient(url)
        client.drop_database(client.get_default_database())
        client.close()


class Ferret:
    """A FerretDB on a port of its own: `with Ferret(folder) as ferret: ferret.url`.

    Its data is in `folder`, or without one in a temporary folder that goes with it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or ''
        self._program = _build()
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f'mongodb://127.0.0.1:{self._port}/test'

    def start(self, ahead: float = 0) -> 'Ferret':
        """Returns when it answers. `ahead` is how far its clock is ahead (s)."""
        options = ['-listen', f'127.0.0.1:{self._port}', '-dir', str(self._folder), '-ahead', f'{ahead}s']
        # It ends when that pipe does, so no later than this process.
        self._process = subprocess.Popen([self._program, *options], stdin=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(('127.0.0.1', self._port)).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError('FerretDB does not start')

    def stop(self) -> None:
        """Ends it at once, whatever it is doing; what it had acknowledged is kept in its folder."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()


@cache
def _shared() -> Ferret:
    """The one that lasts as long as this process."""
    return Ferret().start()


@cache
def _build() -> Path:
    """FerretDB's program, built where these sources have not been built before. Test workers take turns."""
    sources = b''.join((_FOLDER / name).read_bytes() for name in _SOURCES)
    program = _FOLDER / '.build' / sha256(sources).hexdigest()[:16]
    program.parent.mkdir(exist_ok=True)
    with (program.parent / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            if not shutil.which('go'):
                missing('a MongoDB (by TEST_MONGODB_URI, or Go to build FerretDB)')
            unfinished = program.with_suffix('.unfinished')
            built = subprocess.run(
                ['go', 'build', '-buildvcs=false', '-o', unfinished, '.'], cwd=_FOLDER, capture_output=True, text=True
            )
            if built.returncode:
                missing(f'a MongoDB (by TEST_MONGODB_URI, or FerretDB, which Go cannot build: {built.stderr.strip()})')
            unfinished.rename(program)
    return program


def _named(url: str, database: str) -> str:
    """`url` with another database, and credentials that are still looked up where they were."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if '@' in parts.netloc:
        options.setdefault('authSource', parts.path[1:] or 'admin')
    return urlunsplit(parts._replace(path=f'/{database}', query=urlencode(options)))

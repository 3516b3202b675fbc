"""The database that the servers share, and how it goes away for a while."""

import shlex
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError

STARTED_WITHIN = 30
MONGODB_PORT = 27017
SAME_CLOCK = 1.0
"""How far (s) two clocks may differ that the servers take for the same."""


class DatabaseError(Exception):
    """The database cannot be used, which is no fault of the servers."""


class Sqlite:
    """A new SQLite file. It goes away by a lock that another process, this one, holds."""

    can_go_away = True
    how_away = 'locked by another process'
    has_clock = False

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise DatabaseError(f'{path} exists already; the suite begins with a file of its own')
        self._path = path.absolute()
        self.url = f'sqlite:///{self._path}'

    def start(self) -> float:
        """Makes it ready; returns how far its clock is ahead (s)."""
        return 0

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody can write meanwhile."""
        db = sqlite3.connect(self._path, timeout=STARTED_WITHIN, isolation_level=None)
        try:
            db.execute('BEGIN EXCLUSIVE')
            yield
        finally:
            db.close()

    def clean_up(self) -> None:
        """Leaves the file to whoever named it, or has to find out what was wrong."""


class Mongo:
    """A database with a new name in the MongoDB at a url. It goes away if this started it, with `command`."""

    how_away = 'killed, away'
    has_clock = True

    def __init__(self, url: str, command: str | None) -> None:
        self.url = _named(url, f'faults-{token_hex(4)}')
        self.can_go_away = command is not None
        self._command = shlex.split(command or '')
        self._address = _address(url)
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = False

    def start(self) -> float:
        """Makes it ready; returns how far its clock is ahead (s). Raises DatabaseError."""
        if self._command:
            self._run()
        try:
            with self._client() as client:
                begun = time.time()
                shown = client.admin.command('hello')['localTime'].timestamp()
        except PyMongoError as error:
            raise DatabaseError(f'the database does not answer: {error}') from None
        self._answers = True
        ahead = float(shown - (begun + time.time()) / 2)
        return ahead if abs(ahead) > SAME_CLOCK else 0

    @contextmanager
    def away(self) -> Iterator[None]:
        """It is killed, and started again."""
        self._kill()
        try:
            yield
        finally:
            self._run()

    def clean_up(self) -> None:
        """Drops what the servers kept, and ends what was started."""
        if self._answers:
            with suppress(PyMongoError), self._client() as client:
                client.drop_database(client.get_default_database())
        self._kill()

    def _client(self) -> MongoClient[dict[str, object]]:
        return MongoClient(self.url, serverSelectionTimeoutMS=3000, tz_aware=True)

    def _run(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise DatabaseError(f'{self._command[0]}: {error.strerror}') from None
        deadline = time.monotonic() + STARTED_WITHIN
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection(self._address, timeout=1).close()
                return
            time.sleep(0.1)
        raise DatabaseError(f'{self._command[0]} does not come to listen where --database says')

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _address(url: str) -> tuple[str, int]:
    """Where a server of a url with a single one listens."""
    try:
        parts = urlsplit(url)
        return parts.hostname or '127.0.0.1', parts.port or MONGODB_PORT
    except ValueError:  # several, which only a url without a command may name
        return '', 0


def _named(url: str, name: str) -> str:
    """`url` with another database, and credentials that are still looked up where they were."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if '@' in parts.netloc:
        options.setdefault('authSource', parts.path[1:] or 'admin')
    return urlunsplit(parts._replace(path=f'/{name}', query=urlencode(options)))

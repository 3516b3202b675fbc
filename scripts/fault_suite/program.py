"""What programs over this suite do alike: read arguments, keep the logs that are needed, tell what the ledger says."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from fault_suite.databases import DatabaseError, Mongo, Sqlite
from fault_suite.ledger import ACKED, FAILED, REFUSED, UNANSWERED, Ledger
from fault_suite.servers import ServerError

ROOT = Path(__file__).parents[2]
SERVER = ROOT / 'scripts' / 'run_server.py'
JAVASCRIPT = ROOT / 'tests' / 'js' / 'node_modules'


def make_parser(name: str, description: str, epilog: str, seed: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all programs take; `seed` is what that of the same name repeats."""
    parser = argparse.ArgumentParser(
        prog=f'{name}.py', description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=random.randrange(10**6),
        metavar='N',
        help=f'repeats {seed} (default: a random one)',
    )
    parser.add_argument(
        '--database',
        type=_database_url,
        metavar='URL',
        help='mongodb://...: a database of a new name in it, dropped afterwards; sqlite:///PATH: a new file, '
        'which is kept (default: one in a temporary folder)',
    )
    return parser


def supervise(name: str, work: Callable[[Path], tuple[int, bool]]) -> int:
    """Does `work(folder)`, and returns the exit code that it returns beside whether the folder is to be kept.

    2 where the database cannot be used, 1 where a server fails, 130 where Ctrl-C ends it. Raises SystemExit where
    SIGTERM or SIGHUP came.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    folder = Path(tempfile.mkdtemp(prefix=f'{name}-'))
    keep = False
    try:
        code, keep = work(folder)
    except DatabaseError as error:
        print(f'{name}.py: {error}', file=sys.stderr)
        code = 2
    except ServerError as error:
        print(f'{name}.py: {error}', file=sys.stderr)
        code, keep = 1, True
    except KeyboardInterrupt:
        print(f'{name}.py: ended by Ctrl-C', file=sys.stderr)
        code = 130
    finally:
        if keep:
            print(f'The logs of the servers are in {folder}')
        else:
            shutil.rmtree(folder)
    return code


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def open_database(url: str | None, folder: Path, command: str | None = None) -> Sqlite | Mongo:
    """The database at `url`, or a file in `folder`; `command` starts a MongoDB. Raises DatabaseError."""
    if url is None:
        return Sqlite(folder / 'events.db')
    if url.startswith('sqlite:///'):
        return Sqlite(Path(url.removeprefix('sqlite:///')))
    return Mongo(url, command)


def asks(ledger: Ledger) -> str:
    """What became of the events that were asked for, in words."""
    lines = [
        f'{ledger.count(ACKED):,} events acked, {ledger.count(REFUSED):,} refused as they came too late, '
        f'{ledger.count(FAILED):,} failed, {ledger.count(UNANSWERED):,} not answered'
    ]
    lines += [f'  failed, {count} times: {error}' for error, count in ledger.failures.items()]
    phantoms = ledger.refused_yet_delivered()
    if phantoms:
        lines.append(f'  {phantoms} of those that were refused reached clients')
    return '\n'.join(lines)


def whole_number(text: str) -> int:
    """An argument's value, above 0. Raises ArgumentTypeError."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number above 0')
    return int(text)


def _database_url(text: str) -> str:
    if not text.startswith(('sqlite:///', 'mongodb://', 'mongodb+srv://')):
        raise argparse.ArgumentTypeError("it has to begin with 'sqlite:///', 'mongodb://' or 'mongodb+srv://'")
    return text

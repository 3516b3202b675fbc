#!/usr/bin/env python3
"""Has hostile clients beset a real server for minutes, and tells whether honest clients or the server took harm."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles

from fault_suite.ledger import FAILED, UNANSWERED
from fault_suite.program import asks, make_parser, open_database, supervise, whole_number
from fault_suite.screen import table
from soak_suite.run import Plan, Soak
from soak_suite.watch import growth

DESCRIPTION = """\
Starts a server, and from 200 connections sends it random bytes, HTTP requests, frames, packets and commands: right
ones, wrong ones and altered ones, some in bits, some without ever reading. Who is thrown out comes back.
Meanwhile honest clients ask for events and wait for them, in minutes that begin every 8 s where faketime is installed.
"""
EPILOG = """\
All is well if each honest client got each acked event once and in order over one connection, each honest command was
answered within 5 s, memory is flat (the last quarter's median against the second's), files are closed afterwards, and
the server's log holds no error, no traceback, and no line that another could have forged.

Exit codes: 0 all is well; 1 it is not; 2 a wrong argument, or a database that cannot be used; 130 ended by Ctrl-C.
Where it is 1 the server's log and an SQLite file are kept. --seed repeats what each connection sends, not when.

examples, with the Python into which event-reminder is installed:
  python scripts/soak.py --minutes 10
  python scripts/soak.py --connections 1000 --database mongodb://127.0.0.1:27017
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a soak; returns its exit code. Raises SystemExit as argparse does, and where SIGTERM or SIGHUP came."""
    parser = make_parser('soak', DESCRIPTION, EPILOG, seed='what each hostile connection sends')
    parser.add_argument(
        '--minutes', type=_minutes, default=1.0, metavar='N', help='how long, fractions are allowed (default: 1)'
    )
    parser.add_argument(
        '--connections', type=whole_number, default=200, metavar='N', help='hostile ones at a time (default: 200)'
    )
    return supervise('soak', partial(_run, parser.parse_args(arguments)))


def _run(options: argparse.Namespace, folder: Path) -> tuple[int, bool]:
    """Returns the exit code, and whether somebody will want to read the log."""
    plan = Plan(options.minutes * 60, options.connections, options.seed)
    with Soak(plan, folder, open_database(options.database, folder)) as soak:
        soak.screen.note(f'minutes: {options.minutes:g}, connections: {options.connections}, --seed {options.seed}')
        soak.drive()
    return _report(soak)


def _report(soak: Soak) -> tuple[int, bool]:
    ledger, rows = soak.ledger, soak.ledger.verdict()
    problems = [*soak.problems, *ledger.problems, *ledger.examples()]
    if ledger.count(FAILED) or ledger.count(UNANSWERED):
        problems.append('honest commands failed, or were not answered')
    print(_hostile(soak), asks(ledger), table(rows), *_figures(soak), *problems, sep='\n')
    good = all(row.good and row.delivered for row in rows) and not problems
    print('All is well.' if good else 'NOT ALL IS WELL.')
    return (0 if good else 1), not good


def _hostile(soak: Soak) -> str:
    done = dict(soak.siege.done) if soak.siege else {}
    writes, size = done.pop('writes', 0), done.pop('bytes', 0)
    connections = ', '.join(f'{name} {count:,}' for name, count in sorted(done.items()))
    return f'{sum(done.values()):,} hostile connections ({connections}), {writes:,} writes, {size / 2**20:,.1f} MiB'


def _figures(soak: Soak) -> list[str]:
    lines = []
    if len(times := soak.ledger.answer_times()) > 1:
        percent = quantiles(times, n=100)
        worst = max(times)
        lines.append(
            'honest commands were answered within '
            f'{percent[49] * 1000:.0f} ms (half), {percent[98] * 1000:.0f} ms (99 %), {worst * 1000:.0f} ms (all)'
        )
    if soak.watch and soak.watch.samples and soak.after:
        second, last = growth(soak.watch.samples)
        lines.append(
            f'memory: {soak.watch.before.memory / 1024:.1f} MiB before, {second / 1024:.1f} in the second quarter, '
            f'{last / 1024:.1f} in the last, {max(one.memory for one in soak.watch.samples) / 1024:.1f} at most'
        )
        lines.append(
            f'open files: {soak.watch.before.files} before, {max(one.files for one in soak.watch.samples)} at most, '
            f'{soak.after.files} afterwards'
        )
    return lines


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0
    if not 0 < minutes < float('inf'):
        raise argparse.ArgumentTypeError(f'{text!r} is no number above 0')
    return minutes


if __name__ == '__main__':
    sys.exit(main())

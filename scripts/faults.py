#!/usr/bin/env python3
"""Runs real servers and clients through faults, and tells from a ledger whether a reminder was lost or repeated."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fault_suite.program import JAVASCRIPT, SERVER, asks, make_parser, open_database, supervise, whole_number
from fault_suite.run import Plan, Run
from fault_suite.screen import table
from fault_suite.servers import faketime_library

DESCRIPTION = """\
Starts two servers on one database, connects clients to them, schedules events for the coming minutes without a pause,
and makes things go wrong meanwhile: kill -9 and restart (of one server within the batch of a minute, or of all),
SIGTERM, SIGSTOP, a database that is away over a minute, connections that stall or are cut within a batch, clients that
have no network for a while or move between the servers, and, where faketime is installed, a clock that is set. A ledger
keeps every acked event and every reminder that each client got; at the end a table tells what it says.
"""
EPILOG = """\
The table, for each kind of client:
  owed        acked events that have to reach the clients: those that resume by an offset are owed every one; those that
              know no offset, what fell due while they were connected to a server
  lost        of these, the ones that never came
  repeated    reminders that came again; "of which cut off" are those whose client had lost its connection before it
              was told the offset behind them, or that knows no offset and came back soon after a server's start: it
              is promised no more than that they bear the same _id
  wrong       reminders out of order, too early, other than acked, or that nobody asked for; incomplete resumptions
  late        from the minute to the client, median and worst. The outages count; so does this program, which passes on
              and reads all clients' reminders in one process

Exit codes: 0 all is well; 1 something was lost, wrong, or repeated where no connection was cut, or a server ended by
itself or did not come back; 2 a wrong argument, or a database that cannot be used; 130 ended by Ctrl-C. Where it is 1
the servers' logs and an SQLite file are kept. --seed repeats the choice of faults, not the moments at which they hit.

examples, with the Python into which event-reminder is installed:
  python scripts/faults.py
  python scripts/faults.py --minutes 10 --compressed
  python scripts/faults.py --minutes 60 --database mongodb://127.0.0.1:27017
  python scripts/faults.py --database mongodb://127.0.0.1:27099 --database-command 'mongod --port 27099 --dbpath DATA'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the suite; returns its exit code. Raises SystemExit as argparse does, and where SIGTERM or SIGHUP came."""
    parser = _parser()
    options = parser.parse_args(arguments)
    mongodb = options.database is not None and not options.database.startswith('sqlite')
    if options.compressed and (mongodb or faketime_library() is None):
        parser.error('--compressed needs faketime, and SQLite, as servers follow the clock of a MongoDB')
    if options.database_command and not mongodb:
        parser.error('--database-command starts the MongoDB that --database names')
    return supervise('faults', partial(_run, options))


def _run(options: argparse.Namespace, folder: Path) -> tuple[int, bool]:
    """Returns the exit code, and whether somebody will want to read the logs."""
    database = open_database(options.database, folder, options.database_command)
    plan = Plan(
        minutes=options.minutes,
        events=options.events,
        seed=options.seed,
        compressed=options.compressed,
        program=SERVER,
        javascript=JAVASCRIPT,
    )
    with Run(plan, folder, database) as run:
        say = run.screen.note
        say(f'minutes: {options.minutes}, events a minute: {options.events}, --seed {options.seed}')
        if not database.can_go_away:
            say('Left out: a database that goes away, as this program has not started it (see --database-command).')
        if not run.clock.settable:
            say('Left out: a clock that is set (needs faketime).')
        run.drive()
    return _report(run)


def _report(run: Run) -> tuple[int, bool]:
    rows = run.ledger.verdict()
    problems = [*run.problems, *run.ledger.problems, *run.ledger.examples()]
    tracebacks = sum(server.log.read_text(errors='replace').count('Traceback') for server in run.servers)
    print(asks(run.ledger), table(rows), *problems, sep='\n')
    if tracebacks:
        print(f'{tracebacks} tracebacks in the logs of the servers')
    good = all(row.good for row in rows) and not problems
    print('All is well.' if good else 'NOT ALL IS WELL.')
    return (0 if good else 1), not good or tracebacks > 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser('faults', DESCRIPTION, EPILOG, seed='the choice of faults')
    parser.add_argument(
        '--minutes', type=whole_number, default=3, metavar='N', help='how many minutes begin (default: 3)'
    )
    parser.add_argument(
        '--events',
        type=whole_number,
        default=3000,
        metavar='N',
        help='events that are asked for a minute (default: 3000)',
    )
    parser.add_argument(
        '--compressed',
        action='store_true',
        help='set the clock forward after each minute, so that the next one begins within 16 s (needs faketime)',
    )
    parser.add_argument(
        '--database-command',
        metavar='COMMAND',
        help='starts that MongoDB, and stays in the foreground; with it the database goes away by kill -9, too',
    )
    return parser


if __name__ == '__main__':
    sys.exit(main())

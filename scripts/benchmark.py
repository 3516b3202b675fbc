#!/usr/bin/env python3
"""Measures how fast the server is, against its peers, in one run that anyone can repeat.

It builds what it needs: a load program in C (gcc), and socket.io for Node.js (npm; left out where Node.js is missing).
Server and load get a core of a machine each, so nothing else should run there. Ours and its peers take turns, and what
is printed are medians, with the least and the most in brackets, and how many times better ours is.
"""

import argparse
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from bench import measures, report
from bench.measures import FLOOR, MONGODB, NODE, OURS, SERVERS, Bench, Measure
from bench.processes import BenchmarkError, build, faketime_library, install_node_peer
from bench.report import Results

RESERVE = 100
"""Files that a server needs beside its clients."""

EPILOG = """\
what is measured (names for --only):
  lateness       from the due instant until the one client has the one reminder
  1000x50 ...    1,000 clients and 50 reminders: from the due instant to the last client's last reminder, as the load
                 program stamps them, which looks into what it received only later
  schedules      scheduleEvent, answered, a second; ours has put each on disk by then, the others have it in memory
  connections    connects a second with 100 in flight, each until its answer to CONNECT, when the server has just
                 started and a second time; and the memory (PSS) that an idle client takes
  herd           2,000 clients that connect at once, each with an offset 50 reminders back, over the same without

servers:
{servers}

Ours runs with its default settings, without the rate limit, as one client stands for many. Its reminders are due at
whole minutes. With --clock real each run waits for one. With --clock fake the server runs under `faketime`, so that a
minute comes when all clients are connected; that costs it a little. The peers take times with seconds.

A whole benchmark takes about 20 minutes, --quick less than 5. Run as root, server and load go before other programs.
"""


def main() -> int:
    options = _arguments()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print('benchmark: server and load share the only core, which makes all figures worse', file=sys.stderr)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _end)
    try:
        with TemporaryDirectory(prefix='benchmark-') as folder:
            servers = _servers(options)
            if options.fake and OURS in servers:
                faketime_library()
            used = {cores[0], cores[-1]}
            bench = Bench(build(Path(folder)), cores[0], cores[-1], options.fake, options.mongodb)
            results = Results(_measures(options), servers)
            about = report.circumstances('faketime' if options.fake else 'real')
            begin, others = time.monotonic(), _used_by_others(used)
            failures = _run(bench, results)
            share = (_used_by_others(used) - others) / (time.monotonic() - begin) / len(used)
            about['others'] = f'{max(0, share):.0%} of these cores meanwhile'
    except BenchmarkError as error:
        print(f'benchmark: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _report(options, about, results)
    for failure in failures:
        print(f'benchmark: {failure}', file=sys.stderr)
    return 1 if failures else 0


def _run(bench: Bench, results: Results) -> list[str]:
    """Makes all runs, the servers in turn; returns what failed."""
    plan = [
        (measure, kind, number)
        for measure in results.measures
        for number in range(measure.rounds)
        for kind in results.servers
        if kind in measure.servers
    ]
    failures = []
    with _progress() as say:
        for done, (measure, kind, number) in enumerate(plan):
            say(f'{done + 1} of {len(plan)}: {measure.name}, {kind}, {number + 1} of {measure.rounds}')
            try:
                results.add(measure, kind, measure.run(bench, kind))
            except BenchmarkError as error:
                failures.append(f'{measure.name}, {kind}: {error}')
    return failures


def _report(options: argparse.Namespace, about: dict[str, str], results: Results) -> None:
    for name, text in about.items():
        print(f'{name}: {text}')
    print()
    if options.growth:
        print(report.growth(results))
    else:
        print(report.comparison(results))
        print('x: how many times better ours is')
        goals = report.goals(results)
        if goals:
            print(f'\n{goals}')
    if options.json:
        report.write_json(options.json, about, results)
    if options.plot:
        report.plot(options.plot, about, results)


def _measures(options: argparse.Namespace) -> list[Measure]:
    if options.growth:
        return measures.growth(resource.getrlimit(resource.RLIMIT_NOFILE)[1] - RESERVE)
    chosen = measures.standard(quick=options.quick)
    return [measure for measure in chosen if not options.only or measure.name in options.only]


def _servers(options: argparse.Namespace) -> list[str]:
    servers = [kind for kind in SERVERS if kind != MONGODB or options.mongodb]
    if options.servers:
        servers = [kind for kind in servers if kind in (OURS, MONGODB, *options.servers)]
    if NODE in servers:
        try:
            install_node_peer()
        except BenchmarkError as error:
            print(f'benchmark: without Node: {error}', file=sys.stderr)
            servers.remove(NODE)
    return servers


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Something to call with what is done next; it is shown on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    begin = time.monotonic()

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - begin), 60)
        print(f'\r\x1b[K{minutes}:{seconds:02} {text}', end='', file=sys.stderr, flush=True)

    try:
        yield say
    finally:
        print('\r\x1b[K', end='', file=sys.stderr, flush=True)


def _used_by_others(cores: set[int]) -> float:
    """Seconds that other programs, and other machines on the same host, have taken of these cores so far."""
    busy = 0
    for line in Path('/proc/stat').read_text().splitlines():
        name, *ticks = line.split()
        if name in {f'cpu{core}' for core in cores}:
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, ticks)
            busy += user + nice + system + irq + softirq + steal
    ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return busy / os.sysconf('SC_CLK_TCK') - sum(usage.ru_utime + usage.ru_stime for usage in ours)


def _end(number: int, frame: FrameType | None) -> None:
    """Lets the blocks that end processes and remove files do so."""
    sys.exit(128 + number)


def _arguments() -> argparse.Namespace:
    width = max(map(len, SERVERS))
    servers = '\n'.join(f'  {kind:{width}}  {what}' for kind, what in SERVERS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EPILOG.format(servers=servers),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [measure.name for measure in measures.standard(quick=True)]
    parser.add_argument('--quick', action='store_true', help='fewer runs, smaller sizes, and --clock fake')
    parser.add_argument('--growth', action='store_true', help='more clients and more reminders: time, CPU and memory')
    parser.add_argument('--only', action='append', choices=names, metavar='NAME', help='only this measure (repeatable)')
    parser.add_argument(
        '--servers',
        type=_server_list,
        metavar='A,B',
        help=f'only these peers beside ours (default: all; for --growth: {FLOOR})',
    )
    parser.add_argument('--clock', choices=('real', 'fake'), help='see below (default: real)')
    parser.add_argument('--mongodb', metavar='URL', help='ours on this database too, in which the events stay')
    parser.add_argument('--json', type=Path, metavar='FILE', help='keeps all figures of all runs')
    parser.add_argument('--plot', type=Path, metavar='FILE', help="draws a chart (needs the extra 'bench')")
    options = parser.parse_args()
    if options.growth and (options.only or options.quick or options.plot):
        parser.error('--growth goes with none of --only, --quick and --plot')
    if options.servers is None and options.growth:
        options.servers = [FLOOR]
    options.fake = (options.clock or ('fake' if options.quick else 'real')) == 'fake'
    return options


def _server_list(text: str) -> list[str]:
    chosen = text.split(',')
    for kind in chosen:
        if kind not in SERVERS:
            raise argparse.ArgumentTypeError(f'{kind!r} is none of {", ".join(SERVERS)}')
    return chosen


if __name__ == '__main__':
    sys.exit(main())

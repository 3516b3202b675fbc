#!/usr/bin/env python3
"""Lists a million pending events of a server on SQLite page by page, and says what that costs.

Each page is asked for as clients do, and timed until the answer has arrived, without the time for which the kernel had
no core for the server or this program. The server's memory is what the kernel says that it holds (RSS). The exit code
is 1 where half of the pages take longer than 10 ms, or the memory is not steady once the first pages were listed.
"""

import argparse
import json
import statistics
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from reminder.models.event import Event
from reminder.models.store import open_store
from tests.faults import ClockedServer
from tests.hostile.canary import unserved
from tests.server import MINUTE
from tests.wire import SocketIO

CLOCK = '2026-03-01 10:00:05'
FAST = 10.0
"""ms that a page may take."""
FIRST = 100
"""Pages after which the server has what it needs for listing."""
STEADY = 8 * 2**20
"""Bytes by which its memory may grow from then on."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--events', type=int, default=1_000_000)
    parser.add_argument('--limit', type=int, default=100, help='events of a page')
    parser.add_argument('--channel', help='list those of this channel; events have none')
    options = parser.parse_args()
    with TemporaryDirectory(prefix='listing-') as folder:
        server = ClockedServer(Path(folder), CLOCK, COMMAND_RATE_LIMIT='0')
        server.start().terminate()  # makes the tables
        fill(Path(folder) / 'events.db', server.now(), options.events)
        with server.start(), closing(SocketIO(server.url)) as client:
            return show(server, client, options)


def fill(path: Path, now: int, count: int) -> None:
    """Puts events into a store's file, a hundred of each minute from the next but nine on."""
    begin = (now // MINUTE + 10) * MINUTE
    with closing(open_store(f'sqlite:///{path}', lambda function, *arguments: function(*arguments))) as store:
        store.open(now)
        for first in range(0, count, 1_000):
            numbers = range(first, min(first + 1_000, count))
            store.add_all(
                [Event(f'{number:024x}', f'event {number}', begin + number // 100 * MINUTE) for number in numbers]
            )


def show(server: ClockedServer, client: SocketIO, options: argparse.Namespace) -> int:
    """Lists and prints what it costs; the exit code."""
    seconds: list[float] = []
    memory = [server.memory()]
    listed, last, following = 0, ('', ''), None
    while following is not None or not seconds:
        data = {'limit': options.limit, 'after': following, 'channel': options.channel}
        begin, waited = time.perf_counter(), unserved(str(server.pid), 'self')
        answer = ask(client, 'listEvents', data)
        took = time.perf_counter() - begin
        waits = (delay - waited.get(task, 0) for task, delay in unserved(str(server.pid), 'self').items())
        seconds.append(took - max(waits) / 1e9)
        response = json.loads(answer)[0]['response']
        for event in response['events']:
            assert last < (event['time'], event['_id']), (last, event)
            last = event['time'], event['_id']
        listed, following = listed + len(response['events']), response['next']
        memory.append(server.memory())
    assert listed == options.events, listed
    millis = sorted(1000 * one for one in seconds)
    median, late = statistics.median(millis), sum(one > FAST for one in millis)
    growth = max(memory) - max(memory[: FIRST + 1])
    print(f'{listed} events in {len(seconds)} pages of {options.limit}, in order, none missing')
    print(f'a page: median {median:.2f} ms, 99% {millis[len(millis) * 99 // 100]:.2f} ms, ', end='')
    print(f'worst {millis[-1]:.2f} ms; {late} took longer than {FAST:g} ms')
    before, most, after, grown, steady = (size / 2**20 for size in (memory[0], max(memory), memory[-1], growth, STEADY))
    print(f'memory: {before:.1f} MiB before, {most:.1f} at most, {after:.1f} after; ', end='')
    print(f'it grew by {grown:.1f} MiB after the first {FIRST} pages, up to {steady:g} is steady')
    return int(median > FAST or growth > STEADY)


def ask(client: SocketIO, command: str, data: dict[str, Any]) -> str:
    """The arguments of the answer, as JSON."""
    client.send('421' + json.dumps(['command', {'command': command, 'data': data}]))
    while not (message := client.read()).startswith('431'):
        if message == '2':  # a ping, without whose pong the server takes the client for gone
            client.send('3')
    return message.removeprefix('431')


if __name__ == '__main__':
    sys.exit(main())

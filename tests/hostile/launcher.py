#!/usr/bin/env python3
"""Runs the server as `scripts/run_server.py` does, in a process that can be asked what lives in it.

At SIGUSR1 it writes `census.json` into its working directory: how many objects of each kind in `KINDS` there are. The
server itself knows nothing of that.
"""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
from greenlet import getcurrent, greenlet  # noqa: E402

from reminder.cli import main  # noqa: E402
from reminder.websocket.broadcast import Connection  # noqa: E402
from reminder.websocket.handshake import Greeting, Handler  # noqa: E402
from reminder.websocket.session import Probe, Session  # noqa: E402
from reminder.websocket.transport import Polling, WebSocket  # noqa: E402
from reminder.websocket.workers import Workers  # noqa: E402

KINDS = (Connection, Greeting, Handler, Polling, Probe, Session, WebSocket)


def take_census() -> None:
    """Counts, for each kind, what is still there after a garbage collection, and writes it down."""
    gc.collect()
    census = Counter({kind.__name__: 0 for kind in (greenlet, *KINDS)})
    for thing in gc.get_objects():
        if isinstance(thing, greenlet):
            census['greenlet'] += not thing.dead and thing is not getcurrent()
        elif isinstance(thing, Workers):
            census['greenlet'] -= len(thing._idle)  # kept for the next command, up to a bound of their own
        elif isinstance(thing, KINDS):
            census[type(thing).__name__] += 1
    part = Path('census.part')
    part.write_text(json.dumps(census))
    part.rename('census.json')


if __name__ == '__main__':
    gevent.signal_handler(signal.SIGUSR1, take_census)
    sys.exit(main(['serve', *sys.argv[1:]]))

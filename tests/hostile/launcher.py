#!/usr/bin/env python3
"""Runs the server as `scripts/run_server.py` does, in a process that can be asked what lives in it.

At SIGUSR1 it writes `census.json` into its working directory: how many greenlets and objects of `KINDS` there are. The
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
from reminder.websocket.handler import Handler  # noqa: E402
from reminder.websocket.handshake import Greeting  # noqa: E402
from reminder.websocket.session import Session  # noqa: E402
from reminder.websocket.streams import Stream  # noqa: E402
from reminder.websocket.transport import Polling, WebSocket  # noqa: E402
from reminder.websocket.upgrade import Probe  # noqa: E402
from reminder.websocket.workers import Workers  # noqa: E402

KINDS = (Connection, Greeting, Handler, Polling, Probe, Session, Stream, WebSocket)


def take_census() -> None:
    """Counts, for each kind, what is still there after a garbage collection, and writes it down."""
    gc.collect()
    census = Counter(dict.fromkeys(('greenlet', 'timer', *(kind.__name__ for kind in KINDS)), 0))
    for thing in gc.get_objects():
        if isinstance(thing, greenlet):
            if thing is not getcurrent() and root(thing) is root(getcurrent()) and not (thing.dead or is_idle(thing)):
                census['greenlet' if thing.gr_frame else 'timer'] += 1  # who has not begun has no frame
        elif isinstance(thing, KINDS):
            census[type(thing).__name__] += 1
    part = Path('census.part')
    part.write_text(json.dumps(census))
    part.rename('census.json')


def root(thing: greenlet) -> greenlet:
    """The first greenlet of its thread: a store's threads, which come as they are needed, have some of their own."""
    while thing.parent is not None:
        thing = thing.parent
    return thing


def is_idle(thing: greenlet) -> bool:
    """Whether it is one of those that wait for the next command, of which a bounded number is kept."""
    return thing.gr_frame is not None and thing.gr_frame.f_code is Workers._work.__code__


if __name__ == '__main__':
    gevent.signal_handler(signal.SIGUSR1, take_census)
    sys.exit(main(['serve', *sys.argv[1:]]))

"""Runs the server in this process until a signal ends it. The launcher, who calls, patched the standard library."""

import gc
import os
import signal
import sys
import time

import gevent
from gevent.event import Event

from reminder.app import Application
from reminder.config import Config
from reminder.logs import log_to_stderr
from reminder.settings import read_settings

SWITCH_INTERVAL = 0.001
"""Seconds; a fifth of Python's own, which made answers beside a flood up to three times as late."""
GARBAGE = 10_000, 20, 20
"""After how many new objects garbage is looked for, and after how many times among older ones. Nearly all that ends is
let go of by counting references; with Python's own, lower numbers all there is is looked through again and again while
thousands connect, for 100 ms and more each time."""


def serve() -> None:
    """Serves until SIGTERM or SIGINT, then stops in good order; a second SIGINT ends the process at once.

    Raises `ConfigError` for a wrong setting, `StartError` where the server cannot start (a busy port).
    """
    os.environ['TZ'] = 'UTC'  # `schedule` reckons in naive local time, which an autumn change stops for an hour
    time.tzset()
    # gevent runs callbacks for this long before it looks at the network, and the store's threads wait as long for their
    # turn at each statement.
    sys.setswitchinterval(SWITCH_INTERVAL)
    gevent.config.track_greenlet_tree = False  # for debugging alone, and a fifth of what a command costs
    config = Config.from_env(read_settings())
    log_to_stderr(config.log_level, config.log_format)
    stop = Event()
    signals = [gevent.signal_handler(number, stop.set) for number in (signal.SIGTERM, signal.SIGINT)]
    application = Application(config)
    application.start()
    # What was imported is never garbage. To look through it again and again made the worst answer three times as late.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    stop.wait()
    for one in signals:
        one.cancel()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # supervisors repeat it
    application.stop()

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

SWITCH_INTERVAL = 0.0001
"""Seconds, a fiftieth of Python's own. A thread that wants its turn counts them anew each time that another lets go of
the interpreter and takes it again, which the hub does for each packet that it sends. With more than lies between two
packets the store's threads get no turn for 10 ms and more, at each of their statements, as long as the hub is busy."""
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

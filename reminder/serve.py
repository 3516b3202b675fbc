"""Runs the server in this process until a signal ends it. The launcher, who calls, patched the standard library."""

import gc
import json
import logging
import os
import signal
import sys
import time
import traceback
from typing import Any

import gevent
from gevent.event import Event

from reminder.app import Application
from reminder.config import Config
from reminder.settings import read_settings

SWITCH_INTERVAL = 0.001
"""Seconds; a fifth of Python's own, which made answers beside a flood up to three times as late."""


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
    stop.wait()
    for one in signals:
        one.cancel()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # supervisors repeat it
    application.stop()


def log_to_stderr(level: str, form: str) -> None:
    """Sends log records of `level` ('INFO', ...) and above to stderr, as `form` says: 'text' or 'json'.

    What the text of an unexpected error may hold of clients' messages is told at level DEBUG alone.
    """
    handler = logging.StreamHandler()
    handler.setFormatter((_JsonFormatter if form == 'json' else _TextFormatter)(level == 'DEBUG'))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger('pymongo').setLevel(logging.WARNING)  # else each operation says that it waits for a server


class _TextFormatter(logging.Formatter):
    """For people: '2026-11-29T22:30:00.123Z INFO reminder.app: message', and further lines indented.

    So that nothing which a line quotes can pass for a line of its own, or move a terminal's cursor.
    """

    default_time_format = '%Y-%m-%dT%H:%M:%S'
    default_msec_format = '%s.%03dZ'
    converter = staticmethod(time.gmtime)

    def __init__(self, errors_in_full: bool) -> None:
        super().__init__('%(asctime)s %(levelname)s %(name)s: %(message)s')
        self._errors_in_full = errors_in_full

    def format(self, record: logging.LogRecord) -> str:
        return '\n    '.join(map(_printable, super().format(record).splitlines()))

    def formatException(self, ei: Any) -> str:
        """An error's traceback; it ends in the error's kind and, where all may be told, its text and its causes."""
        if self._errors_in_full:
            return super().formatException(ei)
        kind, _, trace = ei
        return f'Traceback (most recent call last):\n{"".join(traceback.format_tb(trace))}{kind.__qualname__}'


class _JsonFormatter(_TextFormatter):
    """For machines: one JSON object a line; a traceback is its `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            'time': self.formatTime(record),
            'level': record.levelname.lower(),
            'logger': record.name,
            'message': record.getMessage(),
        }
        if record.exc_info:
            line['exception'] = self.formatException(record.exc_info)
        return json.dumps(line)


def _printable(line: str) -> str:
    return ''.join(one if one.isprintable() else one.encode('unicode_escape').decode() for one in line)

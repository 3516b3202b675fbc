"""Log lines: one for each thing that happened, as `key=value` for people and as JSON for machines, with the same names.

Whoever logs gives the values once, by name, as the one argument of a message that may quote them:

    logger.info('listening on %(url)s', {'event': 'listening', 'url': url})

`event` says what happened, for programs; docs/alerts.rst lists all of them. A value that is None is left out. What a
line is about, a connection or a request, is added to all lines that are written meanwhile.
"""

import json
import logging
import re
import secrets
import time
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

_PLAIN = re.compile(r'[!#-<>-~]+', re.ASCII)
_ID = re.compile(r'[A-Za-z0-9._-]{1,64}', re.ASCII)
_SHOWN_ID = 8
"""Characters of a session's id. All of it would let who reads the log speak for that client."""

CONNECTION: ContextVar[str | None] = ContextVar('connection', default=None)
"""The id of the session that is worked for, whose greenlets set and reset it; they are used again for others."""
REQUEST: ContextVar[str | None] = ContextVar('request', default=None)
"""What the request that is answered is called."""


def connection(sid: str) -> str:
    """What a connection is called in the log: how its session's id begins."""
    return sid[:_SHOWN_ID]


def request_id(given: str) -> str:
    """What a request is called in the log: as a proxy before us calls it (`X-Request-Id`), if any does."""
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def log_to_stderr(level: str, form: str) -> None:
    """Sends log records of `level` ('INFO', ...) and above to stderr, as `form` says: 'text' or 'json'.

    What the text of an unexpected error may hold of clients' messages is told at level DEBUG alone.
    """
    handler = logging.StreamHandler()
    handler.setFormatter((_Json if form == 'json' else _Text)(level == 'DEBUG'))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ('pymongo', 'schedule', 'reminder.http'):  # libraries, who tell each step that they take
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _Lines(logging.Formatter):
    """What both forms have in common."""

    default_time_format = '%Y-%m-%dT%H:%M:%S'
    default_msec_format = '%s.%03dZ'
    converter = staticmethod(time.gmtime)

    def __init__(self, errors_in_full: bool) -> None:
        super().__init__()
        self._errors_in_full = errors_in_full

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """All that a record says, by name and in order; a traceback is its `exception`."""
        values = dict(record.args) if isinstance(record.args, Mapping) else {}
        sid = CONNECTION.get()
        line = {
            'time': self.formatTime(record),
            'level': record.levelname.lower(),
            'logger': record.name,
            'event': values.pop('event', None),
            'message': record.getMessage(),
            'connection': sid and connection(sid),
            'request': REQUEST.get(),
            **values,
        }
        if record.exc_info:
            line['exception'] = self.formatException(record.exc_info)
        return {name: value for name, value in line.items() if value is not None}

    def formatException(self, ei: Any) -> str:
        """An error's traceback; it ends in the error's kind and, where all may be told, its text and its causes."""
        if self._errors_in_full:
            return super().formatException(ei)
        kind, _, trace = ei
        return f'Traceback (most recent call last):\n{"".join(traceback.format_tb(trace))}{kind.__qualname__}'


class _Text(_Lines):
    """For people: `time=2026-11-29T22:30:00.123Z level=info logger=reminder.app event=stopping message=stopping`.

    Values are bare where they can be, else JSON texts, so that nothing which a line quotes can pass for a line or a
    value of its own, or move a terminal's cursor. The lines of a traceback follow, indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        trace = fields.pop('exception', '').splitlines()
        line = ' '.join(f'{name}={_text(value)}' for name, value in fields.items())
        return '\n    '.join((line, *map(_printable, trace)))


class _Json(_Lines):
    """For machines: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record), default=str)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if _PLAIN.fullmatch(text) else _printable(json.dumps(text, ensure_ascii=False))


def _printable(text: str) -> str:
    return ''.join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)

"""What people and programs see of what a server sent."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TextIO

Reminder = Mapping[str, Any]


class Output:
    """Results on standard output, everything else on standard error; in colour where a person looks at it."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Any, text: str) -> None:
        """Prints what the server sent: `value` as JSON, or its `text` for people."""
        print(json.dumps(value) if self.as_json else text, flush=True)

    def reminder(self, reminder: Reminder) -> None:
        self.result(reminder, line(reminder))

    def notice(self, text: str) -> None:
        print(_style('2', text, sys.stderr), file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        print(_style('33', f'warning: {text}', sys.stderr), file=sys.stderr, flush=True)


def line(event: Reminder) -> str:
    """An event for people."""
    name = _style('1', event.get('name'), sys.stdout)
    return f'{local(event.get("time"))}  {name}  ({printable(event.get("_id"))})'


def printable(value: Any) -> str:
    """`value` as text without what would move a terminal's cursor: names come from strangers."""
    return ''.join(one if one.isprintable() else one.encode('unicode_escape').decode() for one in str(value))


def local(moment: Any) -> str:
    """An ISO time of the server in this machine's zone, for people."""
    try:
        return f'{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M %Z}'
    except (TypeError, ValueError, OverflowError):
        return printable(moment)


def _style(code: str, value: Any, stream: TextIO) -> str:
    coloured = stream.isatty() and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'
    return f'\033[{code}m{printable(value)}\033[0m' if coloured else printable(value)

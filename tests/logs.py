"""Log lines, as a server writes them and as programs read them."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reminder.logs import log_to_stderr

PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?: |$)')


def parse(line: str, form: str = 'text') -> dict[str, Any]:
    """The values of a line; in text form it has nothing else, or this fails."""
    if form == 'json':
        values: dict[str, Any] = json.loads(line)
        return values
    pairs = list(PAIR.finditer(line))
    assert ''.join(pair[0] for pair in pairs) == line, line
    return {pair[1]: json.loads(pair[2]) if pair[2].startswith('"') else pair[2] for pair in pairs}


@contextmanager
def logging_to_stderr(level: str = 'INFO', form: str = 'text') -> Iterator[None]:
    """Logs as a server does; the root logger is as it was afterwards."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    log_to_stderr(level, form)
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]

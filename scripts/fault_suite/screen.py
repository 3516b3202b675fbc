"""What the suite shows: on a terminal one line that is rewritten, in a pipe plain lines; and at the end a table."""

import math
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence

from fault_suite.ledger import Row

REFRESH = 0.5


class Screen:
    """Progress on standard error. `status` gives the figures, which stand behind what is being done."""

    def __init__(self, status: Callable[[], str]) -> None:
        self._status = status
        self._doing = ''
        self._terminal = sys.stderr.isatty()
        self._closed = threading.Event()
        if self._terminal:
            threading.Thread(target=self._refresh_on, daemon=True).start()

    def say(self, text: str) -> None:
        """Says what is being done now."""
        self._doing = text
        if not self._terminal:
            print(f'{time.strftime("%H:%M:%S")} {text} | {self._status()}', file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Says something that is to be read after the run, too."""
        print(f'{self._erase}{text}', file=sys.stderr, flush=True)

    def close(self) -> None:
        """Takes the line away."""
        self._closed.set()
        print(self._erase, end='', file=sys.stderr, flush=True)

    @property
    def _erase(self) -> str:
        return '\r\033[K' if self._terminal else ''

    def _refresh_on(self) -> None:
        while not self._closed.wait(REFRESH):
            line = f'{self._status()} | {self._doing}'[: shutil.get_terminal_size().columns - 1]
            print(f'{self._erase}{line}', end='', file=sys.stderr, flush=True)


HEADINGS = ('clients', 'owed', 'delivered', 'lost', 'repeated', 'of which cut off', 'wrong', 'late: half', 'worst')


def table(rows: Sequence[Row]) -> str:
    """The verdict, a line for each kind of client."""
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return '\n'.join(
        '  '.join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (row.owed, row.delivered, row.lost, row.explained + row.unexplained, row.explained, row.wrong)
    return (
        f'{row.clients} {row.kind}',
        *(f'{number:,}' for number in numbers),
        *map(_lateness, (row.median, row.worst)),
    )


def _lateness(seconds: float) -> str:
    if math.isnan(seconds):
        return '-'
    return f'{seconds * 1000:.0f} ms' if seconds < 1 else f'{seconds:.1f} s'

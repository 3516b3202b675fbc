"""Tables for terminals of any width. Nothing is cut: what has no room is folded, or stands below the name.

The library takes longer to import than most commands to run, so this module is for those that have a table to show.
"""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

NAME, ID, TIME, FROM_NOW = 'name', 'id', 'time', 'from now'
"""The titles of the columns that all entries have."""
NAME_ROOM = 16
"""Cells that names have at least, unless all are shorter."""
GAP = 2
"""Cells between two columns."""


def print_rows(rows: Sequence[Mapping[str, str]], is_coloured: bool) -> None:
    """Prints entries as rows, each with the same titles; titles under which nothing stands are left out."""
    if not rows:
        return
    console, quiet = Console(), 'dim' if is_coloured else ''
    widths = {title: max(cell_len(row[title]) for row in rows) for title in rows[0]}
    widths = {title: max(width, cell_len(title)) for title, width in widths.items() if width}
    below = without_room({**widths, NAME: min(widths[NAME], NAME_ROOM)}, console.width)
    beside = [title for title in widths if title not in below]
    table = Table(box=None, pad_edge=False, header_style=quiet)
    for title in beside:
        table.add_column(title, overflow='fold', no_wrap=title != NAME)
    for row in rows:
        cells = {title: Text(row[title]) for title in beside}  # a `Text`, as rich reads markup in other texts
        for title in below:
            if row[title]:
                cells[NAME].append(f'\n{title}: {row[title]}', quiet)
        table.add_row(*cells.values())
    _print(table, console)


def print_facts(facts: Mapping[str, str], is_coloured: bool) -> None:
    """Prints what is known of one thing, a line for each fact; those of which nothing is known are left out."""
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(no_wrap=True, style='dim' if is_coloured else '')
    table.add_column(overflow='fold')
    for title, text in facts.items():
        if text:
            table.add_row(Text(title), Text(text))
    _print(table, Console())


def without_room(widths: Mapping[str, int], room: int) -> list[str]:
    """The titles, in their order, of those columns that give way until the others fit into `room`.

    First go those that not all entries have, the widest before the others, as it may be enough that it goes; then how
    far an entry is from now, which can be reckoned, and then when it is.
    """
    details = sorted(widths.keys() - {NAME, ID, TIME, FROM_NOW}, key=lambda title: -widths[title])
    gone: set[str] = set()
    for title in (*details, FROM_NOW, TIME):
        if sum(width + GAP for other, width in widths.items() if other not in gone) - GAP <= room:
            break
        gone.add(title)
    return [title for title in widths if title in gone]


def _print(table: Table, console: Console) -> None:
    """Prints a table, but not the blanks with which its lines are filled up."""
    with console.capture() as capture:
        console.print(table)
    print('\n'.join(line.rstrip() for line in capture.get().splitlines()))

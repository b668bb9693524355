"""Tables on a terminal and in a pipe: whatever the width, no word of them is cut off."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from lvqa_ray.cli.display.terminal import plain

UNBOUNDED = 1_000_000
NARROW = 14
"""Least width at which a column of sentences can be read."""


def table(title: str, *headers: str, whole: Collection[str] = ()) -> Table:
    """A table whose columns break long words instead of cutting them off.

    Args:
        title: Stands above it.
        headers: One for each column.
        whole: Columns that are not broken into lines.
    """
    made = Table(title=title)
    for header in headers:
        made.add_column(header, overflow="fold", no_wrap=header in whole)
    return made


def pairs(title: str) -> Table:
    """A table of names and values, without a head."""
    made = Table(title=plain(title), show_header=False)
    made.add_column(overflow="fold")
    made.add_column(overflow="fold")
    return made


def show(console: Console, made: Table) -> None:
    """Print a table; as wide as it needs to be where there is no terminal, so that a row is a line for `grep`."""
    if console.is_terminal:
        console.print(made)
        return
    given = console.width
    console.width = max(given, Measurement.get(console, console.options.update(max_width=UNBOUNDED), made).maximum)
    try:
        console.print(made)
    finally:
        console.width = given


def show_rows(
    console: Console, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Collection[str]
) -> None:
    """Print rows as a table, or where the terminal is too narrow for one, as a paragraph each.

    Args:
        console: Where to.
        title: Stands above them.
        headers: One for each column.
        rows: Their cells, without markup.
        whole: Columns that are never broken into lines.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    longest = {name: max(len(name), *(len(row[at]) for row in rows)) for at, name in enumerate(headers)}
    needed = sum(longest[name] if name in whole else min(longest[name], NARROW) for name in headers)
    if console.is_terminal and console.width < needed + 3 * len(headers) + 1:
        for row in cells:
            for name, cell in zip(headers, row, strict=True):
                console.print(f"[bold]{name}:[/] {cell}", soft_wrap=True)
            console.print()
        return
    made = table(title, *headers, whole=whole)
    for row in cells:
        made.add_row(*row)
    show(console, made)

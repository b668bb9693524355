"""Tables for terminals and pipes that never truncate a word, whatever the width."""

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
    """Make a table whose columns wrap long words instead of truncating them.

    Args:
        title: Title above the table.
        headers: One for each column.
        whole: Columns that are not wrapped.
    """
    made = Table(title=title)
    for header in headers:
        made.add_column(header, overflow="fold", no_wrap=header in whole)
    return made


def pairs(title: str) -> Table:
    """Make a table of names and values, without a header row."""
    made = Table(title=plain(title), show_header=False)
    made.add_column(overflow="fold")
    made.add_column(overflow="fold")
    return made


def show(console: Console, made: Table) -> None:
    """Print a table. Without a terminal it is as wide as needed, so that `grep` finds a row on one line."""
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
    """Print rows as a table, or as one paragraph each if the terminal is too narrow.

    Args:
        console: Console to print to.
        title: Title above the table.
        headers: One for each column.
        rows: Cells, without markup.
        whole: Columns that are never wrapped.
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

"""Reproductions of public bug reports: small inputs, the correct result, and what the current code does.

Each module of this package registers functions with `case`. A function yields rows of (name, expected, seen). `make
cases` prints all rows as a table; `test_cases.py` fails for each row in which the two differ. `data/` holds the files.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"
Row = tuple[str, object, object]
"""Name of the input, the expected result, and the result seen."""


@dataclass(frozen=True, slots=True)
class Case:
    """One class of fault.

    Attributes:
        number: Two digits, as in the folders of `data`, and a letter if a folder has several classes.
        title: Short description.
        run: Runs every input; takes an empty folder to write to.
    """

    number: str
    title: str
    run: Callable[[Path], Iterable[Row]]


_CASES: list[Case] = []
Try = Callable[[Path], Iterable[Row]]


def case(number: str, title: str) -> Callable[[Try], Try]:
    """Register a function as the case with this number."""

    def register(run: Try) -> Try:
        _CASES.append(Case(number, title, run))
        return run

    return register


def folder(number: str) -> Path:
    """Find the folder of `data` whose name starts with a number.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    for found in DATA.glob(f"{number}-*"):
        return found
    raise FileNotFoundError(f"tests/cases/data holds no folder {number}-*.")


def all_cases() -> Iterator[Case]:
    """All registered cases, by number."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith(("test_", "__")):
            importlib.import_module(f"{__name__}.{module.name}")
    yield from sorted(_CASES, key=lambda known: known.number)

"""Cheaper start of a process: fewer garbage collections during imports, and Arrow without pandas."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

YOUNG_OBJECTS = 50_000
"""New objects after which the garbage collector looks at them. Imports make about 150,000 that stay; with the
interpreter's 700 or 2,000, the collector looks at all of them several times, which is a tenth of the imports' time."""
_PANDAS = "pandas"


def collect_rarely() -> None:
    """Set the garbage collector's threshold for a program that imports much."""
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def arrow_without_pandas() -> None:
    """Have Arrow make arrays without pandas, which it otherwise imports with the first array: 0.3 CPU seconds.

    Once a module imports pandas, Arrow looks for it again, so that arrays from its series and frames are as ever (NaN
    is null). Only `pandas.NaT` and `pandas.NA` among other Python objects are no nulls to Arrow: call this only in a
    process without code of users. Does nothing if pandas is loaded, or if this Arrow cannot look again.
    """
    if _PANDAS in sys.modules or any(isinstance(finder, _Hidden) for finder in sys.meta_path):
        return
    arrow = importlib.import_module("pyarrow")
    found = getattr(arrow.lib, "_pandas_api", None)  # what Arrow knows of pandas
    if found is None:
        return
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        arrow.array([0])
    finally:
        hidden.found = found


class _Hidden:
    """Import finder that finds no pandas until Arrow has looked for it, and then tells Arrow of its import.

    Attributes:
        found: Arrow's own record of whether there is a pandas; ``None`` while Arrow looks for it.
    """

    found: Any = None

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse pandas while it is hidden, and leave other modules to the next finder."""
        if name != _PANDAS:
            return
        if self.found is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        self.found.__init__()  # the state before Arrow looked for pandas; it has no other way to set it

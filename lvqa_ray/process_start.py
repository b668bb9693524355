"""Cheaper start of a process: fewer garbage collections during imports, and Arrow without pandas."""

from __future__ import annotations

import gc
import importlib
import sys

YOUNG_OBJECTS = 50_000
"""New objects after which the garbage collector looks at them. Imports make about 150,000 that stay; with the
interpreter's 700 or 2,000, the collector looks at all of them several times, which is a tenth of the imports' time."""
_PANDAS = "pandas"


def collect_rarely() -> None:
    """Set the garbage collector's threshold for a program that imports much."""
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def arrow_without_pandas() -> None:
    """Have Arrow make arrays without pandas, which it otherwise imports with the first array: 0.3 CPU seconds.

    Conversions to and from pandas still import it. Does nothing if pandas is loaded, or Arrow has looked for it.
    """
    if _PANDAS in sys.modules:
        return
    arrow = importlib.import_module("pyarrow")
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        arrow.array([0])
    finally:
        sys.meta_path.remove(hidden)


class _Hidden:
    """Import finder that finds no pandas."""

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse pandas, and leave other modules to the next finder."""
        if name == _PANDAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

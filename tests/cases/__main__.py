"""Command `make cases`: prints the table of all cases, and exits with 1 if one of them fails."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.cases import all_cases


def main(wanted: list[str]) -> int:
    """Run the cases whose numbers start with one of these; all cases if none is given."""
    table = Table("case", "input", "expected", "seen", "", title="Cases from public bug reports", show_lines=False)
    wrong = right = 0
    for case in all_cases():
        if wanted and not case.number.startswith(tuple(wanted)):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lvqa-case-") as folder:
            for name, expected, seen in case.run(Path(folder)):
                good = expected == seen
                right, wrong = right + good, wrong + (not good)
                label = f"{case.number} {case.title}"
                table.add_row(*map(Text, (label, name, str(expected), str(seen), "right" if good else "WRONG")))
        print(f"{case.number} {case.title}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)  # noqa: T201
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    print(f"{right} right, {wrong} wrong")  # noqa: T201
    return 1 if wrong or not right else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

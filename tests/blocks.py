"""The commands that a page of the documentation shows, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
_FENCE = re.compile(r"```(\w*)")
_COMMAND = re.compile(r"(?:lvqa|make|python|ray|curl|pip|kubectl|uv) ")
_COMMENT = re.compile(r"\s+#\s+(.*)")
_NEEDS = re.compile(r"\bneeds (?:a key|a cluster|the network|the service)\b|\bCI runs it\b")


@dataclass(frozen=True)
class Command:
    """A command as it is shown.

    Attributes:
        text: On one line, without its comment; what is optional is left out.
        needs: What its comment says that it needs and the tests have not got; empty for nothing.
    """

    text: str
    needs: str


def commands(page: Path) -> Iterator[Command]:
    """The commands in the shell's blocks of a page: fenced ones, and those that are set in."""
    fence, begun = None, ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if mark := _FENCE.match(line.strip()):
            fence = None if fence is not None else mark[1]
            continue
        code = fence in {"sh", "console"} or (fence is None and line.startswith("    "))
        if not code or not (begun or _COMMAND.match(line.strip())):
            continue
        comment = _COMMENT.search(line)
        begun += f" {_COMMENT.sub('', line).strip()}"
        if begun.endswith("\\"):
            begun = begun[:-1].rstrip()
            continue
        needs = _NEEDS.search(comment[1]) if comment else None
        yield Command(re.sub(r" \[[\w/]+\]", "", begun).strip(), needs[0] if needs else "")
        begun = ""

"""What the commands say, and how: talk goes to stderr."""

from __future__ import annotations

import sys
import time
from typing import NoReturn

from rich.console import Console

talk = Console(stderr=True, highlight=False)
data = Console(highlight=False)


def fail(sentence: str) -> NoReturn:
    """Say a mistake of the user in one sentence, and end with status 2."""
    talk.print(f"[bold red]error:[/] {plain(sentence)}", soft_wrap=True)
    sys.exit(2)


def plain(text: str) -> str:
    """A text in which nothing is markup."""
    return text.replace("[", "\\[")


class Quiet:
    """Stands in for the status line where there is no terminal: a line every 30 s."""

    def __init__(self) -> None:
        self._next = 0.0

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, line: str) -> None:
        """Print the line if the last one is long enough ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 30
            talk.print(line, soft_wrap=True)

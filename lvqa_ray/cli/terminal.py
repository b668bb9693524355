"""What the commands say, and how: talk goes to stderr."""

from __future__ import annotations

import sys
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

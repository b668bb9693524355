"""What the commands say, and how: talk goes to stderr."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

from rich.console import Console

talk = Console(stderr=True, highlight=False)
data = Console(highlight=False)


def fail(sentence: str) -> NoReturn:
    """Say a mistake of the user in one sentence, and end with status 2."""
    talk.print(f"[bold red]error:[/] {plain(sentence)}", soft_wrap=True)
    sys.exit(2)


class Warnings(logging.Handler):
    """Prints warnings of the package for the user, each in one sentence."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        talk.print(f"[yellow]warning:[/] {plain(record.getMessage())}", soft_wrap=True)


def show_warnings() -> None:
    """Print what is found before a run and does not stop it."""
    logger = logging.getLogger("lvqa_ray.engine.preflight")
    if not any(isinstance(handler, Warnings) for handler in logger.handlers):
        logger.addHandler(Warnings(logging.WARNING))


def say_stopped(why: object) -> None:
    """Say why a run stopped after its first paid call, and how it goes on."""
    talk.print(f"[bold red]stopped:[/] {plain(str(why))}", soft_wrap=True)
    talk.print("Mend that, then run the same command: it goes on where this run stopped, and pays nothing twice.")


def plain(text: str) -> str:
    """A text in which nothing is markup."""
    return text.replace("[", "\\[")

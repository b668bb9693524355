"""What the commands print, and how: data to stdout, messages to stderr, both without escape sequences of others."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import IO, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from lvqa_ray.cli.display.visible import VisibleFormatter, json_text, visible

BROKEN_PIPE_STATUS = 1
"""Whoever read the output has had enough, as with `| head`; the same as typer gives where it notices first."""


class _Visible(Console):
    """A console that shows the escape sequences of file names and replies as text."""

    def __init__(self, *, stderr: bool = False) -> None:
        # Emoji codes are part of file names such as ":cat:.mp4".
        super().__init__(stderr=stderr, highlight=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as rich takes them
        """Make a text of a string; every string that is printed or stands in a table passes here."""
        return super().render_str(visible(text), **options)


class _Talk(_Visible):
    """The console for messages, which outlives its terminal."""

    @property
    def file(self) -> IO[str]:
        """The standard error output; if the terminal behind it is closed, what is written to it is dropped."""
        current: IO[str] | None = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        if current is None:  # it was closed before this process started
            return io.StringIO()
        return _own_stderr() if current is sys.__stderr__ else current

    @file.setter
    def file(self, new: IO[str]) -> None:
        """Never set."""
        raise NotImplementedError


class _Steady(io.TextIOWrapper):
    """A text file that drops what cannot be written, such as to a terminal that was closed."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


@cache
def _own_stderr() -> IO[str]:
    """The standard error output under a descriptor of its own: the engine sends the old one elsewhere for a moment."""
    given = sys.__stderr__
    assert given is not None  # noqa: S101 - for the type checker: see above
    try:
        raw = os.fdopen(os.dup(given.fileno()), "wb")
    except (OSError, ValueError):
        return given
    return _Steady(raw, encoding=given.encoding, errors="backslashreplace")


class ConsoleHandler(logging.Handler):
    """Prints log records by way of a console, which takes a panel away first.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        try:
            self._console.out(self.format(record), highlight=False)
        except Exception:
            self.handleError(record)


talk = _Talk(stderr=True)
data = _Visible()


def say(text: str) -> None:
    """Print a line of data to stdout."""
    typer.echo(visible(text))


def say_json(value: Any, *, indent: int | None = 2) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print a value to stdout as JSON, on one line without an indent."""
    typer.echo(json_text(value, indent=indent))


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
    logger = logging.getLogger("lvqa_ray.engine.preflight.validation")
    if not any(isinstance(handler, Warnings) for handler in logger.handlers):
        logger.addHandler(Warnings(logging.WARNING))
        logger.propagate = False  # or the handler of the root would print them again


def say_stopped(why: object) -> None:
    """Say why a run stopped after its first paid call, and how it goes on."""
    talk.print(f"[bold red]stopped:[/] {plain(str(why))}", soft_wrap=True)
    talk.print("Mend that, then run the same command: it goes on where this run stopped, and pays nothing twice.")


def plain(text: str, *, one_line: bool = False) -> str:
    """A text in which nothing is markup, nor a control character; arguments as for `visible`."""
    return escape(visible(text, one_line=one_line))


def set_up_output() -> None:
    """Make sure that anything can be printed, and that what Python itself prints is visible text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not logging.root.handlers:
        handler = ConsoleHandler(talk)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(VisibleFormatter("%(message)s"))
        logging.root.addHandler(handler)
    sys.excepthook = _show_error
    if threading.current_thread() is threading.main_thread():
        # With `stty tostop` the kernel would stop a job of the background at the first word that it says.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import traceback  # noqa: PLC0415 - needed only here

    talk.out(visible("".join(traceback.format_exception(kind, error, trace))), highlight=False)


def open_standard_files() -> None:
    """Open /dev/null for each standard file that is closed: the next file that is opened would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python has no object for a file that was closed, and libraries rely on one.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")


def stop_at_broken_pipe() -> int:
    """Give up stdout, whose reader is gone; gives the exit status."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    return BROKEN_PIPE_STATUS

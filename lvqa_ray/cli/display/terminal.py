"""Terminal output: data to stdout, messages to stderr, both with untrusted escape sequences made visible."""

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
"""Exit status after a broken pipe, as with `| head`; the same as typer's."""


class _Visible(Console):
    """A console that shows the escape sequences of file names and replies as text."""

    def __init__(self, *, stderr: bool = False) -> None:
        # Emoji codes are part of file names such as ":cat:.mp4".
        super().__init__(stderr=stderr, highlight=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as rich takes them
        """Render a string; rich calls this for every string that it prints, also in tables."""
        return super().render_str(visible(text), **options)


class _MessageConsole(_Visible):
    """Console for messages on stderr; keeps working after its terminal is closed."""

    @property
    def file(self) -> IO[str]:
        """Standard error; writes are dropped if its terminal is closed."""
        current: IO[str] | None = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        if current is None:  # it was closed before this process started
            return io.StringIO()
        return _own_stderr() if current is sys.__stderr__ else current

    @file.setter
    def file(self, new: IO[str]) -> None:
        """Not supported."""
        raise NotImplementedError


class _IgnoresWriteErrors(io.TextIOWrapper):
    """Text file that ignores write errors, as from a closed terminal."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


@cache
def _own_stderr() -> IO[str]:
    """Standard error under a duplicate descriptor: the engine redirects the original for a moment."""
    given = sys.__stderr__
    assert given is not None  # noqa: S101 - for the type checker: see above
    try:
        raw = os.fdopen(os.dup(given.fileno()), "wb")
    except (OSError, ValueError):
        return given
    return _IgnoresWriteErrors(raw, encoding=given.encoding, errors="backslashreplace")


class ConsoleHandler(logging.Handler):
    """Log handler that prints to a console, so that a live panel is erased first.

    Args:
        console: Console to print to.
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


talk = _MessageConsole(stderr=True)
data = _Visible()


def say(text: str) -> None:
    """Print a line of data to stdout."""
    typer.echo(visible(text))


def say_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value to stdout as JSON; on one line if the indent is ``None``."""
    typer.echo(json_text(value, indent=indent))


def fail(sentence: str) -> NoReturn:
    """Print a user error in one sentence, and exit with status 2."""
    talk.print(f"[bold red]error:[/] {plain(sentence)}", soft_wrap=True)
    sys.exit(2)


class Warnings(logging.Handler):
    """Log handler that prints warnings for the user, each in one sentence."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning."""
        talk.print(f"[yellow]warning:[/] {plain(record.getMessage())}", soft_wrap=True)


def show_warnings() -> None:
    """Print the warnings of the validation before a run."""
    logger = logging.getLogger("lvqa_ray.engine.preflight.validation")
    if not any(isinstance(handler, Warnings) for handler in logger.handlers):
        logger.addHandler(Warnings(logging.WARNING))
        logger.propagate = False  # the root handler would print them again


def say_stopped(why: object) -> None:
    """Print why a run stopped after its first paid call, and how to resume it."""
    talk.print(f"[bold red]stopped:[/] {plain(str(why))}", soft_wrap=True)
    talk.print("Fix the cause, then run the same command: it resumes here and pays nothing twice.")


def plain(text: str, *, one_line: bool = False) -> str:
    """Escape markup and control characters; arguments as for `visible`."""
    return escape(visible(text, one_line=one_line))


def set_up_output() -> None:
    """Make every string printable, also in tracebacks and log records that Python itself prints."""
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
        # With `stty tostop` the kernel would stop a background job at its first write.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import traceback  # noqa: PLC0415 - needed only here

    talk.out(visible("".join(traceback.format_exception(kind, error, trace))), highlight=False)


def open_standard_files() -> None:
    """Open /dev/null for each closed standard file; otherwise the next opened file would get its descriptor."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python has no object for a closed standard file, but libraries need one.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")


def stop_at_broken_pipe() -> int:
    """Redirect stdout to /dev/null after a broken pipe; returns the exit status."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    return BROKEN_PIPE_STATUS

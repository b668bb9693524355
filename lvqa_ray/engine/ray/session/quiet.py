"""Drops log lines of Ray's C++ core from the terminal while Ray starts.

The core writes to stderr before it has a log file. No option disables the message that it has read
RAY_BACKEND_LOG_LEVEL.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CORE_LINE = re.compile(rb"^\[[-\d]+ [\d:,]+ [IWD] \d+ \d+\] .*\n?", re.MULTILINE)
"""A log line of the core below error level, such as ``[2026-11-28 20:09:54,093 I 25244 25244] logging.cc:303: ...``."""


@contextmanager
def core_lines_dropped() -> Iterator[None]:
    """Buffer stderr inside the block, and print it afterwards without log lines of the core.

    Code that must print meanwhile writes to a duplicate of the descriptor.
    """
    try:
        given = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    with tempfile.TemporaryFile() as kept:
        _flush()
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(given, 2)
            os.close(given)
            kept.seek(0)
            rest = CORE_LINE.sub(b"", kept.read())
            with suppress(OSError):
                os.write(2, rest)


def _flush() -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()

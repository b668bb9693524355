"""Log lines of Ray's C++ core on the terminal: dropped while it starts.

The core writes to the standard error output itself, before it has a log file. With RAY_BACKEND_LOG_LEVEL it also says
there that it has read that variable, and has no option to leave that out.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CORE_LINE = re.compile(rb"^\[[-\d]+ [\d:,]+ [IWD] \d+ \d+\] .*\n?", re.MULTILINE)
"""A line of the core that is no error, such as ``[2026-11-28 20:09:54,093 I 25244 25244] logging.cc:303: ...``."""


@contextmanager
def core_lines_dropped() -> Iterator[None]:
    """Keep what is written to the standard error output inside the block, and print it afterwards without the core's.

    Who has to be heard meanwhile writes to a duplicate of the descriptor.
    """
    try:
        given = os.dup(2)
    except OSError:  # it is closed
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

"""One run at a time in an output folder: two would pay for the same answers."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvqa_ray.errors import ConfigError


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold an output folder for as long as the block runs; the operating system lets go when the process dies.

    Raises:
        ConfigError: Another run holds it; says which.
    """
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ConfigError(f"{folder} is in use by {holder}; wait for that run, or stop it.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield

"""Error handling after the first paid call: the run stops with exit status 1 and keeps the paid replies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvqa_ray.errors import ConfigError, RunStopped
from lvqa_ray.storage.paths import StoragePath, describe_os_error
from lvqa_ray.storage.run_lock import RunLock


@contextmanager
def paying(folder: StoragePath, hold: RunLock, halted: str = "") -> Iterator[None]:
    """Turn errors of the output into `RunStopped` inside the block.

    Args:
        folder: The output folder.
        hold: The lock on it; if it was lost, that is the reason of any error.
        halted: Why the run was halted already, which is then the reason.

    Raises:
        RunStopped: The output could not be read or written.
    """
    try:
        yield
    except (ConfigError, OSError) as error:
        why = hold.lost or halted or (describe_os_error(error) if isinstance(error, OSError) else str(error))
        raise RunStopped(why if str(folder) in why else f"{folder}: {why}") from error

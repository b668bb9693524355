"""What an error means once a run has paid: the run stops with what is paid for kept, and exit status 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvqa_ray.errors import ConfigError, RunStopped
from lvqa_ray.storage.paths import StoragePath, describe_os_error
from lvqa_ray.storage.run_lock import RunLock


@contextmanager
def paying(folder: StoragePath, hold: RunLock, halted: str = "") -> Iterator[None]:
    """Turn errors of the output into `RunStopped` for as long as the block runs.

    Args:
        folder: The output.
        hold: The hold on it; that it was lost explains any error.
        halted: Why the run was halted already, which goes before an error that follows from it.

    Raises:
        RunStopped: The output could not be read or written.
    """
    try:
        yield
    except (ConfigError, OSError) as error:
        why = hold.lost or halted or (describe_os_error(error) if isinstance(error, OSError) else str(error))
        raise RunStopped(why if str(folder) in why else f"{folder}: {why}") from error

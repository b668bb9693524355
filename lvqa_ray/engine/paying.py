"""What an error means once a run has paid: the run stops with what is paid for kept, and exit status 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvqa_ray.errors import ConfigError, RunStopped
from lvqa_ray.storage.paths import Place, said
from lvqa_ray.storage.run_lock import Hold


@contextmanager
def paying(folder: Place, hold: Hold, halted: str = "") -> Iterator[None]:
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
        why = hold.lost or halted or (said(error) if isinstance(error, OSError) else str(error))
        raise RunStopped(why if str(folder) in why else f"{folder}: {why}") from error

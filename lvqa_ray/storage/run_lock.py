"""Run lock: one run at a time in an output folder, since two would pay for the same replies."""

from __future__ import annotations

import errno
import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

from lvqa_ray.errors import ConfigError
from lvqa_ray.storage.lease import (
    RELEASED,
    HeldLease,
    Lease,
    LeaseStore,
    LeaseTakenError,
    LocalLeaseStore,
    ObjectLeaseStore,
    this_kernel,
)
from lvqa_ray.storage.paths import ObjectPath, StoragePath

LOCK_HEARTBEAT_S = 10.0
EXPIRES_S = 90.0
"""A holder on another machine without a heartbeat for this time is considered dead."""


class RunLock:
    """Lock on a folder, renewed by a heartbeat thread.

    Attributes:
        lost: Why the lock was lost, in one sentence; empty while it is held.
    """

    def __init__(self, leases: LeaseStore, held: HeldLease, beat_s: float) -> None:
        self.lost = ""
        self._when_lost: Callable[[str], object] = len  # a no-op
        self._leases = leases
        self._held = held
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(beat_s,), daemon=True)
        self._thread.start()

    def when_lost(self, call: Callable[[str], object]) -> None:
        """Register a callback for the loss of the lock: called in another thread, or at once if already lost."""
        self._when_lost = call
        if self.lost:
            call(self.lost)

    def _beat(self, beat_s: float) -> None:
        while not self._over.wait(beat_s):
            with suppress(OSError):  # the next heartbeat may succeed
                try:
                    self._leases.renew(self._held)
                except LeaseTakenError:
                    self.lost = "another run took the output folder over, because this one gave no sign of life."
                    self._when_lost(self.lost)
                    return

    def release(self) -> None:
        """Release the lock."""
        self._over.set()
        self._thread.join()
        if not self.lost:
            try:
                self._leases.release(self._held)
            except OSError:
                RELEASED.add(self._held.lease.token)


@contextmanager
def run_lock(
    folder: StoragePath,
    leases: LeaseStore | None = None,
    *,
    beat_s: float = LOCK_HEARTBEAT_S,
    expires_s: float = EXPIRES_S,
) -> Iterator[RunLock]:
    """Lock an output folder while the block runs.

    On one machine a file lock ends with its process. A holder on another machine is known by its lease, which expires
    without a heartbeat.

    Args:
        folder: The folder.
        leases: Store of the lease; in the folder itself, if not given.
        beat_s: Seconds between heartbeats.
        expires_s: Seconds without a heartbeat after which a holder is considered dead.

    Raises:
        ConfigError: Another run holds the lock; the message names it.
    """
    with ExitStack() as stack:
        free_here = None
        if isinstance(folder, ObjectPath):
            leases = leases or ObjectLeaseStore(folder)
        else:
            leases = leases or LocalLeaseStore(folder)
            free_here = _lock_here(stack.enter_context((folder / ".lock").open("a", encoding="utf-8")))
        before = leases.latest()
        if free_here is False:
            raise _in_use(folder, before, "")
        ended = before and (before.lease.ended or (free_here and before.lease.kernel == this_kernel()))
        if before and before.age_s < expires_s and not ended:
            rest = f" If it is dead, its hold ends in {expires_s - before.age_s:.0f} s."
            raise _in_use(folder, before, rest)
        try:
            lock = RunLock(leases, leases.put(Lease.mine(), before), beat_s)
        except LeaseTakenError:
            raise _in_use(folder, leases.latest(), "") from None
        try:
            _abort_uploads(folder)
            yield lock
        finally:
            if not lock.lost:
                _abort_uploads(folder)  # of workers that died meanwhile
            lock.release()


def _abort_uploads(folder: StoragePath) -> None:
    if isinstance(folder, ObjectPath):
        with suppress(OSError):  # listing them may be forbidden, and they only cost space
            folder.abort_uploads()


def _lock_here(file: IO[str]) -> bool | None:
    """Take the file lock: false if another process of this machine holds it, ``None`` if locks are not supported."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            return None
        raise
    return True


def _in_use(folder: StoragePath, held: HeldLease | None, rest: str) -> ConfigError:
    lease = held.lease if held else Lease()
    age = f", last heard of {held.age_s:.0f} s ago" if held else ""
    return ConfigError(f"{folder} is in use by {lease.holder}{age}; wait for that run, or stop it.{rest}")

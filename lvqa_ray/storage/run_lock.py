"""One run at a time in an output folder: two would pay for the same answers."""

from __future__ import annotations

import errno
import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

from lvqa_ray.errors import ConfigError
from lvqa_ray.storage.lease import RELEASED, HeldLease, Lease, LeaseStore, LeaseTakenError, LocalLeaseStore, this_kernel
from lvqa_ray.storage.object_leases import ObjectLeaseStore
from lvqa_ray.storage.paths import ObjectPath, StoragePath

BEAT_S = 10.0
EXPIRES_S = 90.0
"""A holder on another machine that gave no sign of life for so long is taken for dead."""


class RunLock:
    """A hold on a folder, renewed from a thread.

    Attributes:
        lost: Why it is held no more, in one sentence; empty while it is.
    """

    def __init__(self, leases: LeaseStore, held: HeldLease, beat_s: float) -> None:
        self.lost = ""
        self._when_lost: Callable[[str], object] = len  # which does nothing
        self._leases = leases
        self._held = held
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(beat_s,), daemon=True)
        self._thread.start()

    def when_lost(self, call: Callable[[str], object]) -> None:
        """Have something called with the reason when it is lost: in another thread, or at once if it is already."""
        self._when_lost = call
        if self.lost:
            call(self.lost)

    def _beat(self, beat_s: float) -> None:
        while not self._over.wait(beat_s):
            with suppress(OSError):  # the next beat may do
                try:
                    self._leases.renew(self._held)
                except LeaseTakenError:
                    self.lost = "another run took the output folder over, because this one gave no sign of life."
                    self._when_lost(self.lost)
                    return

    def release(self) -> None:
        """Let go."""
        self._over.set()
        self._thread.join()
        if not self.lost:
            try:
                self._leases.release(self._held)
            except OSError:
                RELEASED.add(self._held.lease.token)


@contextmanager
def run_lock(
    folder: StoragePath, leases: LeaseStore | None = None, *, beat_s: float = BEAT_S, expires_s: float = EXPIRES_S
) -> Iterator[RunLock]:
    """Hold an output folder for as long as the block runs.

    On one machine the operating system lets go when the process dies. What is seen of another machine is its lease,
    which ends when it is renewed no more.

    Args:
        folder: The folder.
        leases: Where the lease is kept; in the folder itself, if not given.
        beat_s: Seconds between two signs of life.
        expires_s: Seconds without one after which a holder is taken for dead.

    Raises:
        ConfigError: Another run holds it; says which.
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
            hold = RunLock(leases, leases.put(Lease.mine(), before), beat_s)
        except LeaseTakenError:
            raise _in_use(folder, leases.latest(), "") from None
        try:
            _give_up_uploads(folder)
            yield hold
        finally:
            if not hold.lost:
                _give_up_uploads(folder)  # of workers that died meanwhile
            hold.release()


def _give_up_uploads(folder: StoragePath) -> None:
    if isinstance(folder, ObjectPath):
        with suppress(OSError):  # not everybody may list them, and all that they cost is room
            folder.abort_uploads()


def _lock_here(file: IO[str]) -> bool | None:
    """Whether no other process of this machine holds it; ``None`` where the file system knows no locks."""
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
    who = held.lease if held else Lease()
    heard = f", last heard of {held.age_s:.0f} s ago" if held else ""
    return ConfigError(f"{folder} is in use by {who.holder}{heard}; wait for that run, or stop it.{rest}")

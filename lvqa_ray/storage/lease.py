"""A hold on an output folder that ends by itself when its holder is heard of no more.

`LeaseStore` asks of a store what S3 has too: a conditional write, a version, and a clock of its own.
"""

from __future__ import annotations

import json
import os
import re
import socket
import uuid
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from lvqa_ray.storage.paths import StoragePath


class LeaseTakenError(Exception):
    """Somebody else holds it."""


RELEASED: set[str] = set()
"""Tokens of leases that this process let go of, but could not remove, as in a bucket that was lost."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds something.

    Attributes:
        host: Name of the machine.
        pid: Number of the process there.
        since: When it began, in UTC.
        kernel: Names the running kernel, within which a lock of the operating system tells whether the holder lives.
        token: Names this very hold.
        pids: Names the numbering of processes within which ``pid`` is that process.
    """

    host: str = ""
    pid: int = 0
    since: str = ""
    kernel: str = ""
    token: str = ""
    pids: str = ""

    @classmethod
    def mine(cls) -> Self:
        """One for this process."""
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return cls(socket.gethostname(), os.getpid(), now, this_kernel(), uuid.uuid4().hex, _these_pids())

    @property
    def ended(self) -> bool:
        """Whether this process let go of it, or the holder was a process that would be seen from here, and is not."""
        if self.token in RELEASED:
            return True
        if not self.pids or (self.kernel, self.pids) != (this_kernel(), _these_pids()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False

    @property
    def holder(self) -> str:
        """Who it is, in words."""
        return f"process {self.pid} on {self.host} since {self.since}" if self.token else "another process"


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as a store has it.

    Attributes:
        version: Changes when somebody else takes it.
        age_s: Seconds since the last sign of life, by the store's own clock.
    """

    lease: Lease
    version: str
    age_s: float


class LeaseStore(Protocol):
    """Where the lease on one folder is kept; each call may raise `OSError`."""

    def latest(self) -> HeldLease | None:
        """The lease that was put last, expired or not; ``None`` where the folder is free."""
        ...

    def put(self, lease: Lease, after: HeldLease | None) -> HeldLease:
        """Take the place of what `latest` gave.

        Raises:
            Taken: It is not the latest any more.
        """
        ...

    def renew(self, held: HeldLease) -> None:
        """Give a sign of life.

        Raises:
            Taken: Somebody else has it.
        """
        ...

    def release(self, held: HeldLease) -> None:
        """Let go."""
        ...


def take_over(numbers: Set[int], number: int, path_of: Callable[[int], StoragePath]) -> None:
    """Remove the leases before one that was just put down.

    Args:
        numbers: Of all leases there are.
        number: Of the new one.
        path_of: Where each is.

    Raises:
        Taken: A later one is there: this process slept while others came and went. Its own is removed.
    """
    if max(numbers) > number:
        path_of(number).unlink(missing_ok=True)
        raise LeaseTakenError
    for old in numbers - {number}:
        path_of(old).unlink(missing_ok=True)


class LocalLeaseStore:
    """A lease in a folder that several machines may share.

    Each lease is a file of its own with a number one higher, made only if it is not there, which is atomic on NFS too.
    So of two that find the same lease expired, one wins. Its time of change is the sign of life, and is compared with
    that of a file made now: the clocks of the machines do not matter.

    Args:
        folder: The folder.
    """

    _NAME = re.compile(r"\.lease-(\d{8})")

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def latest(self) -> HeldLease | None:
        """See `LeaseStore`."""
        while numbers := self._numbers():
            path = self._path(max(numbers))
            try:
                changed, text = path.stat().st_mtime, path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue  # just released
            return HeldLease(lease_of(text), str(max(numbers)), self._now() - changed)
        return None

    def put(self, lease: Lease, after: HeldLease | None) -> HeldLease:
        """See `LeaseStore`."""
        number = int(after.version) + 1 if after else 1
        path = self._path(number)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(asdict(lease)))
        except FileExistsError:
            raise LeaseTakenError from None
        except OSError:  # an empty file on a full disk would hold the folder for nobody
            path.unlink(missing_ok=True)
            raise
        take_over(self._numbers(), number, self._path)
        return HeldLease(lease, str(number), 0.0)

    def renew(self, held: HeldLease) -> None:
        """See `LeaseStore`."""
        path = self._path(int(held.version))
        if max(self._numbers(), default=0) != int(held.version):
            raise LeaseTakenError
        try:
            os.utime(path)
        except FileNotFoundError:
            raise LeaseTakenError from None

    def release(self, held: HeldLease) -> None:
        """See `LeaseStore`."""
        self._path(int(held.version)).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f".lease-{number:08d}"

    def _numbers(self) -> set[int]:
        found = (self._NAME.fullmatch(name) for name in os.listdir(self._folder))  # noqa: PTH208 - only names
        return {int(match.group(1)) for match in found if match}

    def _now(self) -> float:
        """The time by the clock that the files have their times from."""
        probe = self._folder / f".clock-{uuid.uuid4().hex}"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


def this_kernel() -> str:
    """A name that no other running kernel has."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _these_pids() -> str:
    """Names the process numbers that are seen here: each container has its own. Empty where that is not known."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def lease_of(text: str) -> Lease:
    """What a file says; somebody unknown where it is being written."""
    try:
        said = json.loads(text)
        return Lease(**{field.name: said[field.name] for field in fields(Lease)})
    except (ValueError, TypeError, KeyError):
        return Lease()

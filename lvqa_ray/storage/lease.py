"""An expiring lock on an output folder, of a disk or of an object store, which its holder renews by a heartbeat.

`LeaseStore` asks of a store what S3 has too: a conditional write, a version, and a clock of its own.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from lvqa_ray.storage.paths import ObjectPath, StoragePath


class LeaseTakenError(Exception):
    """Somebody else holds it."""


SETTLES_S = 3.0
"""Longest time that a write is taken to need, where a store knows no conditional ones."""
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
    def text(self) -> str:
        """What its file says; see `lease_of`."""
        return json.dumps(asdict(self))

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


class LeaseStore(ABC):
    """Where the lease on one folder is kept; each call may raise `OSError`.

    Each lease is a file of its own with a number one higher, made only if it is not there. So of two that find the same
    lease expired, one wins. Its time of change is the sign of life, and is compared with that of a file made now: the
    clocks of the machines do not matter.

    Args:
        folder: The folder.
    """

    _NAME = re.compile(r"\.lease-(\d{8})")

    def __init__(self, folder: StoragePath) -> None:
        self._folder = folder

    def latest(self) -> HeldLease | None:
        """The lease that was put last, expired or not; ``None`` where the folder is free."""
        while numbers := self._numbers():
            path = self._path(max(numbers))
            try:
                changed, text = path.stat().st_mtime, path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue  # just released
            return HeldLease(lease_of(text), str(max(numbers)), self._now() - changed)
        return None

    def put(self, lease: Lease, after: HeldLease | None) -> HeldLease:
        """Take the place of what `latest` gave.

        Raises:
            Taken: It is not the latest any more.
        """
        number = int(after.version) + 1 if after else 1
        self._create(number, lease)
        numbers = self._numbers()
        if max(numbers) > number:  # this process slept while others came and went
            self._path(number).unlink(missing_ok=True)
            raise LeaseTakenError
        for old in numbers - {number}:
            self._path(old).unlink(missing_ok=True)
        return HeldLease(lease, str(number), 0.0)

    def renew(self, held: HeldLease) -> None:
        """Give a sign of life.

        Raises:
            Taken: Somebody else has it.
        """
        if max(self._numbers(), default=0) != int(held.version):
            raise LeaseTakenError
        self._touch(held)

    def release(self, held: HeldLease) -> None:
        """Let go."""
        self._path(int(held.version)).unlink(missing_ok=True)

    @abstractmethod
    def _create(self, number: int, lease: Lease) -> None:
        """Make the file of a number, or raise `LeaseTakenError` where it is there."""

    @abstractmethod
    def _touch(self, held: HeldLease) -> None:
        """Give the file of a lease the time of now."""

    @abstractmethod
    def _names(self) -> Iterable[str]:
        """The names of the files in the folder, or at least of its leases; raises where it cannot be listed."""

    def _numbers(self) -> set[int]:
        return {int(match.group(1)) for match in map(self._NAME.fullmatch, self._names()) if match}

    def _path(self, number: int) -> StoragePath:
        return self._folder / f".lease-{number:08d}"

    def _now(self) -> float:
        """The time by the clock that the files have their times from."""
        probe = self._folder / f".clock-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


class LocalLeaseStore(LeaseStore):
    """A lease in a folder that several machines may share: making a file that is not there is atomic on NFS too."""

    def _create(self, number: int, lease: Lease) -> None:
        path = Path(str(self._path(number)))
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(lease.text)
        except FileExistsError:
            raise LeaseTakenError from None
        except OSError:  # an empty file on a full disk would hold the folder for nobody
            path.unlink(missing_ok=True)
            raise

    def _touch(self, held: HeldLease) -> None:
        try:
            os.utime(str(self._path(int(held.version))))
        except FileNotFoundError:
            raise LeaseTakenError from None

    def _names(self) -> Iterable[str]:
        return os.listdir(str(self._folder))  # noqa: PTH208 - only names


class ObjectLeaseStore(LeaseStore):
    """A lease in an object store.

    A lease is made by a write on the condition that there is none of its number (If-None-Match): of two that want the
    same one, the store lets one have it. AWS and most others heed that. One that does not is found out by a second
    such write, and then who finds its own mark there after three seconds has it: two that begin within the same
    seconds and are held up for longer than that could then both go on.
    """

    def __init__(self, folder: ObjectPath) -> None:
        super().__init__(folder)
        self._output = folder

    def _create(self, number: int, lease: Lease) -> None:
        path = self._output / f".lease-{number:08d}"
        heeded = False
        for _ in range(2):
            try:
                path.create(lease.text.encode())
            except FileExistsError:
                heeded = True
                break
        if not heeded:
            time.sleep(SETTLES_S)
        if lease_of(path.read_text()).token != lease.token:
            raise LeaseTakenError

    def _touch(self, held: HeldLease) -> None:
        self._path(int(held.version)).write_bytes(held.lease.text.encode())

    def _names(self) -> Iterable[str]:
        return (path.name for path in self._output.glob(".lease-*"))


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

"""Expiring lock on an output folder on a disk or an object store, renewed by a heartbeat.

`LeaseStore` needs only what S3 offers too: a conditional write, a version, and the store's own clock.
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
    """Another process holds the lease."""


SETTLES_S = 3.0
"""Assumed maximum duration of a write (s), for stores without conditional writes."""
RELEASED: set[str] = set()
"""Tokens of leases that this process released but could not delete, for instance in a bucket that was deleted."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Holder of a lock.

    Attributes:
        host: Host name.
        pid: Process id on that host.
        since: Start of the lease, in UTC.
        kernel: Boot id of the kernel; on the same kernel, a file lock shows whether the holder is alive.
        token: Unique id of this lease.
        pids: PID namespace in which ``pid`` is valid.
    """

    host: str = ""
    pid: int = 0
    since: str = ""
    kernel: str = ""
    token: str = ""
    pids: str = ""

    @classmethod
    def mine(cls) -> Self:
        """A lease for this process."""
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return cls(socket.gethostname(), os.getpid(), now, this_kernel(), uuid.uuid4().hex, _these_pids())

    @property
    def ended(self) -> bool:
        """Whether this process released it, or the holder ran in this PID namespace and is dead."""
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
        """JSON content of its file; `lease_of` parses it."""
        return json.dumps(asdict(self))

    @property
    def holder(self) -> str:
        """The holder in words, for messages."""
        return f"process {self.pid} on {self.host} since {self.since}" if self.token else "another process"


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as stored.

    Attributes:
        version: Changes when another process takes it.
        age_s: Seconds since the last heartbeat, by the store's clock.
    """

    lease: Lease
    version: str
    age_s: float


class LeaseStore(ABC):
    """Stores the lease on one folder; each call may raise `OSError`.

    Each lease is a new file, numbered one higher and created only if absent: of two processes that find the same lease
    expired, one wins. The modification time of the file is the heartbeat, and is compared with that of a file created
    now, so the clocks of the machines do not matter.

    Args:
        folder: The folder.
    """

    _NAME = re.compile(r"\.lease-(\d{8})")

    def __init__(self, folder: StoragePath) -> None:
        self._folder = folder

    def latest(self) -> HeldLease | None:
        """The newest lease, expired or not; ``None`` if the folder is free."""
        while numbers := self._numbers():
            path = self._path(max(numbers))
            try:
                changed, text = path.stat().st_mtime, path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue  # just released
            return HeldLease(lease_of(text), str(max(numbers)), self._now() - changed)
        return None

    def put(self, lease: Lease, after: HeldLease | None) -> HeldLease:
        """Replace the lease that `latest` returned.

        Raises:
            LeaseTakenError: A newer lease exists.
        """
        number = int(after.version) + 1 if after else 1
        self._create(number, lease)
        numbers = self._numbers()
        if max(numbers) > number:  # this process was suspended while others took and released the lease
            self._path(number).unlink(missing_ok=True)
            raise LeaseTakenError
        for old in numbers - {number}:
            self._path(old).unlink(missing_ok=True)
        return HeldLease(lease, str(number), 0.0)

    def renew(self, held: HeldLease) -> None:
        """Send a heartbeat.

        Raises:
            LeaseTakenError: Another process has taken the lease.
        """
        if max(self._numbers(), default=0) != int(held.version):
            raise LeaseTakenError
        self._touch(held)

    def release(self, held: HeldLease) -> None:
        """Delete the lease."""
        self._path(int(held.version)).unlink(missing_ok=True)

    @abstractmethod
    def _create(self, number: int, lease: Lease) -> None:
        """Create the file of a number, or raise `LeaseTakenError` if it exists."""

    @abstractmethod
    def _touch(self, held: HeldLease) -> None:
        """Set the modification time of a lease file to now."""

    @abstractmethod
    def _names(self) -> Iterable[str]:
        """Names of the files in the folder, at least of its leases."""

    def _numbers(self) -> set[int]:
        return {int(match.group(1)) for match in map(self._NAME.fullmatch, self._names()) if match}

    def _path(self, number: int) -> StoragePath:
        return self._folder / f".lease-{number:08d}"

    def _now(self) -> float:
        """The current time by the clock that sets modification times."""
        probe = self._folder / f".clock-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


class LocalLeaseStore(LeaseStore):
    """Leases in a folder that machines may share: exclusive creation of a file is atomic on NFS too."""

    def _create(self, number: int, lease: Lease) -> None:
        path = Path(str(self._path(number)))
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(lease.text)
        except FileExistsError:
            raise LeaseTakenError from None
        except OSError:  # an empty file, left on a full disk, would lock the folder
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
    """Leases in an object store.

    A lease is created by a conditional write (If-None-Match), so of two processes that want the same number one wins.
    AWS and most other stores support that. A store that ignores the condition accepts a second such write; then the
    process that finds its own token after three seconds has the lease. There, two processes that start within the same
    seconds and are delayed for longer than that could both continue.
    """

    def __init__(self, folder: ObjectPath) -> None:
        super().__init__(folder)
        self._output = folder

    def _create(self, number: int, lease: Lease) -> None:
        path = self._output / f".lease-{number:08d}"
        conditional = False
        for _ in range(2):
            try:
                path.create(lease.text.encode())
            except FileExistsError:
                conditional = True
                break
        if not conditional:
            time.sleep(SETTLES_S)
        if lease_of(path.read_text()).token != lease.token:
            raise LeaseTakenError

    def _touch(self, held: HeldLease) -> None:
        self._path(int(held.version)).write_bytes(held.lease.text.encode())

    def _names(self) -> Iterable[str]:
        return (path.name for path in self._output.glob(".lease-*"))


def this_kernel() -> str:
    """Boot id of the running kernel, or a name of the host."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _these_pids() -> str:
    """The PID namespace of this process: each container has its own. Empty if unknown."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def lease_of(text: str) -> Lease:
    """Parse a lease file; an unknown holder if the file is incomplete."""
    try:
        data = json.loads(text)
        return Lease(**{field.name: data[field.name] for field in fields(Lease)})
    except (ValueError, TypeError, KeyError):
        return Lease()

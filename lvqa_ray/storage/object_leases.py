"""A lease on an output in an object store."""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import asdict

from lvqa_ray.storage.lease import HeldLease, Lease, LeaseTakenError, lease_of, take_over
from lvqa_ray.storage.paths import ObjectPath

SETTLES_S = 3.0
"""Longest time that a write is taken to need, where a store knows no conditional ones."""
_NAME = re.compile(r"\.lease-(\d{8})")


class ObjectLeaseStore:
    """A lease as `LocalLeaseStore` has it, of objects.

    A lease is made by a write on the condition that there is none of its number (If-None-Match): of two that want the
    same one, the store lets one have it. AWS and most others heed that. One that does not is found out by a second
    such write, and then who finds its own mark there after three seconds has it: two that begin within the same
    seconds and are held up for longer than that could then both go on.

    Args:
        folder: The output.
        settles_s: How long to wait before reading back, where that is needed (s).
    """

    def __init__(self, folder: ObjectPath, *, settles_s: float = SETTLES_S) -> None:
        self._folder = folder
        self._settles_s = settles_s

    def latest(self) -> HeldLease | None:
        """See `Leases`."""
        while numbers := self._numbers():
            path = self._path(max(numbers))
            try:
                changed, text = path.stat().st_mtime, path.read_text()
            except FileNotFoundError:
                continue  # just released
            return HeldLease(lease_of(text), str(max(numbers)), self._now() - changed)
        return None

    def put(self, lease: Lease, after: HeldLease | None) -> HeldLease:
        """See `Leases`."""
        number = int(after.version) + 1 if after else 1
        path, text = self._path(number), json.dumps(asdict(lease)).encode()
        heeded = False
        for _ in range(2):
            try:
                path.create(text)
            except FileExistsError:
                heeded = True
                break
        if not heeded:
            time.sleep(self._settles_s)
        if lease_of(path.read_text()).token != lease.token:
            raise LeaseTakenError
        take_over(self._numbers(), number, self._path)
        return HeldLease(lease, str(number), 0.0)

    def renew(self, held: HeldLease) -> None:
        """See `Leases`."""
        if max(self._numbers(), default=0) != int(held.version):
            raise LeaseTakenError
        self._path(int(held.version)).write_bytes(json.dumps(asdict(held.lease)).encode())

    def release(self, held: HeldLease) -> None:
        """See `Leases`."""
        self._path(int(held.version)).unlink(missing_ok=True)

    def _path(self, number: int) -> ObjectPath:
        return self._folder / f".lease-{number:08d}"

    def _numbers(self) -> set[int]:
        found = (_NAME.fullmatch(path.name) for path in self._folder.glob(".lease-*"))
        return {int(match.group(1)) for match in found if match}

    def _now(self) -> float:
        """The time by the store's clock."""
        probe = self._folder / f".clock-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

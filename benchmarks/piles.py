"""Memory growth during a run: bytes in the object stores, in processes and on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address

from benchmarks.watcher import Watcher
from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import below

Row = dict[str, Any]


class Piles(Watcher):
    """Samples memory and disk use five times per second.

    Attributes:
        peaks: Peak bytes in the object stores, spilled to disk, in all processes, and in the scratch folder.
        looks: Samples: time (s), replies so far, and these bytes.
    """

    def __init__(self, scratch: Path, fake: FakeEndpoint) -> None:
        self.peaks = {"store": 0, "spilled": 0, "memory": 0, "scratch": 0}
        self.looks: list[Row] = []
        self._scratch = scratch
        self._fake = fake
        super().__init__(every_s=0.2)

    def look(self) -> None:
        """See `Watcher`."""
        scratch = sum(path.stat().st_size for path in self._scratch.glob("*.mp4")) if self._scratch.exists() else 0
        now = {"memory": memory_bytes(), "scratch": scratch, **store_bytes()}
        self.peaks = {kind: max(most, now.get(kind, 0)) for kind, most in self.peaks.items()}
        self.looks.append({"at": time.monotonic(), "answers": self._fake.paid.total(), **now})


def store_bytes() -> Mapping[str, int]:
    """Bytes in the object stores of all nodes, and bytes spilled to disk."""
    with suppress(Exception):  # between two runs there is none to ask
        stats = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address)).store_stats
        return {"store": int(stats.object_store_bytes_used), "spilled": int(stats.spilled_bytes_total)}
    return {}


def memory_bytes() -> int:
    """Unshared resident bytes of this process and its descendants."""
    total = 0
    for pid in (os.getpid(), *below(os.getpid())):
        with suppress(OSError, ValueError):
            _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
            total += (resident - shared) * 4096
    return total


def plot(looks: Sequence[Row], path: Path, bytes_a_second: int) -> None:
    """Plot the bytes over time, with those that decoders without backpressure would have made."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only here, and slow to import

    first = next(look["at"] for look in looks if look["answers"])
    figure, axes = plt.subplots(figsize=(7, 4))
    seconds = [look["at"] - first for look in looks if look["at"] >= first and "store" in look]
    for name, label in (("store", "object store"), ("scratch", "scratch folder")):
        values = [look[name] / 2**20 for look in looks if look["at"] >= first and "store" in look]
        axes.plot(seconds, values, label=label)
    could = [at * bytes_a_second / 2**20 for at in seconds]
    axes.plot(seconds, could, linestyle="--", label="decoders that nothing holds back")
    axes.set(xlabel="seconds since the first answer", ylabel="MB", ylim=(0, 400))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)

"""Periodic sampling in a thread during a ``with`` block."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple


class Watcher(ABC):
    """Base class that samples in a thread from the start of a ``with`` block to its end.

    Args:
        every_s: Sampling interval (s).
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @abstractmethod
    def look(self) -> None:
        """Take one sample."""

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            self.look()


class Machine(NamedTuple):
    """CPU time of this machine since boot, over all cores and processes, in ticks.

    Attributes:
        used: Busy ticks.
        all: All ticks.
    """

    used: int
    all: int

    @classmethod
    def now(cls) -> Machine:
        """Read the counters from Linux."""
        user, nice, system, idle, waits, *others = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        used = user + nice + system + sum(others)
        return cls(used, used + idle + waits)

    def share_since(self, before: Machine) -> float:
        """Utilization since an earlier reading, 0 to 1."""
        return (self.used - before.used) / max(1, self.all - before.all)

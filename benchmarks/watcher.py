"""A look at something, again and again, while a block runs."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple


class Watcher(ABC):
    """Looks in a thread of its own from the beginning of a ``with`` block to its end.

    Args:
        every_s: Seconds between two looks.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @abstractmethod
    def look(self) -> None:
        """Look once."""

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            self.look()


class Machine(NamedTuple):
    """CPU of this machine since it was started, over all cores and for whomever, in ticks.

    Attributes:
        used: Those in which a core was busy.
        all: Those that there were.
    """

    used: int
    all: int

    @classmethod
    def now(cls) -> Machine:
        """What Linux says."""
        user, nice, system, idle, waits, *others = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        used = user + nice + system + sum(others)
        return cls(used, used + idle + waits)

    def share_since(self, before: Machine) -> float:
        """Of the ticks since then, how many were used, 0 to 1."""
        return (self.used - before.used) / max(1, self.all - before.all)

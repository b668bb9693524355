"""A look at something, again and again, while a block runs."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


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

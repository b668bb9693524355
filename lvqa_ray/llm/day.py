"""The requests of the last 24 hours, counted so that the count outlives the process."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class WholeFile(Protocol):
    """A file that is written as a whole or not at all."""

    def read_text(self, encoding: str) -> str:
        """The content.

        Raises:
            FileNotFoundError: It is not there.
        """
        ...

    def write_text(self, text: str, encoding: str) -> object:
        """Replace the content."""
        ...


DAY_S = 86_400.0
_BUCKET_S = 60.0


class Day:
    """Keeps the requests of any 24 hours under a limit, to the minute.

    The count is kept in a file. It is written ahead, in steps of a hundredth of the limit, so a process that dies
    leaves a count that is too high by at most that, and never too low. Two jobs with the same key and different
    outputs do not know of each other.

    Args:
        limit: Most requests in 24 hours; ``None`` for no limit, and then nothing is kept.
        path: Where to keep the count; ``None`` for in memory only.
        clock: Seconds since 1970.
    """

    def __init__(
        self, limit: int | None, path: Path | WholeFile | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._limit = limit
        self._path = path
        self._clock = clock
        self._step = max(1, (limit or 0) // 100)
        self._counts: dict[int, int] = {}  # minute since 1970 -> requests that are written down for it
        self._spare = 0  # of those, not yet used
        if limit is not None and path is not None:
            self._counts = _read(path)

    def take(self) -> float:
        """Count one request, and give 0; or the seconds until there is room for one."""
        if self._limit is None:
            return 0.0
        now = self._clock()
        minute = int(now // _BUCKET_S)
        if self._spare == 0 or minute not in self._counts:
            first = int((now - DAY_S) // _BUCKET_S)
            self._counts = {at: count for at, count in self._counts.items() if at >= first}
            room = self._limit - sum(self._counts.values())
            if room <= 0:
                return max(1.0, (min(self._counts) + 1) * _BUCKET_S + DAY_S - now)
            self._spare = min(self._step, room)
            self._counts[minute] = self._counts.get(minute, 0) + self._spare
            self._write()
        self._spare -= 1
        return 0.0

    def give_back(self) -> None:
        """Take back the count of a request that was not sent."""
        if self._limit is not None:
            self._spare += 1

    def _write(self) -> None:
        if self._path is None:
            return
        if not isinstance(self._path, Path):
            self._path.write_text(json.dumps(self._counts), encoding="ascii")
            return
        partial = self._path.with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(self._counts), encoding="ascii")
        partial.replace(self._path)


def _read(path: Path | WholeFile) -> dict[int, int]:
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        return {int(at): int(count) for at, count in found.items() if not math.isnan(count)}
    except FileNotFoundError:
        return {}

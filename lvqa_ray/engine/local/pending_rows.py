"""Write buffer: rows of finished videos, written several videos at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from lvqa_ray.engine.table_writer import write_tables
from lvqa_ray.records import Row
from lvqa_ray.storage.paths import StoragePath

VIDEOS_PER_WRITE = 16
"""Finished videos that are collected before their rows are written."""
WRITE_EVERY_S = 2.0
"""Time (s) after which fewer are written."""


class PendingRows:
    """Collects the rows of finished videos and writes them, several videos at a time."""

    def __init__(self, folder: StoragePath, provenance: dict[str, str], prefix: str) -> None:
        self._folder, self._provenance, self._prefix = folder, provenance, prefix
        self._rows: list[Row] = []
        self._videos = self._written = 0
        self._last = time.monotonic()
        self.broken = ""

    def add(self, rows: Sequence[Row]) -> None:
        """Take all rows of a video."""
        self._rows += rows
        self._videos += 1

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        late = time.monotonic() - self._last >= WRITE_EVERY_S
        return self._videos >= VIDEOS_PER_WRITE or (late and self._videos > 0)

    async def write(self) -> None:
        """Write the rows that were collected; sets `broken` if that fails."""
        rows, self._rows, self._videos, self._last = self._rows, [], 0, time.monotonic()
        if rows:
            self._written += 1
            name = f"{self._prefix}-{self._written:06d}"
            written = await asyncio.to_thread(write_tables, self._folder, self._provenance, name, rows)
            self.broken = self.broken or written.broken

"""Append-only log of JSON lines with keys, next to the journal; the last line of a key is valid."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from lvqa_ray.journal.index import IndexBuilder, KeyIndex, Place
from lvqa_ray.journal.locations import for_reading, open_segments
from lvqa_ray.journal.segments import Segments, scan
from lvqa_ray.storage import paths


class KeyedLog:
    """Finds lines through an index, and appends to this process's own segment.

    Args:
        folder: Folder of the segments; its name is their prefix.
        run_id: Names the segments that this run writes.
        index: Returns the index of the lines.
    """

    def __init__(self, folder: paths.StoragePath, run_id: str, index: Callable[[], KeyIndex]) -> None:
        self._folder = folder
        self._run_id = run_id
        self._index = index

    def find(self, *keys: str) -> tuple[str, Place] | None:
        """The first of these keys (hex) that has a line, with the position of its last line."""
        index = self._index()
        return next(((key, place) for key in keys if (place := index.place(key)) is not None), None)

    def read(self, place: Place) -> Any:  # noqa: ANN401 - a line of JSON
        """Parse a line, which may belong to another key.

        Raises:
            OSError: The line cannot be read.
            ValueError: The line is torn.
        """
        return json.loads(for_reading(self._folder).read(*place))

    def append(self, line: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: The write failed.
        """
        text = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        _segments(self._folder).append(f"{self._folder.name}-{self._run_id}_{_process()}.jsonl", text)


def index_lines(segments: Segments, key_of: Callable[[bytes], bytes | None]) -> KeyIndex:
    """Index all lines that have a key.

    Args:
        segments: The segments.
        key_of: Returns the key of a line, or ``None`` to skip it.
    """
    lines = IndexBuilder()
    for name, offset, line in scan(segments):
        if (key := key_of(line)) is not None:
            lines.add(key, name, offset, len(line))
    return lines.index()


@cache
def _segments(folder: paths.StoragePath) -> Segments:
    return open_segments(folder)


@cache
def _process() -> str:
    return uuid.uuid4().hex[:8]

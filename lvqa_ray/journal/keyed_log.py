"""Notes beside the journal of paid answers: a line of JSON a key, of which the last one counts."""

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
    """Finds the lines of keys through an index, and appends to a segment of this process.

    Args:
        folder: Where the segments are; its name begins theirs.
        run_id: Names the segments that this run writes.
        index: Gives the places of the lines.
    """

    def __init__(self, folder: paths.StoragePath, run_id: str, index: Callable[[], KeyIndex]) -> None:
        self._folder = folder
        self._run_id = run_id
        self._index = index

    def find(self, *keys: str) -> tuple[str, Place] | None:
        """The first of some keys that has a line, in hex, and where its last line stands."""
        index = self._index()
        return next(((key, place) for key in keys if (place := index.place(key)) is not None), None)

    def read(self, place: Place) -> Any:  # noqa: ANN401 - a line of JSON
        """What a line says; it may be of another key.

        Raises:
            OSError: The line cannot be read.
            ValueError: The line is torn.
        """
        return json.loads(for_reading(self._folder).read(*place))

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: It could not be written.
        """
        text = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        _segments(self._folder).append(f"{self._folder.name}-{self._run_id}_{_process()}.jsonl", text)


def index_lines(segments: Segments, key_of: Callable[[bytes], bytes | None]) -> KeyIndex:
    """The places of all lines that have a key.

    Args:
        segments: Where they are.
        key_of: Gives the key of a line, and ``None`` for one that does not count.
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

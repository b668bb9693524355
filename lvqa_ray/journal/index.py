"""Index of journal lines in arrays, which all processes of a machine can share."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Place = tuple[str, int, int]
"""Position of a line: segment name, offset and length (bytes)."""


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """Immutable index from keys to line positions; 24 bytes per line.

    It holds only the first eight bytes of each key, so a position may belong to another key: readers must compare the
    key in the line.

    Attributes:
        names: Names of the segments.
        heads: First eight bytes of each key as a number, ascending; equal ones in the order of writing.
        segments: Index of each line's segment in ``names``.
        offsets: Start of each line (bytes).
        lengths: Length of each line (bytes).
    """

    names: tuple[str, ...]
    heads: npt.NDArray[np.uint64]
    segments: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, places: Mapping[bytes, Place]) -> KeyIndex:
        """Build an index from positions by key."""
        lines = IndexBuilder()
        for key, place in places.items():
            lines.add(key, *place)
        return lines.index()

    def __len__(self) -> int:
        return len(self.heads)

    def place(self, key: str) -> Place | None:
        """Position of the last line of a key (hex), or ``None``."""
        return next(self.places(key), None)

    def places(self, key: str) -> Iterator[Place]:
        """Positions of the lines of a key, the last one first."""
        head = np.uint64(int(key[:16], 16))
        first, behind = np.searchsorted(self.heads, head, "left"), np.searchsorted(self.heads, head, "right")
        return map(self._at, range(int(behind) - 1, int(first) - 1, -1))

    def last_lines(self) -> Iterator[Place]:
        """Positions of the last line of each key, segment by segment."""
        last = np.append(self.heads[1:] != self.heads[:-1], True)[: len(self)]
        kept = np.flatnonzero(last)
        return map(self._at, kept[np.lexsort((self.offsets[kept], self.segments[kept]))].tolist())

    def _at(self, line: int) -> Place:
        return self.names[self.segments[line]], int(self.offsets[line]), int(self.lengths[line])


class IndexBuilder:
    """Collects line positions in the order of writing; 24 bytes per line."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._heads, self._segments, self._offsets, self._lengths = array("Q"), array("I"), array("q"), array("I")

    def add(self, key: bytes, name: str, offset: int, length: int) -> None:
        """Add the position of a line."""
        self._heads.append(int.from_bytes(key[:8], "big"))
        self._segments.append(self._names.setdefault(name, len(self._names)))
        self._offsets.append(offset)
        self._lengths.append(length)

    def index(self) -> KeyIndex:
        """Build the index of all lines so far."""
        heads = np.array(self._heads, np.uint64)
        order = np.argsort(heads, kind="stable")
        return KeyIndex(
            tuple(self._names),
            heads[order],
            np.array(self._segments, np.uint32)[order],
            np.array(self._offsets, np.int64)[order],
            np.array(self._lengths, np.uint32)[order],
        )

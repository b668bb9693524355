"""Where lines of the journal stand, in arrays that all processes of a machine can share."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Place = tuple[str, int, int]
"""A segment's name, and the offset and length of a line in it (bytes)."""


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """The places of lines by their keys, as they were when it was made; 24 bytes a line.

    Of each key only the first eight bytes are held, so a place might be that of another key: who reads the line looks
    at the key that stands there.

    Attributes:
        names: The segments.
        heads: The first eight bytes of each line's key as a number, rising; of equal ones, the line that was added
            later comes later.
        segments: For each line the place of its segment in ``names``.
        offsets: Where it begins (bytes).
        lengths: How long it is (bytes).
    """

    names: tuple[str, ...]
    heads: npt.NDArray[np.uint64]
    segments: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, places: Mapping[bytes, Place]) -> KeyIndex:
        """An index of places by their keys' bytes."""
        lines = IndexBuilder()
        for key, place in places.items():
            lines.add(key, *place)
        return lines.index()

    def __len__(self) -> int:
        return len(self.heads)

    def place(self, key: str) -> Place | None:
        """Where the last line of a key stands, in hex, or ``None``."""
        return next(self.places(key), None)

    def places(self, key: str) -> Iterator[Place]:
        """Where the lines of a key stand, the last one first."""
        head = np.uint64(int(key[:16], 16))
        first, behind = np.searchsorted(self.heads, head, "left"), np.searchsorted(self.heads, head, "right")
        return map(self._at, range(int(behind) - 1, int(first) - 1, -1))

    def last_lines(self) -> Iterator[Place]:
        """Where the last line of every key stands, segment by segment."""
        last = np.append(self.heads[1:] != self.heads[:-1], True)[: len(self)]
        kept = np.flatnonzero(last)
        return map(self._at, kept[np.lexsort((self.offsets[kept], self.segments[kept]))].tolist())

    def _at(self, line: int) -> Place:
        return self.names[self.segments[line]], int(self.offsets[line]), int(self.lengths[line])


class IndexBuilder:
    """Takes in the places of lines in the order in which they were written; 24 bytes a line."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._heads, self._segments, self._offsets, self._lengths = array("Q"), array("I"), array("q"), array("I")

    def add(self, key: bytes, name: str, offset: int, length: int) -> None:
        """Take in the place of a line."""
        self._heads.append(int.from_bytes(key[:8], "big"))
        self._segments.append(self._names.setdefault(name, len(self._names)))
        self._offsets.append(offset)
        self._lengths.append(length)

    def index(self) -> KeyIndex:
        """The index of all lines so far."""
        heads = np.array(self._heads, np.uint64)
        order = np.argsort(heads, kind="stable")
        return KeyIndex(
            tuple(self._names),
            heads[order],
            np.array(self._segments, np.uint32)[order],
            np.array(self._offsets, np.int64)[order],
            np.array(self._lengths, np.uint32)[order],
        )

"""Index of journal lines in arrays, which all processes of a machine can share."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Place = tuple[str, int, int]
"""Position of a line: segment name, offset and length (bytes)."""
LEAST_MERGED = 1024
"""New lines that `GrowingIndex` collects before it merges them ..."""
MERGED_SHARE = 16
"""... and at least this fraction (one sixteenth) of all lines, so that merges take little time in a long run."""


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
        return map(self._at, reversed(self._rows(int(key[:16], 16))))

    def of_head(self, head: int) -> Place | None:
        """Position of the last line whose key begins with these eight bytes, or ``None``."""
        rows = self._rows(head)
        return self._at(rows[-1]) if rows else None

    def _rows(self, head: int) -> range:
        number = np.uint64(head)
        first, behind = np.searchsorted(self.heads, number, "left"), np.searchsorted(self.heads, number, "right")
        return range(int(first), int(behind))

    def last_lines(self) -> Iterator[Place]:
        """Positions of the last line of each key, segment by segment."""
        last = np.append(self.heads[1:] != self.heads[:-1], True)[: len(self)]
        kept = np.flatnonzero(last)
        return map(self._at, kept[np.lexsort((self.offsets[kept], self.segments[kept]))].tolist())

    def _at(self, line: int) -> Place:
        return self.names[self.segments[line]], int(self.offsets[line]), int(self.lengths[line])


class GrowingIndex:
    """Index that takes new lines: a `KeyIndex`, and a dictionary of the lines since it was built.

    It holds one position per key, in about 40 bytes; a dictionary of all keys takes 200 to 270. Like `KeyIndex` it
    knows only the first eight bytes of each key, until `split` says that keys share them. One thread at a time may
    change it, while others call `get`.
    """

    def __init__(self) -> None:
        self._merged = KeyIndex.of({})
        self._new: dict[int, Place | None] = {}  # by the head of the key; None for a removed one
        self._shared: dict[int, dict[bytes, Place]] = {}  # by head and key

    def get(self, key: bytes) -> Place | None:
        """Position of the line of a key, or ``None``; unless split, it may be that of a key with the same head."""
        head = head_of(key)
        if (shared := self._shared.get(head)) is not None:
            return shared.get(key)
        new, merged = self._new, self._merged  # in this order: a merge changes the second one first
        return new[head] if head in new else merged.of_head(head)

    def set(self, key: bytes, place: Place) -> None:
        """Set the position of the line of a key."""
        head = head_of(key)
        if head in self._shared:
            self._shared[head][key] = place
            return
        self._new[head] = place
        if len(self._new) >= max(LEAST_MERGED, len(self._merged) // MERGED_SHARE):
            self._merge()

    def remove(self, key: bytes) -> None:
        """Remove a key."""
        head = head_of(key)
        if head in self._shared:
            self._shared[head].pop(key, None)
        else:
            self._new[head] = None

    def split(self, key: bytes, places: Mapping[bytes, Place]) -> None:
        """Tell keys with the same head apart from now on.

        Args:
            key: One of these keys.
            places: Positions of the lines of all of them.
        """
        self._shared[head_of(key)] = dict(places)
        self._new[head_of(key)] = None

    def index(self) -> KeyIndex:
        """All lines as an immutable index."""
        self._merge()
        lines = IndexBuilder(self._merged.names)
        for places in self._shared.values():
            for key, place in places.items():
                lines.add(key, *place)
        return _joined(self._merged, lines) if self._shared else self._merged

    def _merge(self) -> None:
        if self._new:
            self._merged = _replaced(self._merged, self._new)
            self._new = {}


def _replaced(index: KeyIndex, places: Mapping[int, Place | None]) -> KeyIndex:
    """An index of one line per key with other positions for some keys; ``None`` removes a key."""
    lines = IndexBuilder(index.names)
    for head, place in places.items():
        if place is not None:
            lines.add_head(head, *place)
    kept = np.ones(len(index), dtype=np.bool_)
    if len(index):
        named = np.fromiter(places, np.uint64, len(places))
        at = np.minimum(np.searchsorted(index.heads, named), len(index) - 1)
        kept[at[index.heads[at] == named]] = False
    return _joined(
        KeyIndex(index.names, index.heads[kept], index.segments[kept], index.offsets[kept], index.lengths[kept]), lines
    )


def _joined(index: KeyIndex, lines: IndexBuilder) -> KeyIndex:
    """An index with further lines, whose builder began with the names of the index."""
    new = lines.index()
    heads = np.concatenate([index.heads, new.heads])
    order = np.argsort(heads, kind="stable")
    return KeyIndex(
        new.names,
        heads[order],
        np.concatenate([index.segments, new.segments])[order],
        np.concatenate([index.offsets, new.offsets])[order],
        np.concatenate([index.lengths, new.lengths])[order],
    )


def head_of(key: bytes) -> int:
    """First eight bytes of a key, as a number."""
    return int.from_bytes(key[:8], "big")


class IndexBuilder:
    """Collects line positions in the order of writing; 24 bytes per line.

    Args:
        names: Names of segments that come first in the index.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {name: number for number, name in enumerate(names)}
        self._heads, self._segments, self._offsets, self._lengths = array("Q"), array("I"), array("q"), array("I")

    def add(self, key: bytes, name: str, offset: int, length: int) -> None:
        """Add the position of a line."""
        self.add_head(head_of(key), name, offset, length)

    def add_head(self, head: int, name: str, offset: int, length: int) -> None:
        """Add the position of a line, by the first eight bytes of its key."""
        self._heads.append(head)
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

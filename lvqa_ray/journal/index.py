"""Where lines of the journal stand, in arrays that all processes of a machine can share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Place = tuple[str, int, int]
"""A segment's name, and the offset and length of a line in it (bytes)."""


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """The places of lines by their keys, as they were when it was made; 24 bytes a key.

    Of each key only the first eight bytes are held, so a place might be that of another key: who reads the line looks
    at the key that stands there.

    Attributes:
        names: The segments.
        heads: The first eight bytes of each key as a number, rising.
        segments: For each key the place of its segment in ``names``.
        offsets: Where its line begins (bytes).
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
        names = tuple(sorted({name for name, _, _ in places.values()}))
        number = {name: at for at, name in enumerate(names)}
        count = len(places)
        heads = np.fromiter((int.from_bytes(key[:8], "big") for key in places), np.uint64, count)
        order = np.argsort(heads, kind="stable")
        return cls(
            names,
            heads[order],
            np.fromiter((number[name] for name, _, _ in places.values()), np.uint32, count)[order],
            np.fromiter((offset for _, offset, _ in places.values()), np.int64, count)[order],
            np.fromiter((length for _, _, length in places.values()), np.uint32, count)[order],
        )

    def __len__(self) -> int:
        return len(self.heads)

    def place(self, key: str) -> Place | None:
        """Where the line of a key stands, in hex, or ``None``."""
        head = np.uint64(int(key[:16], 16))
        at = int(np.searchsorted(self.heads, head))
        if at == len(self.heads) or self.heads[at] != head:
            return None
        return self.names[self.segments[at]], int(self.offsets[at]), int(self.lengths[at])

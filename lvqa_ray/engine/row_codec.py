"""How the frozen rows travel through Ray Data: pickled in one binary column, several in a bundle where they come fast.

Ray Data infers an Arrow type for each block by itself, and blocks whose optional fields are all null disagree; one
binary column never does, its size is what backpressure counts, and the rows arrive as the values they were. Schemas are
pinned where it matters, in the tables that are written.

Ray Data's executor starts about 45 tasks a second, whatever they do (measured on 2.60). So rows that are there at the
same time travel, and are worked on, together.
"""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

COLUMN = "rows"
Packed = dict[str, bytes]
"""Rows for Ray Data, for which they are one: pickles, one after the other."""
Block = Any
"""A block of Ray Data: an Arrow table or a pandas frame."""

WITHIN_S = 0.25
"""Rows that come in less time than this after the last bundle wait for others."""
BUNDLE_BYTES = 4 * 2**20
"""Size from which a bundle waits for no more rows."""


def pack(*rows: object) -> Packed:
    """Rows that travel together."""
    return {COLUMN: b"".join(pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL) for row in rows)}


def unpack(packed: Packed) -> list[Any]:
    """The rows of a bundle."""
    return list(_pickled(packed[COLUMN]))


@dataclass(frozen=True, slots=True)
class Bundling:
    """How many rows travel together at most: more and more, so that many rows are few bundles and few are many.

    Attributes:
        most: Rows of a bundle, at most.
        first: Rows of the first bundles.
        tasks: Later bundles hold a share of the rows before them, so that no bundle is more than about one of so many
            parts of all.
    """

    most: int
    first: int
    tasks: float

    def after(self, gone: int) -> int:
        """How many rows the next bundle may hold after so many."""
        return int(min(self.most, max(self.first, gone / self.tasks)))


def batch_by_time(
    packed: Iterable[Packed], most: int | Bundling, clock: Callable[[], float] = time.monotonic
) -> Iterator[Packed]:
    """Join bundles that come fast; one that comes after a while goes on at once.

    Args:
        packed: Bundles, as they come.
        most: How many to join at most.
        clock: Seconds, never running backwards.
    """
    bundling = Bundling(most, most, 1.0) if isinstance(most, int) else most
    waiting: list[bytes] = []
    left, gone = clock(), 0
    for each in packed:
        waiting.append(each[COLUMN])
        full = len(waiting) >= bundling.after(gone) or sum(map(len, waiting)) >= BUNDLE_BYTES
        if full or clock() - left >= WITHIN_S:
            yield {COLUMN: b"".join(waiting)}
            gone += len(waiting)
            waiting.clear()
            left = clock()
    if waiting:
        yield {COLUMN: b"".join(waiting)}


def table(rows: Iterable[object]) -> pa.Table:
    """Rows as a table for `ray.data.from_arrow`."""
    return pa.table({COLUMN: pa.array([pack(row)[COLUMN] for row in rows], pa.binary())})


def rows_of(block: Block) -> Iterator[Any]:
    """The rows of a block; one that a task made no row of has not even the column."""
    if not len(block):
        return
    for value in block[COLUMN]:
        yield from _pickled(value.as_py() if isinstance(value, pa.Scalar) else value)


def _pickled(rows: bytes) -> Iterator[Any]:
    file = io.BytesIO(rows)
    while file.tell() < len(rows):
        yield pickle.load(file)  # noqa: S301 - made by this very job

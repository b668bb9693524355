"""Codec of rows in Ray Data: pickled in one binary column, several per bundle if they come fast.

Ray Data infers an Arrow type per block, and blocks whose optional fields are all null get different types. One binary
column always has the same type, its size is what backpressure measures, and rows arrive unchanged. The tables that are
written have pinned schemas.

Ray Data's executor starts about 45 tasks per second, whatever they do (measured on 2.60), so rows that are ready at the
same time travel in one bundle and are processed by one task.
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
"""A bundle, which is one row to Ray Data: concatenated pickles."""
Block = Any
"""A block of Ray Data: an Arrow table or a pandas frame."""

WITHIN_S = 0.5
"""A bundle is sent with the next row once this much time (s) has passed since the last bundle."""
BUNDLE_BYTES = 8 * 2**20
"""Size from which a bundle is sent at once."""


def pack(*rows: object) -> Packed:
    """Pickle rows into one bundle."""
    return {COLUMN: b"".join(pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL) for row in rows)}


def unpack(packed: Packed) -> list[Any]:
    """The rows of a bundle."""
    return list(_pickled(packed[COLUMN]))


def unpack_lazily(packed: Packed) -> Iterator[Any]:
    """The rows of a bundle, each unpickled when it is asked for."""
    return _pickled(packed[COLUMN])


@dataclass(frozen=True, slots=True)
class Bundling:
    """Growing bundle size: few rows make small bundles, and many rows large ones.

    Attributes:
        most: Maximum rows of a bundle.
        first: Rows of the first bundles.
        tasks: After n rows, the next bundle holds at most n/tasks rows.
    """

    most: int
    first: int
    tasks: float

    def after(self, gone: int) -> int:
        """Maximum size of the next bundle after ``gone`` rows."""
        return int(min(self.most, max(self.first, gone / self.tasks)))


def batch_by_time(
    packed: Iterable[Packed], most: int | Bundling, clock: Callable[[], float] = time.monotonic
) -> Iterator[Packed]:
    """Join bundles that come fast; one that comes after a pause is sent at once.

    Args:
        packed: Bundles, as they come.
        most: Maximum number of rows in a bundle.
        clock: Monotonic clock (s).
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
    """The rows of a block; an empty block lacks even the column."""
    if not len(block):
        return
    for value in block[COLUMN]:
        yield from _pickled(value.as_py() if isinstance(value, pa.Scalar) else value)


def _pickled(rows: bytes) -> Iterator[Any]:
    file = io.BytesIO(rows)
    while file.tell() < len(rows):
        yield pickle.load(file)  # noqa: S301 - made by this job

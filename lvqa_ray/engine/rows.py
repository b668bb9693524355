"""How the frozen rows travel through Ray Data: pickled in one binary column.

Ray Data infers an Arrow type for each block by itself, and blocks whose optional fields are all null disagree; one
binary column never does, its size is what backpressure counts, and the rows arrive as the values they were. Schemas are
pinned where it matters, in the tables that are written.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

COLUMN = "row"
Packed = dict[str, bytes]


def pack(row: Any) -> Packed:  # noqa: ANN401 - any of the frozen rows
    """A row for Ray Data."""
    return {COLUMN: pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL)}


def unpack(packed: Packed) -> Any:  # noqa: ANN401 - any of the frozen rows
    """The row that `pack` was given."""
    return pickle.loads(packed[COLUMN])  # noqa: S301 - made by this very job


def table(rows: Iterable[Any]) -> pa.Table:
    """Rows as a table for `ray.data.from_arrow`."""
    return pa.table({COLUMN: pa.array([pack(row)[COLUMN] for row in rows], pa.binary())})


def rows_of(block: Any) -> Iterator[Any]:  # noqa: ANN401 - Ray's block: an Arrow table or a pandas frame
    """The rows of a block; one that a task made no row of has not even the column."""
    if not len(block):
        return
    for value in block[COLUMN]:
        yield pickle.loads(value.as_py() if isinstance(value, pa.Scalar) else value)  # noqa: S301 - as above

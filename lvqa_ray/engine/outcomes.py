"""How every video of an output folder ended last, as Arrow columns: a million of them take some 200 MB, not 1 GB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.engine.place import Place
from lvqa_ray.engine.tables import read_shard, shards
from lvqa_ray.records.tables import VIDEO_ID, TableName

FEW = ["run_id", "job_hash"]
"""Columns of few different values."""
OUTCOME = pa.schema(
    [(name, pa.string()) for name in ("id", "fingerprint", "input_hash")]
    + [(name, pa.dictionary(pa.int32(), pa.string())) for name in FEW]
    + [("failed", pa.bool_()), ("retryable", pa.bool_()), ("kind", pa.dictionary(pa.int32(), pa.string()))]
)
"""One row a video; ``kind`` is null for a record."""


def outcomes(folder: Place, tables: Sequence[TableName] = ("failures", "data")) -> pa.Table:
    """The latest outcome of every video in an output folder, with the columns of `OUTCOME`.

    Run ids begin with the time, so the largest is the latest; within a run, a record goes before a failure.

    Args:
        folder: The output folder.
        tables: Which tables to look at.

    Raises:
        ConfigError: A shard cannot be read.
    """
    parts = [_rows(shard, table) for table in tables for shard in shards(folder, table)]
    rows = pa.concat_tables([OUTCOME.empty_table(), *parts]).unify_dictionaries()
    del parts
    if not rows.num_rows:
        return rows
    run = flat(rows["run_id"])
    age = np.argsort(np.argsort(np.array(run.dictionary.to_pylist(), dtype=object)))
    order = age[numbers(run.indices)].astype(np.int64) * rows.num_rows + np.arange(rows.num_rows)
    latest = pa.table({"id": rows["id"], "order": order}).group_by("id").aggregate([("order", "max")])
    if latest.num_rows == rows.num_rows:
        return rows
    return rows.take(pa.array(numbers(latest["order_max"]) % rows.num_rows))


def _rows(shard: Place, table: TableName) -> pa.Table:
    failed = table == "failures"
    ident = VIDEO_ID[table]
    columns = [ident, "fingerprint", "input_hash", *FEW, *(["retryable", "kind"] if failed else [])]
    rows = read_shard(shard, columns, few=[*FEW, *(["kind"] if failed else [])]).rename_columns({ident: "id"})
    count = rows.num_rows
    rows = rows.append_column("failed", pa.repeat(failed, count))
    if failed:
        at = rows.column_names.index("retryable")
        rows = rows.set_column(at, "retryable", pc.fill_null(rows["retryable"], False))
    else:
        rows = rows.append_column("retryable", pa.repeat(False, count)).append_column(
            "kind", pa.nulls(count, pa.string())
        )
    return rows.select(OUTCOME.names).cast(OUTCOME)


def find(ids: Any, among: Any) -> npt.NDArray[np.int64]:  # noqa: ANN401 - Arrow arrays have no types
    """Where each id stands in a column of ids that are there once; -1 where it does not."""
    return numbers(pc.fill_null(pc.index_in(ids, value_set=flat(among)), -1)).astype(np.int64)


def flat(column: Any) -> Any:  # noqa: ANN401 - as above
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def numbers(column: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - as above
    """A column without nulls as numbers."""
    return np.asarray(flat(column).to_numpy(zero_copy_only=False))

"""Latest outcome of every video of an output, as Arrow columns: a million take about 200 MB, not 1 GB as objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.dataset.task_outcomes import task_outcomes
from lvqa_ray.records.tables import SCHEMAS, VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath

Column: TypeAlias = pa.Array | pa.ChunkedArray
DICTIONARY_COLUMNS = ["run_id", "job_hash"]
"""Columns with few distinct values, kept as dictionaries."""
OUTCOME = pa.schema(
    [(name, pa.string()) for name in ("id", "fingerprint", "input_hash")]
    + [(name, pa.dictionary(pa.int32(), pa.string())) for name in DICTIONARY_COLUMNS]
    + [("failed", pa.bool_()), ("retryable", pa.bool_()), ("kind", pa.dictionary(pa.int32(), pa.string()))]
    + [("alone", pa.bool_())]
)
"""One row for each video. ``kind`` is the failure of the video, or else of one of its tasks; null if nothing failed.
``alone``: no questions were requested, and the results are in ``analysis/``."""


def outcomes(folder: StoragePath, tables: Sequence[TableName] = ("failures", "data")) -> pa.Table:
    """The latest outcome of every video in an output folder, with the columns of `OUTCOME`.

    Run ids begin with the time, so the largest is the latest; within a run, a record precedes a failure. A video with
    records and a retryable failed task counts as retryable, and not as failed.

    Args:
        folder: The output folder.
        tables: Which tables to read; ``data`` includes the videos with analysis results only.

    Raises:
        ConfigError: A shard cannot be read.
    """
    parts = [_rows(shard, table) for table in tables for shard in shards(folder, table)]
    tasks = task_outcomes(folder) if "data" in tables else None
    if tasks is not None and tasks.num_rows:
        parts = [*(_with_tasks(part, tasks) for part in parts), _alone(tasks)]
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


def job_hashes(folder: StoragePath) -> set[str]:
    """The hashes of the jobs that have rows in an output.

    Raises:
        ConfigError: A shard cannot be read.
    """
    found: set[str] = set()
    for table in SCHEMAS:
        for shard in shards(folder, table):
            rows = read_shard(shard, ["job_hash"], few=["job_hash"])
            found.update(rows["job_hash"].unique().to_pylist())
    return found


def _rows(shard: StoragePath, table: TableName) -> pa.Table:
    failed = table == "failures"
    ident = VIDEO_ID[table]
    columns = [ident, "fingerprint", "input_hash", *DICTIONARY_COLUMNS, *(["retryable", "kind"] if failed else [])]
    rows = read_shard(shard, columns, few=[*DICTIONARY_COLUMNS, *(["kind"] if failed else [])]).rename_columns(
        {ident: "id"}
    )
    count = rows.num_rows
    rows = rows.append_column("failed", pa.repeat(failed, count))
    if failed:
        at = rows.column_names.index("retryable")
        rows = rows.set_column(at, "retryable", pc.fill_null(rows["retryable"], False))
    else:
        rows = rows.append_column("retryable", pa.repeat(False, count)).append_column(
            "kind", pa.nulls(count, pa.string())
        )
    rows = rows.append_column("alone", pa.repeat(False, count))
    return rows.select(OUTCOME.names).cast(OUTCOME)


def _alone(tasks: pa.Table) -> pa.Table:
    """The outcomes of videos with analysis results only."""
    rows = tasks.filter(tasks["alone"])
    return rows.append_column("failed", pa.repeat(False, rows.num_rows)).select(OUTCOME.names).cast(OUTCOME)


def _with_tasks(rows: pa.Table, tasks: pa.Table) -> pa.Table:
    """Add task failures to the outcomes of videos that did not fail themselves."""
    at = find(_key(rows), _key(tasks))
    known = pa.array((at >= 0) & ~numbers(rows["failed"]))
    of = tasks.take(pa.array(np.where(at >= 0, at, 0)))
    for name in ("retryable", "kind"):
        type_ = OUTCOME.field(name).type
        plain = pa.string() if name == "kind" else type_
        value = pc.if_else(known, flat(of[name]), flat(rows[name].cast(plain)))
        rows = rows.set_column(rows.column_names.index(name), OUTCOME.field(name), value.cast(type_))
    return rows


def _key(rows: pa.Table) -> pa.Array:
    """Unique key of a video in a run."""
    return pc.binary_join_element_wise(flat(rows["id"]), flat(rows["run_id"].cast(pa.string())), "/")


def find(ids: Column, among: Column) -> npt.NDArray[np.int64]:
    """The index of each id in a column of unique ids; -1 if it is not there."""
    return numbers(pc.fill_null(pc.index_in(ids, value_set=flat(among)), -1)).astype(np.int64)


def flat(column: Column) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def numbers(column: Column) -> npt.NDArray[Any]:
    """A column without nulls as a NumPy array."""
    return np.asarray(flat(column).to_numpy(zero_copy_only=False))

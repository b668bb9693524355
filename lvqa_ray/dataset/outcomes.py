"""How every video of an output folder ended last, as Arrow columns: a million of them take some 200 MB, not 1 GB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.dataset.task_outcomes import task_outcomes
from lvqa_ray.records.tables import SCHEMAS, VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath

FEW = ["run_id", "job_hash"]
"""Columns of few different values."""
OUTCOME = pa.schema(
    [(name, pa.string()) for name in ("id", "fingerprint", "input_hash")]
    + [(name, pa.dictionary(pa.int32(), pa.string())) for name in FEW]
    + [("failed", pa.bool_()), ("retryable", pa.bool_()), ("kind", pa.dictionary(pa.int32(), pa.string()))]
    + [("alone", pa.bool_())]
)
"""One row a video. ``kind`` is null where nothing failed: it may be the video, or else one of the tasks about it.
``alone`` says that it was asked no question, and has results in ``analysis/``."""


def outcomes(folder: StoragePath, tables: Sequence[TableName] = ("failures", "data")) -> pa.Table:
    """The latest outcome of every video in an output folder, with the columns of `OUTCOME`.

    Run ids begin with the time, so the largest is the latest; within a run, a record goes before a failure. A video
    with records, of which a task failed that may yet succeed, is no failed one, and still one that a rerun may mend.

    Args:
        folder: The output folder.
        tables: Which tables to look at; ``data`` stands for the results of videos that were asked no questions too.

    Raises:
        ConfigError: A shard cannot be read.
    """
    parts = [_rows(shard, table) for table in tables for shard in shards(folder, table)]
    told = task_outcomes(folder) if "data" in tables else None
    if told is not None and told.num_rows:
        parts = [*(_with_tasks(part, told) for part in parts), _alone(told)]
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
    """The hashes of the jobs whose rows an output holds.

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
    rows = rows.append_column("alone", pa.repeat(False, count))
    return rows.select(OUTCOME.names).cast(OUTCOME)


def _alone(told: pa.Table) -> pa.Table:
    """The outcomes of videos that were asked no questions."""
    rows = told.filter(told["alone"])
    return rows.append_column("failed", pa.repeat(False, rows.num_rows)).select(OUTCOME.names).cast(OUTCOME)


def _with_tasks(rows: pa.Table, told: pa.Table) -> pa.Table:
    """Outcomes with what is to be said of failed tasks; what a failed video says of itself stays."""
    at = find(_key(rows), _key(told))
    known = pa.array((at >= 0) & ~numbers(rows["failed"]))
    of = told.take(pa.array(np.where(at >= 0, at, 0)))
    for name in ("retryable", "kind"):
        type_ = OUTCOME.field(name).type
        plain = pa.string() if name == "kind" else type_
        value = pc.if_else(known, flat(of[name]), flat(rows[name].cast(plain)))
        rows = rows.set_column(rows.column_names.index(name), OUTCOME.field(name), value.cast(type_))
    return rows


def _key(rows: pa.Table) -> Any:  # noqa: ANN401 - as below
    """Names a video in a run."""
    return pc.binary_join_element_wise(flat(rows["id"]), flat(rows["run_id"].cast(pa.string())), "/")


def find(ids: Any, among: Any) -> npt.NDArray[np.int64]:  # noqa: ANN401 - Arrow arrays have no types
    """Where each id stands in a column of ids that are there once; -1 where it does not."""
    return numbers(pc.fill_null(pc.index_in(ids, value_set=flat(among)), -1)).astype(np.int64)


def flat(column: Any) -> Any:  # noqa: ANN401 - as above
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def numbers(column: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - as above
    """A column without nulls as numbers."""
    return np.asarray(flat(column).to_numpy(zero_copy_only=False))

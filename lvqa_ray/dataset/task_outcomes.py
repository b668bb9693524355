"""Outcomes of the analysis tasks: of videos without questions, and of failed tasks."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.storage.paths import StoragePath

SAME = ["fingerprint", "input_hash", "job_hash"]
TASK_COLUMNS = ["video_id", "run_id", *SAME, "index", "error", "retryable", "alone"]


def task_outcomes(folder: StoragePath) -> pa.Table:
    """A row for each video and run with analysis results only, or with a failed task.

    Returns:
        ``id``, ``run_id``, ``fingerprint``, ``input_hash``, ``job_hash``; ``retryable``: whether a failed task may
        succeed in a rerun; ``kind`` of the first failed task, null if none failed; ``alone``: whether no questions were
        requested.

    Raises:
        ConfigError: A shard cannot be read.
    """
    parts = []
    for shard in shards(folder, "analysis"):
        rows = read_shard(shard, TASK_COLUMNS)
        parts.append(
            rows.filter(pc.or_(pc.is_valid(rows["error"]), pc.and_(rows["alone"], pc.equal(rows["index"], 0))))
        )
    if not parts:
        return _NONE.empty_table()
    groups = pa.concat_tables(parts).sort_by("index").group_by(["video_id", "run_id"], use_threads=False)
    skip = pc.ScalarAggregateOptions(skip_nulls=True)
    wanted = [*((name, "first") for name in SAME), ("retryable", "max"), ("error", "first", skip), ("alone", "max")]
    found = groups.aggregate(wanted)
    columns = ["video_id", "run_id", *(f"{name}_first" for name in SAME), "retryable_max", "error_first", "alone_max"]
    return found.select(columns).rename_columns(_NONE.names).cast(_NONE)


_NONE = pa.schema(
    [(name, pa.string()) for name in ("id", "run_id", *SAME)]
    + [("retryable", pa.bool_()), ("kind", pa.string()), ("alone", pa.bool_())]
)

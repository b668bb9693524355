"""Current failures of an output: one for each video or task, and counted by kind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.outcomes import find, numbers, outcomes
from lvqa_ray.dataset.remedies import mend
from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.errors import ConfigError
from lvqa_ray.storage.paths import StoragePath

FAILURE_COLUMNS = ["id", "clip_id", "stage", "kind", "attempts", "message", "retryable", "video", "run_id"]
FAILED_TASK_COLUMNS = ["video_id", "task", "error", "error_message", "retryable", "video", "run_id"]


@dataclass(frozen=True, slots=True)
class Kind:
    """All failures of a kind.

    Attributes:
        kind: The kind.
        count: Number of videos that failed so.
        retryable: How many of them the next run retries by itself.
        example: Id of one of them.
        reason: Why that video failed.
        mend: The remedy.
    """

    kind: str
    count: int
    retryable: int
    example: str
    reason: str
    mend: str


def failures(output: StoragePath, kinds: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """The videos whose latest outcome is a failure, and the failed analysis tasks of other videos.

    Args:
        output: Output folder of a run.
        kinds: Only these kinds; all, if it is empty.

    Yields:
        Rows with `FAILURE_COLUMNS`, without the run.

    Raises:
        ConfigError: It is no output folder, or a shard cannot be read.
    """
    if not any((output / table).is_dir() for table in ("data", "failures")):
        raise ConfigError(f"{output} holds no failures; give the output folder of a run.")
    done = outcomes(output)
    current = done.filter(done["failed"]).select(["id", "run_id"])
    runs = current["run_id"].cast(pa.string()).to_pylist()
    seen: set[int] = set()
    for shard in shards(output, "failures"):
        rows = read_shard(shard, FAILURE_COLUMNS)
        at = find(rows["id"], current["id"])
        mine = at >= 0
        for index, row in zip(at[mine], rows.filter(pa.array(mine)).to_pylist(), strict=True):
            is_current = row.pop("run_id") == runs[index] and index not in seen
            if is_current and (not kinds or row["kind"] in kinds):
                seen.add(index)
                yield row
    current = done.filter(pc.and_(pc.invert(done["failed"]), pc.is_valid(done["kind"].cast(pa.string()))))
    runs = current["run_id"].cast(pa.string()).to_pylist()
    for shard in shards(output, "analysis"):
        rows = read_shard(shard, FAILED_TASK_COLUMNS)
        at = find(rows["video_id"], current["id"])
        mine = (at >= 0) & numbers(pc.is_valid(rows["error"]))
        for index, row in zip(at[mine], rows.filter(pa.array(mine)).to_pylist(), strict=True):
            if row["run_id"] == runs[index] and (not kinds or row["error"] in kinds):
                yield _failure_of_task(row)


def _failure_of_task(row: Mapping[str, Any]) -> dict[str, Any]:
    """A failed row of ``analysis/`` as a row of ``failures/``."""
    failure = {"id": row["video_id"], "clip_id": None, "stage": row["task"], "kind": row["error"], "attempts": 1}
    return failure | {"message": row["error_message"], "retryable": row["retryable"], "video": row["video"]}


def by_kind(output: StoragePath, kinds: Collection[str] = ()) -> list[Kind]:
    """The failures counted by kind, most frequent first; arguments and errors as for `failures`."""
    first: dict[str, dict[str, Any]] = {}
    count: dict[str, int] = {}
    retryable: dict[str, int] = {}
    for row in failures(output, kinds):
        kind = row["kind"]
        first.setdefault(kind, row)
        count[kind] = count.get(kind, 0) + 1
        retryable[kind] = retryable.get(kind, 0) + bool(row["retryable"])
    return [
        Kind(kind, count[kind], retryable[kind], first[kind]["id"], first[kind]["message"] or "", mend(kind))
        for kind in sorted(count, key=lambda kind: (-count[kind], kind))
    ]

"""The failures of an output, as they stand: one a video or a task about one, and summed up by kind."""

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

COLUMNS = ["id", "clip_id", "stage", "kind", "attempts", "message", "retryable", "video", "run_id"]


OF_TASKS = ["video_id", "task", "error", "error_message", "retryable", "video", "run_id"]


@dataclass(frozen=True, slots=True)
class Kind:
    """All failures of a kind.

    Attributes:
        kind: Their kind.
        count: How many videos failed so.
        retryable: How many of them a rerun tries again by itself.
        example: Id of one of them.
        reason: Why that one failed.
        mend: What to do about it.
    """

    kind: str
    count: int
    retryable: int
    example: str
    reason: str
    mend: str


def failures(output: StoragePath, kinds: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """The videos whose latest outcome is a failure, and the tasks about videos that failed.

    Args:
        output: Output folder of a run.
        kinds: Only these kinds; all, if it is empty.

    Yields:
        Rows with `COLUMNS`, but for the run.

    Raises:
        ConfigError: It is no output folder, or a shard cannot be read.
    """
    if not any((output / table).is_dir() for table in ("data", "failures")):
        raise ConfigError(f"{output} holds no failures; give the output folder of a run.")
    done = outcomes(output)
    stand = done.filter(done["failed"]).select(["id", "run_id"])
    runs = stand["run_id"].cast(pa.string()).to_pylist()
    told: set[int] = set()
    for shard in shards(output, "failures"):
        rows = read_shard(shard, COLUMNS)
        at = find(rows["id"], stand["id"])
        mine = at >= 0
        for place, row in zip(at[mine], rows.filter(pa.array(mine)).to_pylist(), strict=True):
            current = row.pop("run_id") == runs[place] and place not in told
            if current and (not kinds or row["kind"] in kinds):
                told.add(place)
                yield row
    stand = done.filter(pc.and_(pc.invert(done["failed"]), pc.is_valid(done["kind"].cast(pa.string()))))
    runs = stand["run_id"].cast(pa.string()).to_pylist()
    for shard in shards(output, "analysis"):
        rows = read_shard(shard, OF_TASKS)
        at = find(rows["video_id"], stand["id"])
        mine = (at >= 0) & numbers(pc.is_valid(rows["error"]))
        for place, row in zip(at[mine], rows.filter(pa.array(mine)).to_pylist(), strict=True):
            if row["run_id"] == runs[place] and (not kinds or row["error"] in kinds):
                yield _task(row)


def _task(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of ``analysis/`` as one of ``failures/``."""
    said = {"id": row["video_id"], "clip_id": None, "stage": row["task"], "kind": row["error"], "attempts": 1}
    return said | {"message": row["error_message"], "retryable": row["retryable"], "video": row["video"]}


def by_kind(output: StoragePath, kinds: Collection[str] = ()) -> list[Kind]:
    """The failures summed up, most frequent first; arguments and errors as for `failures`."""
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

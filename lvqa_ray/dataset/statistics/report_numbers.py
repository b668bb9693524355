"""The numbers of an output, counted over all of its rows: what became of videos, clips and questions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.records import LETTERS, TASKS
from lvqa_ray.records.requested import ONE, SEVERAL, against, requested


@dataclass(frozen=True, slots=True)
class FailedKind:
    """Videos that failed in one way.

    Attributes:
        stage: Where the first of them failed.
        retryable: How many of them a plain rerun tries again.
        example: Id of the first.
        message: Why that one failed.
    """

    kind: str
    count: int
    stage: str
    retryable: int
    example: str
    message: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """What became of everything.

    Attributes:
        videos: Videos of the last run's manifest, or of the tables where there is none.
        with_records: Videos with at least one record.
        alone: Videos that were asked no questions and have results of tasks about the whole.
        results: Results of these tasks, of all videos, by task and then by fate, ``made`` or ``failed``.
        failed: Failed videos by kind, most frequent first.
        clips: Clips by fate: ``captioned``, ``filtered`` or ``failed``.
        clip_seconds: Length of every clip that was not filtered out (s).
        hours: Length of the videos with records (h).
        kept: Questions that are records.
        dropped: The others, by check and, where it says more, kind, most frequent first.
        checks: Verdicts by check: ``passed``, ``marked``, ``repaired`` and ``dropped``.
        keys: Records by the letter of the right option.
        categories: Records by category.
        quota: Questions by category, ``requested`` and ``delivered``; also of videos whose questions all failed.
    """

    videos: int
    with_records: int
    alone: int
    results: dict[str, dict[str, int]]
    failed: list[FailedKind]
    clips: dict[str, int]
    clip_seconds: npt.NDArray[np.float64] = field(repr=False)
    hours: float
    kept: int
    dropped: dict[str, int]
    checks: dict[str, dict[str, int]]
    keys: dict[str, int]
    categories: dict[str, int]
    quota: dict[str, dict[str, int]]

    @property
    def asked(self) -> int:
        """Questions that were asked for."""
        return self.kept + sum(self.dropped.values())

    @property
    def failures(self) -> int:
        """Videos that failed and have no record."""
        return sum(kind.count for kind in self.failed)

    @property
    def unfinished(self) -> int:
        """Videos with no outcome."""
        return max(0, self.videos - self.with_records - self.alone - self.failures)


def count(output: OutputReader) -> Numbers:
    """Count an output.

    Raises:
        ConfigError: A shard cannot be read.
    """
    data = output.rows("data", ["video_id", "category", ONE, "parsed_reasoning", "video_info", "checks"])
    drops = output.rows("drops", ["check", "kind", ONE, "checks"])
    why = pc.if_else(
        pc.equal(drops["check"], drops["kind"]),
        drops["check"],
        pc.binary_join_element_wise(drops["check"], drops["kind"], ": "),
    )
    done = pc.unique(data["video_id"])
    failed = _failures(output, done)
    answers = pc.struct_field(data["parsed_reasoning"], "ANSWER")
    clips, seconds = _clips(output)
    alone, results = _results(output)
    known = len(done) + alone + sum(kind.count for kind in failed)
    return Numbers(
        videos=max(output.videos() or 0, known),
        with_records=len(done),
        alone=alone,
        results=results,
        failed=failed,
        clips=clips,
        clip_seconds=seconds,
        hours=_seconds_of_videos(data) / 3600,
        kept=data.num_rows,
        dropped=dict(Counter(_counted(why)).most_common()),
        checks=_verdicts(data["checks"], drops["checks"]),
        keys=dict.fromkeys(LETTERS, 0) | _counted(answers),
        categories=dict(Counter(_counted(pc.fill_null(data["category"], "none"))).most_common()),
        quota=_quota(output, data, drops, done),
    )


def _quota(output: OutputReader, data: pa.Table, drops: pa.Table, done: Any) -> dict[str, dict[str, int]]:  # noqa: ANN401
    failed = output.rows("failures", ["id", SEVERAL])
    failed = failed.filter(pc.invert(pc.is_in(failed["id"], value_set=done)))
    delivered = _counted(pc.fill_null(data["category"], ""))
    quota = against(requested(data) + requested(drops) + requested(failed), delivered)
    return {name or "none": counts for name, counts in quota.items()}


def _failures(output: OutputReader, done: Any) -> list[FailedKind]:  # noqa: ANN401 - Arrow arrays have no types
    rows = output.rows("failures", ["id", "stage", "kind", "retryable", "message"])
    rows = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=done)))
    kinds: list[FailedKind] = []
    for kind, number in Counter(_counted(rows["kind"])).most_common():
        mine = rows.filter(pc.equal(rows["kind"], kind))
        first = mine.slice(0, 1).to_pylist()[0]
        retryable = pc.sum(pc.fill_null(mine["retryable"], False)).as_py() or 0
        kinds.append(FailedKind(kind, number, first["stage"], retryable, first["id"], first["message"] or ""))
    return kinds


def _results(output: OutputReader) -> tuple[int, dict[str, dict[str, int]]]:
    rows = output.rows("analysis", ["video_id", "task", "error", "alone"])
    alone = rows.filter(pc.fill_null(rows["alone"], False))
    fate = pc.if_else(pc.is_valid(rows["error"]), "failed", "made")
    counts: dict[str, dict[str, int]] = {}
    pairs = pa.table({"task": rows["task"], "fate": fate}).group_by(["task", "fate"], use_threads=False)
    for row in pairs.aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(row["task"], {"made": 0, "failed": 0})[row["fate"]] += row["count_all"]
    return len(pc.unique(alone["video_id"])), {task: counts[task] for task in TASKS if task in counts}


def _clips(output: OutputReader) -> tuple[dict[str, int], npt.NDArray[np.float64]]:
    rows = output.rows("clips", ["duration_sec", "dropped", "error"])
    kept = rows.filter(pc.is_null(rows["dropped"]))
    failed = kept.num_rows - kept["error"].null_count
    fates = {
        "captioned": kept.num_rows - failed,
        "filtered": rows.num_rows - kept.num_rows,
        "failed": failed,
    }
    return fates, np.asarray(kept["duration_sec"].to_numpy(), np.float64)


def _seconds_of_videos(data: pa.Table) -> float:
    lengths = pc.struct_field(data["video_info"], "duration_sec")
    videos = pa.table({"video": data["video_id"], "s": lengths}).group_by("video").aggregate([("s", "max")])
    return float(pc.sum(videos["s_max"]).as_py() or 0.0)


def _verdicts(*columns: Any) -> dict[str, dict[str, int]]:  # noqa: ANN401 - as above
    counts: dict[str, Counter[str]] = {}
    for column in columns:
        verdicts = pc.list_flatten(column)
        passed = pc.struct_field(verdicts, "passed")
        fate = pc.if_else(pc.fill_null(passed, False), "passed", pc.struct_field(verdicts, "action"))
        pairs = pa.table({"check": pc.struct_field(verdicts, "check"), "fate": pc.fill_null(fate, "marked")})
        for row in pairs.group_by(["check", "fate"]).aggregate([([], "count_all")]).to_pylist():
            counts.setdefault(row["check"], Counter())[row["fate"]] += row["count_all"]
    return {check: dict(fates) for check, fates in counts.items()}


def _counted(column: Any) -> dict[str, int]:  # noqa: ANN401 - as above
    return {
        pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist() if pair["values"] is not None
    }

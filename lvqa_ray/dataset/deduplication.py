"""Deduplication of questions across videos, at the end of a run, when all records exist.

If records were compared while they stream in, the speed of endpoints would decide which of two questions is kept. Here
the ids decide, so interrupted and uninterrupted runs give the same data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.outcomes import flat
from lvqa_ray.dataset.shards import read_shard, read_whole, replace_shard, shards, write_shard
from lvqa_ray.dataset.stored_manifest import stored_manifest
from lvqa_ray.records.tables import PROVENANCE, SCHEMAS
from lvqa_ray.stages.checks.duplicates import CheckDuplicates, corpus_text
from lvqa_ray.stages.reformat import NOTHING_LEFT
from lvqa_ray.storage.paths import StoragePath

Repeats = Mapping[str, tuple[str, float]]
OF_A_DROP = ("id", "video_id", "category", "requested_category", "parsed_reasoning", "usage", "typed_answer")
"""Columns of a record that the row of a dropped question shares."""


def drop_repeated_questions(folder: StoragePath, check: CheckDuplicates, job_hash: str, run_id: str) -> None:
    """Apply the policy of the check to questions that repeat one of another video.

    Replacement rows are written before a record is removed: after a kill in between the record still counts, and the
    next call completes the work.

    Args:
        folder: The output folder, after compaction.
        check: Settings of the check.
        job_hash: Only records of this job are compared.
        run_id: Part of the names of new shards.

    Raises:
        ConfigError: A shard cannot be read.
    """
    if check.policy == "off" or not check.corpus:
        return
    repeats = check.repeated(sorted(_texts(folder, job_hash, _earlier_names(folder))))
    if not repeats:
        return
    if check.policy == "drop":
        _write_drops(folder, check, repeats, job_hash, run_id)
        mark_traces_dropped(folder, repeats)
    for shard in shards(folder, "data"):
        rows = read_whole(shard, "data")
        found = _repeats(rows, repeats, job_hash)
        if not pc.any(found).as_py():
            continue
        if check.policy == "drop":
            rows = rows.filter(pc.invert(found))
        else:
            marked = [
                row | _judged(row, check, repeats, "marked") if repeated else row
                for row, repeated in zip(rows.to_pylist(), found.to_pylist(), strict=True)
            ]
            rows = pa.Table.from_pylist(marked, schema=SCHEMAS["data"])
        if rows.num_rows:
            replace_shard(rows, shard)
        else:
            shard.unlink()


def _write_drops(folder: StoragePath, check: CheckDuplicates, repeats: Repeats, job_hash: str, run_id: str) -> None:
    """Write the rows that replace records: dropped questions, and failures of videos without remaining questions."""
    dropped: list[dict[str, Any]] = []
    for shard in shards(folder, "data"):
        rows = read_whole(shard, "data")
        dropped += rows.filter(_repeats(rows, repeats, job_hash)).to_pylist()
    videos = pa.array([row["video_id"] for row in dropped], pa.string())
    left: Counter[Any] = Counter()
    for shard in shards(folder, "data"):
        rows = read_shard(shard, ["id", "video_id", "job_hash"])
        kept = pc.and_not(pc.is_in(rows["video_id"], value_set=videos), _repeats(rows, repeats, job_hash))
        left.update(rows["video_id"].filter(kept).to_pylist())
    drops = [
        {name: row.get(name) for name in OF_A_DROP}
        | _provenance(row)
        | {"question_kind": row.get("kind")}
        | {"check": check.name, "kind": check.name, "reason": _reason(row, repeats)}
        | {"checks": _judged(row, check, repeats, "dropped")["checks"]}
        for row in dropped
    ]
    failures = {
        drop["video_id"]: {
            "id": drop["video_id"],
            "stage": check.name,
            "kind": NOTHING_LEFT,
            "attempts": 1,
            "message": f"no question is left: {drop['reason']}",
            "retryable": False,
        }
        | _provenance(drop)
        for drop in drops
        if not left[drop["video_id"]]
    }
    write_shard(folder, "drops", f"corpus-{run_id}", drops)
    write_shard(folder, "failures", f"corpus-{run_id}", failures.values())


def mark_traces_dropped(folder: StoragePath, questions: Collection[str]) -> None:
    """Record in ``traces/`` that questions are no records, so that exports and statistics leave their traces out."""
    for shard in shards(folder, "traces"):
        rows = read_whole(shard, "traces")
        gone = pc.is_in(rows["question_id"], value_set=pa.array(list(questions), pa.string()))
        if pc.any(pc.and_(gone, rows["kept"])).as_py():
            place = rows.column_names.index("kept")
            replace_shard(rows.set_column(place, rows.schema.field("kept"), pc.and_not(rows["kept"], gone)), shard)


def _earlier_names(folder: StoragePath) -> Callable[[pa.Table], pa.Array]:
    """Finds records of a video that the manifest has under another id now: a video cannot repeat itself."""
    stored = stored_manifest(folder)
    if stored is None:
        return lambda rows: pa.repeat(False, rows.num_rows)
    listed = stored[0].filter(pc.not_equal(stored[0]["fingerprint"], ""))
    ids, contents = flat(listed["id"]), flat(listed["fingerprint"])

    def earlier(rows: pa.Table) -> pa.Array:
        listed_content = pc.is_in(rows["fingerprint"], value_set=contents)
        return pc.and_not(listed_content, pc.is_in(rows["video_id"], value_set=ids))

    return earlier


def _texts(folder: StoragePath, job_hash: str, left_out: Callable[[pa.Table], pa.Array]) -> Iterator[tuple[str, str]]:
    """Ids and texts of the questions of a job's records."""
    parsed = [f"parsed_reasoning.{name}" for name in ("QUESTION", "OPTIONS", "ANSWER")]
    columns = ["id", "video_id", "fingerprint", "job_hash", *parsed]
    for shard in shards(folder, "data"):
        rows = read_shard(shard, columns)
        of_job = rows.filter(pc.equal(rows["job_hash"], job_hash))
        for row in of_job.filter(pc.invert(left_out(of_job))).to_pylist():
            question = row["parsed_reasoning"]
            yield row["id"], corpus_text(question["QUESTION"], question["OPTIONS"] or [question["ANSWER"] or ""])


def _repeats(rows: pa.Table, repeats: Repeats, job_hash: str) -> pa.Array:
    """Mask of the rows that are repeats."""
    repeated = pc.is_in(rows["id"], value_set=pa.array(list(repeats), pa.string()))
    return pc.fill_null(pc.and_(repeated, pc.equal(rows["job_hash"], job_hash)), False)


def _reason(row: Mapping[str, Any], repeats: Repeats) -> str:
    return f"it repeats {repeats[row['id']][0]}"


def _judged(row: Mapping[str, Any], check: CheckDuplicates, repeats: Repeats, action: str) -> dict[str, Any]:
    """The verdict columns of a record, with the verdict of this check added."""
    others = [verdict for verdict in row.get("checks") or [] if verdict["check"] != check.name]
    score = round(repeats[row["id"]][1], 3)
    own = {"check": check.name, "passed": False, "action": action, "reason": _reason(row, repeats), "score": score}
    failed = [name for name in row.get("failed_checks") or [] if name != check.name]
    return {"checks": [*others, own | {"tries": 0, "calls": 0}], "failed_checks": [*failed, check.name]}


def _provenance(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name, _ in PROVENANCE}  # rows of earlier releases lack some

"""Questions that repeat one of another video: found at the end of a run, when all records are there.

A comparison while records stream in would let the speed of endpoints decide which of two questions stays. Here the ids
decide, so runs that were interrupted and runs that were not give the same data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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
OF_A_DROP = ("id", "video_id", "category", "requested_category", "parsed_reasoning", "usage")
"""Columns of a record that the row of a dropped question has too."""


def drop_repeated_questions(folder: StoragePath, check: CheckDuplicates, job_hash: str, run_id: str) -> None:
    """Do what the check's policy says with the questions that repeat one of another video.

    What takes a record's place is written before the record goes: after a kill in between the record still counts,
    and the next call does the rest.

    Args:
        folder: The output folder, settled.
        check: Its settings.
        job_hash: The records to compare are those of this job.
        run_id: Names the shards that are written.

    Raises:
        ConfigError: A shard cannot be read.
    """
    if check.policy == "off" or not check.corpus:
        return
    repeats = check.repeated(sorted(_texts(folder, job_hash, _earlier_names(folder))))
    if not repeats:
        return
    if check.policy == "drop":
        _note_drops(folder, check, repeats, job_hash, run_id)
    for shard in shards(folder, "data"):
        rows = read_whole(shard, "data")
        found = _repeats(rows, repeats, job_hash)
        if not pc.any(found).as_py():
            continue
        if check.policy == "drop":
            rows = rows.filter(pc.invert(found))
        else:
            lines = [
                row | _judged(row, check, repeats, "marked") if repeated else row
                for row, repeated in zip(rows.to_pylist(), found.to_pylist(), strict=True)
            ]
            rows = pa.Table.from_pylist(lines, schema=SCHEMAS["data"])
        if rows.num_rows:
            replace_shard(rows, shard)
        else:
            shard.unlink()


def _note_drops(folder: StoragePath, check: CheckDuplicates, repeats: Repeats, job_hash: str, run_id: str) -> None:
    """Write the lines that take the place of records: of dropped questions, and of videos that have none left."""
    going: list[dict[str, Any]] = []
    for shard in shards(folder, "data"):
        rows = read_whole(shard, "data")
        going += rows.filter(_repeats(rows, repeats, job_hash)).to_pylist()
    concerned = pa.array([row["video_id"] for row in going], pa.string())
    left: Counter[Any] = Counter()
    for shard in shards(folder, "data"):
        rows = read_shard(shard, ["id", "video_id", "job_hash"])
        stay = pc.and_not(pc.is_in(rows["video_id"], value_set=concerned), _repeats(rows, repeats, job_hash))
        left.update(rows["video_id"].filter(stay).to_pylist())
    drops = [
        {name: row.get(name) for name in OF_A_DROP}
        | _provenance(row)
        | {"check": check.name, "kind": check.name, "reason": _reason(row, repeats)}
        | {"checks": _judged(row, check, repeats, "dropped")["checks"]}
        for row in going
    ]
    failures = {
        line["video_id"]: {
            "id": line["video_id"],
            "stage": check.name,
            "kind": NOTHING_LEFT,
            "attempts": 1,
            "message": f"no question is left: {line['reason']}",
            "retryable": False,
        }
        | _provenance(line)
        for line in drops
        if not left[line["video_id"]]
    }
    write_shard(folder, "drops", f"corpus-{run_id}", drops)
    write_shard(folder, "failures", f"corpus-{run_id}", failures.values())


def _earlier_names(folder: StoragePath) -> Callable[[pa.Table], Any]:
    """Tells which records are of a film that the manifest has under another id: a film does not repeat itself."""
    stored = stored_manifest(folder)
    if stored is None:
        return lambda rows: pa.repeat(False, rows.num_rows)
    listed = stored[0].filter(pc.not_equal(stored[0]["fingerprint"], ""))
    ids, contents = flat(listed["id"]), flat(listed["fingerprint"])

    def earlier(rows: pa.Table) -> Any:  # noqa: ANN401 - Arrow arrays have no types
        same_film = pc.is_in(rows["fingerprint"], value_set=contents)
        return pc.and_not(same_film, pc.is_in(rows["video_id"], value_set=ids))

    return earlier


def _texts(folder: StoragePath, job_hash: str, left_out: Callable[[pa.Table], Any]) -> Iterator[tuple[str, str]]:
    """The questions of a job's records, with their ids."""
    columns = ["id", "video_id", "fingerprint", "job_hash", "parsed_reasoning.QUESTION", "parsed_reasoning.OPTIONS"]
    for shard in shards(folder, "data"):
        rows = read_shard(shard, columns)
        of_job = rows.filter(pc.equal(rows["job_hash"], job_hash))
        for row in of_job.filter(pc.invert(left_out(of_job))).to_pylist():
            asked = row["parsed_reasoning"]
            yield row["id"], corpus_text(asked["QUESTION"], asked["OPTIONS"])


def _repeats(rows: pa.Table, repeats: Repeats, job_hash: str) -> Any:  # noqa: ANN401 - Arrow arrays have no types
    """Which rows are repeats."""
    repeated = pc.is_in(rows["id"], value_set=pa.array(list(repeats), pa.string()))
    return pc.fill_null(pc.and_(repeated, pc.equal(rows["job_hash"], job_hash)), False)


def _reason(row: Mapping[str, Any], repeats: Repeats) -> str:
    return f"it repeats {repeats[row['id']][0]}"


def _judged(row: Mapping[str, Any], check: CheckDuplicates, repeats: Repeats, action: str) -> dict[str, Any]:
    """The columns of a record that tell its verdicts, with the one of this check set."""
    others = [verdict for verdict in row.get("checks") or [] if verdict["check"] != check.name]
    score = round(repeats[row["id"]][1], 3)
    own = {"check": check.name, "passed": False, "action": action, "reason": _reason(row, repeats), "score": score}
    failed = [name for name in row.get("failed_checks") or [] if name != check.name]
    return {"checks": [*others, own | {"tries": 0, "calls": 0}], "failed_checks": [*failed, check.name]}


def _provenance(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name, _ in PROVENANCE}  # an earlier release lacks some

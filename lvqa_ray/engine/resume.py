"""What is done already, and what a later outcome has replaced."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.engine.tables import read_shard, replace_shard, shards
from lvqa_ray.records import Video
from lvqa_ray.records.tables import SCHEMAS, TableName

VIDEO_ID: Mapping[TableName, str] = {"data": "video_id", "clips": "video_id", "failures": "id"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a video ended: where it stands now, and under which job and file."""

    run_id: str
    job_hash: str
    fingerprint: str
    failed: bool
    retryable: bool = False


def outcomes(folder: Path) -> dict[str, Outcome]:
    """The latest outcome of every video in an output folder.

    Raises:
        ConfigError: A shard cannot be read.
    """
    latest: dict[str, Outcome] = {}
    order: tuple[TableName, TableName] = ("failures", "data")
    for table in order:
        columns = [
            VIDEO_ID[table],
            "run_id",
            "job_hash",
            "fingerprint",
            *(["retryable"] if table == "failures" else []),
        ]
        for shard in shards(folder, table):
            for row in read_shard(shard, columns).to_pylist():
                outcome = Outcome(
                    run_id=row["run_id"],
                    job_hash=row["job_hash"],
                    fingerprint=row["fingerprint"],
                    failed=table == "failures",
                    retryable=row.get("retryable", False),
                )
                # Run ids begin with the time; at a tie the record, read last, wins.
                if row[VIDEO_ID[table]] not in latest or outcome.run_id >= latest[row[VIDEO_ID[table]]].run_id:
                    latest[row[VIDEO_ID[table]]] = outcome
    return latest


def remaining(videos: Sequence[Video], done: Mapping[str, Outcome], job_hash: str) -> list[Video]:
    """The videos that need work: no outcome, one of another job or file, or a failure that a rerun may mend."""

    def is_done(video: Video) -> bool:
        outcome = done.get(video.id)
        return (
            outcome is not None
            and (outcome.job_hash, outcome.fingerprint) == (job_hash, video.fingerprint)
            and not (outcome.failed and outcome.retryable)
        )

    return [video for video in videos if not is_done(video)]


def settle(folder: Path, run_id: str, rows_per_shard: int) -> None:
    """Take out what a later outcome replaced, and join small shards.

    New shards are complete before an old one goes, so a kill in between leaves repeated lines at most, and the next
    call removes them.
    """
    latest = outcomes(folder)
    for table in SCHEMAS:
        current = set()
        for video_id, outcome in latest.items():
            if outcome.failed == (table == "failures") or table == "clips":
                current.add((video_id, outcome.run_id))
        _settle_table(folder, table, current, run_id, rows_per_shard)


def _settle_table(
    folder: Path, table: TableName, current: set[tuple[str, str]], run_id: str, rows_per_shard: int
) -> None:

    seen: set[tuple[str, ...]] = set()
    kept: list[tuple[Path, pa.Table, bool]] = []
    for shard in shards(folder, table):
        rows = read_shard(shard)
        keep = [
            _first(row, table, seen) and (row[VIDEO_ID[table]], row["run_id"]) in current
            for row in rows.select(["id", VIDEO_ID[table], "run_id"]).to_pylist()
        ]
        whole = all(keep) and rows.num_rows >= rows_per_shard // 2
        kept.append((shard, rows.filter(pa.array(keep, pa.bool_())), whole))
    loose = [(shard, rows) for shard, rows, whole in kept if not whole]
    if len(loose) <= 1 and all(rows.num_rows == pq.read_metadata(shard).num_rows for shard, rows in loose):
        return
    joined = pa.concat_tables([rows for _, rows in loose]).combine_chunks()
    for start in range(0, joined.num_rows, rows_per_shard):
        # A name of its own: one that an old shard bears would be deleted with it below.
        name = f"settled-{run_id}-{uuid.uuid4().hex[:8]}.parquet"
        replace_shard(joined.slice(start, rows_per_shard), folder / table / name)
    for shard, _ in loose:
        shard.unlink(missing_ok=True)


def _first(row: Mapping[str, str], table: TableName, seen: set[tuple[str, ...]]) -> bool:
    key = (row["id"], row["run_id"], table)
    return key not in seen and not seen.add(key)  # type: ignore[func-returns-value]

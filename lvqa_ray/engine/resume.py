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
    input_hash: str
    failed: bool
    retryable: bool = False


def outcomes(folder: Path) -> dict[str, Outcome]:
    """The latest outcome of every video in an output folder.

    Raises:
        ConfigError: A shard cannot be read.
    """
    latest = _latest(folder, "failures")
    for video_id, record in _latest(folder, "data").items():
        # Run ids begin with the time; at a tie the record wins.
        if video_id not in latest or record.run_id >= latest[video_id].run_id:
            latest[video_id] = record
    return latest


def _latest(folder: Path, table: TableName) -> dict[str, Outcome]:
    latest: dict[str, Outcome] = {}
    failed = table == "failures"
    columns = [VIDEO_ID[table], "run_id", "job_hash", "fingerprint", "input_hash", *(["retryable"] if failed else [])]
    for shard in shards(folder, table):
        for row in read_shard(shard, columns).to_pylist():
            video_id = row.pop(VIDEO_ID[table])
            if video_id not in latest or row["run_id"] >= latest[video_id].run_id:
                latest[video_id] = Outcome(**row, failed=failed)
    return latest


def remaining(
    videos: Sequence[Video], done: Mapping[str, Outcome], job_hash: str, *, retry_failures: bool = False
) -> list[Video]:
    """The videos that need work: no outcome, one of another job or file, or a failure that a rerun may mend.

    Args:
        videos: Those of the manifest.
        done: What became of them so far.
        job_hash: Of the job to be run.
        retry_failures: Take every failure for one that a rerun may mend.
    """

    def is_done(video: Video) -> bool:
        outcome = done.get(video.id)
        return (
            outcome is not None
            and (outcome.job_hash, outcome.fingerprint) == (job_hash, video.fingerprint)
            and outcome.input_hash == video.input_hash
            and not (outcome.failed and (outcome.retryable or retry_failures))
        )

    return [video for video in videos if not is_done(video)]


def settle(folder: Path, run_id: str, rows_per_shard: int) -> None:
    """Take out what a later outcome replaced, and join small shards.

    New shards are complete before an old one goes, so a kill in between leaves repeated lines at most, and the next
    call removes them.
    """
    records, failures = _latest(folder, "data"), _latest(folder, "failures")
    kept: dict[TableName, set[tuple[str, str]]] = {"data": set(), "clips": set(), "failures": set()}
    for video_id in records.keys() | failures.keys():
        record, failure = records.get(video_id), failures.get(video_id)
        if failure and (not record or record.run_id < failure.run_id):
            kept["failures"].add((video_id, failure.run_id))
        # A failure that may pass takes no earlier record away: that one was paid for.
        if record and (not failure or failure.run_id <= record.run_id or failure.retryable):
            kept["data"].add((video_id, record.run_id))
            kept["clips"].add((video_id, record.run_id))
        elif failure:
            kept["clips"].add((video_id, failure.run_id))
    for table, current in kept.items():
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
    # Shards of an earlier release may lack a column, which is then null.
    now = SCHEMAS[table].empty_table()
    same = pa.concat_tables([now, *(rows for _, rows in loose)], promote_options="default").select(now.column_names)
    joined = same.combine_chunks()
    for start in range(0, joined.num_rows, rows_per_shard):
        # A name of its own: one that an old shard bears would be deleted with it below.
        name = f"settled-{run_id}-{uuid.uuid4().hex[:8]}.parquet"
        replace_shard(joined.slice(start, rows_per_shard), folder / table / name)
    for shard, _ in loose:
        shard.unlink(missing_ok=True)


def _first(row: Mapping[str, str], table: TableName, seen: set[tuple[str, ...]]) -> bool:
    key = (row["id"], row["run_id"], table)
    return key not in seen and not seen.add(key)  # type: ignore[func-returns-value]

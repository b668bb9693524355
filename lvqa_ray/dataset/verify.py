"""Verification of an output: every video of the manifest has one outcome, and no clip of a record is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvqa_ray.dataset.current_rows import (
    FirstSeen,
    current_outcomes,
    highest_number,
    key_columns,
    match_current_run,
    row_groups,
    row_numbers,
)
from lvqa_ray.dataset.outcomes import find, flat, numbers, outcomes
from lvqa_ray.dataset.shards import damaged, shards
from lvqa_ray.dataset.stored_manifest import stored_manifest
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.earlier import fits
from lvqa_ray.records.tables import SCHEMAS, VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath, readable

IDS_SHOWN = 3
"""Maximum number of ids in a message."""
AGAIN = "run the same command again"


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Result of a verification.

    Attributes:
        videos: Videos of the manifest of the last run.
        records: Videos with a record made from this file and with these settings; or with analysis results, if no
            questions were requested.
        alone: How many of them have analysis results only.
        lacking: How many of them lack the result of a task.
        failures: Videos that failed with this file and these settings, by kind, most frequent first.
        retryable: How many of the failed and lacking videos may succeed in a rerun.
        clips: Rows in clips/ of all these videos.
        kept: Earlier records that are kept beside a retryable failure.
        others: Records of videos that are not in this manifest.
        shards: Number of Parquet files.
        problems: Problems, one sentence each with its remedy.
    """

    videos: int = 0
    records: int = 0
    alone: int = 0
    lacking: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    retryable: int = 0
    clips: int = 0
    kept: int = 0
    others: int = 0
    shards: int = 0
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Videos that failed."""
        return sum(self.failures.values())

    @property
    def unfinished(self) -> int:
        """Videos with no outcome yet."""
        return self.videos - self.records - self.failed

    @property
    def ok(self) -> bool:
        """Whether every video has an outcome and there are no problems."""
        return not self.problems and not self.unfinished

    @property
    def line(self) -> str:
        """The result in one line."""
        analyzed = f"{self.alone} analyzed + " if self.alone else ""
        each = f"{self.records - self.alone} with records + {analyzed}{self.failed} failed"
        count = f"{each} = {self.records + self.failed} of {self.videos} videos"
        if self.ok:
            more = f"; {self.kept} failed videos have an earlier record" if self.kept else ""
            more += f"; {self.others} records of other videos" if self.others else ""
            more += f"; {self.lacking} videos lack a result in analysis/" if self.lacking else ""
            checks = f"no duplicate ids, {self.shards} shards readable, {self.clips} clips complete"
            return f"Verified: {count}, {checks}{more}."
        left = (f"{self.unfinished} videos are not finished: {AGAIN}.",) if self.unfinished else ()
        return f"Verification failed: {count}. {' '.join((*left, *self.problems))}"


def verify(folder: StoragePath, *, since: float | None = None, run_id: str = "") -> VerifyResult:
    """Verify an output, shard by shard and with little memory.

    Args:
        folder: The output folder.
        since: Read whole only shards that changed since this time (s since the epoch, by the clock of the store), and
            only the key columns of the others; ``None`` reads all shards whole.
        run_id: Shards of this run are read whole in any case.
    """
    broken = [
        problem
        for table in SCHEMAS
        for shard in shards(folder, table)
        for problem in _shard(shard, table, None if run_id and run_id in shard.name else since)
    ]
    count = sum(len(shards(folder, table)) for table in SCHEMAS)
    try:
        stored = stored_manifest(folder)
    except ConfigError as error:
        return VerifyResult(shards=count, problems=(*broken, str(error)))
    if stored is None:
        return VerifyResult(shards=count, problems=(*broken, f"There is no manifest of a run in {folder}: {AGAIN}."))
    manifest, job_hash = stored
    if broken:
        return VerifyResult(videos=manifest.num_rows, shards=count, problems=tuple(broken))
    try:
        return _verdict(folder, manifest, job_hash, count)
    except (ConfigError, pa.ArrowException, OSError) as error:  # in a shard that was not read whole
        return VerifyResult(videos=manifest.num_rows, shards=count, problems=(" ".join(str(error).split()),))


def _verdict(folder: StoragePath, manifest: pa.Table, job_hash: str, count: int) -> VerifyResult:
    ended = _of_manifest(outcomes(folder), manifest, job_hash)
    failed = ended.filter(ended["failed"])
    kinds = flat(failed["kind"].cast(pa.string())).value_counts().to_pylist()
    current = current_outcomes(folder)
    clips, problems = _clips(folder, current["data"], ended)
    records = current["data"]["id"]
    listed = numbers(pc.is_in(records, value_set=flat(manifest["id"])))
    of_failed = numbers(pc.is_in(records, value_set=flat(failed["id"])))
    return VerifyResult(
        videos=manifest.num_rows,
        records=ended.num_rows - failed.num_rows,
        alone=int(numbers(ended["alone"]).sum()),
        lacking=int((numbers(pc.is_valid(ended["kind"].cast(pa.string()))) & ~numbers(ended["failed"])).sum()),
        failures={row["values"]: row["counts"] for row in sorted(kinds, key=lambda row: -row["counts"])},
        retryable=int(numbers(ended["retryable"]).sum()),
        clips=clips,
        kept=int(of_failed.sum()),
        others=int((~listed).sum()),
        shards=count,
        problems=(*_repeats(folder, current), *problems),
    )


def _of_manifest(done: pa.Table, manifest: pa.Table, job_hash: str) -> pa.Table:
    """The outcomes of the videos of a manifest, made from the same files with the same settings."""
    at = find(done["id"], manifest["id"])
    mine = done.filter(pa.array(at >= 0))
    listed = manifest.take(pa.array(at[at >= 0]))
    same = pc.equal(mine["job_hash"].cast(pa.string()), job_hash)
    for name in ("fingerprint", "input_hash"):
        same = pc.and_(same, pc.equal(mine[name], listed[name]))
    return mine.filter(same)


def _shard(shard: StoragePath, table: TableName, since: float | None) -> Iterator[str]:
    """Problems of one shard."""
    remedy = f"move it away, and {AGAIN}: its videos are processed again, and paid replies come from the cache."
    try:
        file = pq.ParquetFile(readable(shard))
        there = file.schema_arrow
        wrong = [
            field.name
            for field in SCHEMAS[table]
            if field.name in there.names and not fits(there.field(field.name).type, field.type)
        ]
        wrong += [name for name in (VIDEO_ID[table], "run_id") if name not in there.names]
        if wrong:
            yield f"{shard} has missing or wrong columns for {table}/ ({', '.join(wrong)}); {remedy}"
        elif since is None or shard.stat().st_mtime >= since:
            for _ in file.iter_batches(1000):
                pass
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        if damaged(error):
            yield f"{shard} is not a readable shard ({why}); {remedy}"
        else:
            yield f"{shard} could not be read ({why}); {AGAIN}."


def _repeats(folder: StoragePath, current: Mapping[TableName, pa.Table]) -> Iterator[str]:
    """Tables with duplicate rows, or with rows that a later outcome replaced."""
    for table in ("data", "failures", "drops", "subtitles", "analysis", "traces"):
        once = FirstSeen(highest_number(folder, table, current[table]))
        too_many: list[str] = []
        for _, rows in row_groups(folder, table, key_columns(table)):
            at = match_current_run(rows, table, current[table])
            good = at >= 0
            good[good] = once.first(at[good], row_numbers(rows, table)[good])
            too_many += rows[VIDEO_ID[table]].filter(pa.array(~good)).to_pylist()
        if too_many:
            yield (
                f"{len(too_many)} rows of {table}/ are duplicates or outdated ({_some(too_many)}): {AGAIN}, which "
                "removes them."
            )


def _clips(folder: StoragePath, records: pa.Table, ended: pa.Table) -> tuple[int, list[str]]:
    """The number of clips of videos with an outcome, and the records whose clips are incomplete."""
    seen = FirstSeen(highest := highest_number(folder, "clips", records))
    captions, gaps, good = (np.zeros(records.num_rows, dtype=np.int64) for _ in range(3))
    total = 0
    for group, rows in row_groups(folder, "clips", ["video_id", "run_id", "index", "error", "dropped"]):
        total += int((find(rows["video_id"], ended["id"]) >= 0).sum())
        at = match_current_run(rows, "clips", records)
        mine = at >= 0
        has_caption = np.concatenate([_has_caption(shard) for shard, _ in group])
        has_error = numbers(pc.is_valid(rows["error"]))
        np.add.at(captions, at[mine], has_caption[mine])
        np.add.at(gaps, at[mine], has_error[mine])
        # A clip has either a caption or a reason for its absence.
        valid = has_caption ^ (has_error | numbers(pc.is_valid(rows["dropped"])))
        np.add.at(good, at[mine], (valid[mine] & seen.first(at[mine], row_numbers(rows, "clips")[mine])))
    whole = np.ones(records.num_rows, dtype=np.bool_)
    for _, rows in row_groups(folder, "data", ["video_id", "run_id", "num_clips", "gaps"]):
        at = match_current_run(rows, "data", records)
        mine = at >= 0
        matches = numbers(pc.fill_null(rows["num_clips"], 0)) == captions[at]
        matches &= numbers(pc.fill_null(pc.list_value_length(rows["gaps"]), 0)) == gaps[at]
        np.logical_and.at(whole, at[mine], matches[mine])
    whole &= (highest >= 0) & (good == highest + 1)
    lacking = records["id"].filter(pa.array(~whole)).to_pylist()
    if not lacking:
        return total, []
    remedy = f"move the shards of data/ or analysis/ with these records away, and {AGAIN}"
    return total, [f"{len(lacking)} records have missing or extra rows in clips/ ({_some(lacking)}): {remedy}."]


def _has_caption(shard: StoragePath) -> npt.NDArray[np.bool_]:
    """For each row of a shard of clips, whether it has a caption; reads the texts only if the footer has no counts."""
    file = pq.ParquetFile(readable(shard))
    parts = []
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        leaf = next(at for at in range(group.num_columns) if group.column(at).path_in_schema == "caption")
        statistics = group.column(leaf).statistics
        if statistics is not None and statistics.has_null_count and statistics.null_count == 0:
            parts.append(np.ones(group.num_rows, dtype=np.bool_))
        else:
            parts.append(numbers(pc.is_valid(file.read_row_group(number, columns=["caption"])["caption"])))
    return np.concatenate([np.zeros(0, dtype=np.bool_), *parts])


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:IDS_SHOWN]) + (", ..." if len(ids) > IDS_SHOWN else "")

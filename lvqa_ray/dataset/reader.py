"""Output reader for reports: the current rows of an output, ``run.json``, the manifest and the job."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvqa_ray.config import Job
from lvqa_ray.dataset.current_rows import current_outcomes, match_current_run
from lvqa_ray.dataset.shards import scan
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.segments import Segments
from lvqa_ray.records import Turn
from lvqa_ray.records.tables import SCHEMAS, VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath, readable


@dataclass(frozen=True)
class OutputReader:
    """An output folder.

    Attributes:
        folder: The output folder.

    Raises:
        ConfigError: A shard cannot be read.
    """

    folder: StoragePath

    @property
    def name(self) -> str:
        """Name of the folder."""
        path = self.folder.absolute() if isinstance(self.folder, Path) else self.folder
        return str(path).rstrip("/").rpartition("/")[2]

    @cached_property
    def run(self) -> Mapping[str, Any]:
        """``run.json``; empty where it cannot be read."""
        try:
            run = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return run if isinstance(run, dict) else {}

    @cached_property
    def job(self) -> Job | None:
        """The job of the last run; ``None`` if it is missing or of an incompatible release."""
        try:
            return Job.read((self.folder / "job.yaml").read_text(encoding="utf-8"), where="job.yaml")
        except (ConfigError, OSError, UnicodeDecodeError):
            return None

    @property
    def journal(self) -> Segments:
        """The cache of paid replies, which may be missing."""
        return open_segments(self.folder / "cache", make=False)

    def videos(self) -> int | None:
        """Number of videos of the last run; ``None`` if it is not recorded."""
        if self._manifest is not None:
            return int(self._manifest.metadata.num_rows)
        count = (self.run.get("summary") or {}).get("videos")
        return count if isinstance(count, int) else None

    def conversations(self, videos: Collection[str]) -> Mapping[str, tuple[Turn, ...]]:
        """The conversations of some videos in the manifest, for the videos that have one."""
        columns = ["id", "conversation"]
        if self._manifest is None or not {*columns} <= {*self._manifest.schema_arrow.names}:  # of an earlier release
            return {}
        found: dict[str, tuple[Turn, ...]] = {}
        wanted = pa.array(list(videos), pa.string())
        for batch in self._manifest.iter_batches(columns=columns):
            rows = batch.filter(pc.and_(pc.is_valid(batch["conversation"]), pc.is_in(batch["id"], value_set=wanted)))
            for row in rows.to_pylist():
                turns = json.loads(row["conversation"])
                found[row["id"]] = tuple(Turn(speaker=speaker, value=value) for speaker, value in turns)
        return found

    def rows(self, table: TableName, columns: Sequence[str], videos: Collection[str] | None = None) -> pa.Table:
        """Some columns of the current rows: those of the run with the current outcome of their video.

        Args:
            table: Which table.
            columns: Which columns; null in shards of earlier releases that lack them.
            videos: Only rows of these videos; all, if not given.
        """
        parts = list(self.batches(table, columns, videos))
        return pa.Table.from_batches(parts, schema=pa.schema([SCHEMAS[table].field(name) for name in columns]))

    def batches(
        self, table: TableName, columns: Sequence[str], videos: Collection[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Like `rows`, in batches of some thousand rows; one field of a struct is written ``column.part``."""
        current = self._current and self._current[table]
        ident = VIDEO_ID[table]
        moves = "video" in columns
        wanted = None if videos is None else pa.array(sorted(videos), pa.string())
        read = list(dict.fromkeys([*columns, ident, "run_id", *(["fingerprint"] if moves else [])]))
        for batch in scan(self.folder, table, read):
            kept = batch
            if wanted is not None:
                kept = kept.filter(pc.is_in(kept[ident], value_set=wanted))
            if current is not None and kept.num_rows:
                kept = kept.filter(pa.array(match_current_run(kept, table, current) >= 0))
            if kept.num_rows:
                yield (self._where_now(kept, ident) if moves else kept).select(
                    list(dict.fromkeys(name.partition(".")[0] for name in columns))
                )

    def _where_now(self, rows: pa.RecordBatch, ident: str) -> pa.RecordBatch:
        """Rows with the location of the video in the last manifest, if the content is the same."""
        if self._places is None:
            return rows
        at = pc.index_in(rows[ident], value_set=self._places["id"])
        same = pc.fill_null(pc.equal(self._places["fingerprint"].take(at), rows["fingerprint"]), False)
        now = pc.if_else(same, self._places["video"].take(at), rows["video"])
        return rows.set_column(rows.schema.get_field_index("video"), "video", now)

    @cached_property
    def _manifest(self) -> pq.ParquetFile | None:
        path = self.folder / "manifest.parquet"
        return pq.ParquetFile(readable(path)) if path.exists() else None

    @cached_property
    def _places(self) -> Mapping[str, Any] | None:
        if self._manifest is None:
            return None
        rows = self._manifest.read(columns=["id", "video", "fingerprint"])
        return {name: rows[name].combine_chunks() for name in rows.column_names}

    @cached_property
    def _current(self) -> Mapping[TableName, pa.Table] | None:
        """By table, the run with the current rows of each video; ``None`` if there was only one run."""
        runs: set[str] = set()
        for table in SCHEMAS:
            for batch in scan(self.folder, table, ["run_id"]):
                runs.update(batch["run_id"].unique().to_pylist())
        return current_outcomes(self.folder) if len(runs) > 1 else None


def opened(folder: StoragePath) -> OutputReader:
    """Open the output of a run.

    Raises:
        ConfigError: The folder holds no output.
    """
    if not any((folder / name).exists() for name in ("run.json", *SCHEMAS)):
        raise ConfigError(f"{folder} holds no output; give the output folder of a run.")
    return OutputReader(folder)

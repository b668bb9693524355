"""What a run left behind, as a report reads it: the rows that stand, what the run wrote about itself, and its job."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from lvqa_ray.config import Job
from lvqa_ray.dataset.current_outcomes import current_outcomes
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.segments import LocalSegments, Segments
from lvqa_ray.records import Turn
from lvqa_ray.records.earlier import stored_columns, with_current_columns
from lvqa_ray.records.tables import EMPTY_SHARD, SCHEMAS, VIDEO_ID, TableName

FOOTERS_AT_ONCE = 16
"""Shards whose columns are read at the same time; in a bucket each takes a while."""


class Folder(Protocol):
    """A folder or file, of a disk or of a store: what a report asks of a `pathlib.Path`."""

    def __truediv__(self, name: str, /) -> Self:
        """What is below it."""
        ...

    @property
    def name(self) -> str:
        """Its last part."""
        ...

    def exists(self) -> bool:
        """Whether it is there."""
        ...

    def glob(self, pattern: str, /) -> Iterator[Self]:
        """What is right below it and named so."""
        ...

    def read_text(self, encoding: str = "utf-8") -> str:
        """Its content."""
        ...

    def write_bytes(self, data: bytes, /) -> object:
        """Put a file in its place."""
        ...


@dataclass(frozen=True)
class OutputReader:
    """An output folder.

    Attributes:
        folder: Where it is.
        segments: The journal of paid answers, which may be missing; if not given, the one on the disk.

    Raises:
        ConfigError: A shard cannot be read.
    """

    folder: Folder
    segments: Segments | None = None

    @property
    def name(self) -> str:
        """Its name."""
        path = self.folder.absolute() if isinstance(self.folder, Path) else self.folder
        return str(path).rstrip("/").rpartition("/")[2]

    @cached_property
    def run(self) -> Mapping[str, Any]:
        """``run.json``; empty where it cannot be read."""
        try:
            said = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    @cached_property
    def job(self) -> Job | None:
        """The job of the last run; ``None`` where it is not there or belongs to another release."""
        try:
            return Job.read((self.folder / "job.yaml").read_text(encoding="utf-8"), where="job.yaml")
        except (ConfigError, OSError, UnicodeDecodeError):
            return None

    @property
    def journal(self) -> Segments:
        """The journal of paid answers, which may be missing."""
        return self.segments or LocalSegments(Path(str(self.folder)) / "cache", make=False)

    def videos(self) -> int | None:
        """How many videos the last run was about; ``None`` where it did not write that down."""
        path = self.folder / "manifest.parquet"
        if path.exists():
            return int(_dataset([path]).count_rows())
        said = (self.run.get("summary") or {}).get("videos")
        return said if isinstance(said, int) else None

    def conversations(self, videos: Collection[str]) -> Mapping[str, tuple[Turn, ...]]:
        """What the manifest says along with some videos: of those that bring turns of their own, these."""
        path = self.folder / "manifest.parquet"
        if not path.exists():
            return {}
        manifest = _dataset([path])
        if "conversation" not in manifest.schema.names:  # of an earlier release
            return {}
        wanted = pc.is_valid(ds.field("conversation")) & ds.field("id").isin(pa.array(list(videos), pa.string()))
        said = manifest.to_table(columns=["id", "conversation"], filter=wanted)
        turns = map(json.loads, said["conversation"].to_pylist())
        return {
            ident: tuple(Turn(speaker=speaker, value=value) for speaker, value in pairs)
            for ident, pairs in zip(said["id"].to_pylist(), turns, strict=True)
        }

    def rows(self, table: TableName, columns: Sequence[str], videos: Collection[str] | None = None) -> pa.Table:
        """Some columns of the rows that stand: those of the run whose outcome stands for their video.

        Args:
            table: Which table.
            columns: Which columns; those that a shard of an earlier release lacks are null in it.
            videos: Only rows of these videos; all, if not given.
        """
        parts = list(self.batches(table, columns, videos))
        return pa.Table.from_batches(parts, schema=pa.schema([SCHEMAS[table].field(name) for name in columns]))

    def batches(
        self, table: TableName, columns: Sequence[str], videos: Collection[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The same, some thousand rows at a time."""
        current = self._current[table]
        ident = VIDEO_ID[table]
        moves = "video" in columns
        wanted = None if videos is None else pa.array(sorted(videos), pa.string())
        read = list(dict.fromkeys([*columns, ident, "run_id", *(["fingerprint"] if moves else [])]))
        for batch in self._scan(table, read):
            kept = batch
            if wanted is not None:
                kept = kept.filter(pc.is_in(kept[ident], value_set=wanted))
            if current is not None and kept.num_rows:
                place = pc.index_in(kept[ident], value_set=current["video"].combine_chunks())
                kept = kept.filter(pc.equal(current["run"].take(place).combine_chunks(), kept["run_id"]))
            if kept.num_rows:
                yield (self._where_now(kept, ident) if moves else kept).select(list(columns))

    def _where_now(self, rows: pa.RecordBatch, ident: str) -> pa.RecordBatch:
        """Rows with the location that the last manifest gives their video, where it is the same film."""
        if self._places is None:
            return rows
        at = pc.index_in(rows[ident], value_set=self._places["id"])
        same = pc.fill_null(pc.equal(self._places["fingerprint"].take(at), rows["fingerprint"]), False)
        now = pc.if_else(same, self._places["video"].take(at), rows["video"])
        return rows.set_column(rows.schema.get_field_index("video"), "video", now)

    @cached_property
    def _places(self) -> Mapping[str, Any] | None:
        path = self.folder / "manifest.parquet"
        if not path.exists():
            return None
        told = _dataset([path]).to_table(columns=["id", "video", "fingerprint"])
        return {name: told[name].combine_chunks() for name in told.column_names}

    @cached_property
    def _current(self) -> Mapping[TableName, pa.Table | None]:
        """Of every table, the run whose rows stand for each video; ``None`` where there was but one run."""
        runs = {run for table in SCHEMAS for run in self._all(table, ["run_id"])["run_id"].unique().to_pylist()}
        if len(runs) < 2:
            return dict.fromkeys(SCHEMAS)
        failures = self._all("failures", ["id", "run_id", "retryable"])
        last = self._latest("failures").join(failures, ["id", "run_id"]).group_by(["id", "run_id"])
        tries = last.aggregate([("retryable", "max")]).rename_columns(["id", "run_id", "retryable"])
        may_pass = pc.fill_null(tries["retryable"], False)
        tables = current_outcomes(self._records(), tries.set_column(2, "retryable", may_pass))
        return {name: rows.rename_columns(["video", "run"]) for name, rows in tables.items()}

    def _records(self) -> pa.Table:
        """The latest run of each video that has records, or, if it was asked no questions, results."""
        told = self._all("analysis", ["video_id", "run_id", "alone"])
        alone = told.filter(told["alone"]).select(["video_id", "run_id"]).rename_columns(["id", "run_id"])
        rows = pa.concat_tables([self._latest("data"), alone]).group_by("id").aggregate([("run_id", "max")])
        return rows.select(["id", "run_id_max"]).rename_columns(["id", "run_id"])

    def _latest(self, table: TableName) -> pa.Table:
        """The latest run of each video that has rows in a table; run ids begin with the time."""
        rows = self._all(table, [VIDEO_ID[table], "run_id"]).group_by(VIDEO_ID[table]).aggregate([("run_id", "max")])
        return rows.select([VIDEO_ID[table], "run_id_max"]).rename_columns(["id", "run_id"])

    def _all(self, table: TableName, columns: Sequence[str]) -> pa.Table:
        schema = pa.schema([SCHEMAS[table].field(name) for name in columns])
        return pa.Table.from_batches(list(self._scan(table, columns)), schema=schema)

    def _scan(self, table: TableName, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        shards = sorted((one for one in (self.folder / table).glob("*.parquet") if one.name != EMPTY_SHARD), key=str)
        if not shards:
            return
        schema = pa.schema([SCHEMAS[table].field(name) for name in columns])
        try:
            for part in _of_one_schema(_dataset(shards)):
                stored = stored_columns(columns, part.schema.names)
                for batch in part.to_batches(columns=stored):
                    rows = pa.Table.from_batches([batch])
                    yield from with_current_columns(rows, schema.names, schema).to_batches()
        except (pa.ArrowException, OSError) as error:
            why = " ".join(str(error).split())
            raise ConfigError(f"{self.folder / table} holds a shard that cannot be read ({why}).") from None


def _dataset(shards: Sequence[Any]) -> Any:  # noqa: ANN401 - Arrow has no types
    if all(isinstance(shard, Path) for shard in shards):
        return ds.dataset([str(shard) for shard in shards], format="parquet")
    store = shards[0].filesystem
    names = [str(shard).partition("://")[2] for shard in shards]
    return ds.dataset(names, format="parquet", filesystem=store)


def _of_one_schema(shards: Any) -> Iterator[Any]:  # noqa: ANN401 - as above
    """The shards of a data set in their order, divided where a shard of another release begins."""
    fragments = list(shards.get_fragments())
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        schemas = list(pool.map(lambda fragment: fragment.physical_schema, fragments))
    start = 0
    for end in range(1, len(fragments) + 1):
        if end == len(fragments) or not schemas[end].equals(schemas[start]):
            yield ds.FileSystemDataset(fragments[start:end], schemas[start], shards.format, shards.filesystem)
            start = end


def opened(folder: Folder, segments: Segments | None = None) -> OutputReader:
    """The output of a run.

    Raises:
        ConfigError: There is none.
    """
    if not any((folder / name).exists() for name in ("run.json", *SCHEMAS)):
        raise ConfigError(f"{folder} holds no output; give the output folder of a run.")
    return OutputReader(folder, segments)

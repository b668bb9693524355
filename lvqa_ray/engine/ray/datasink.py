"""Ray Data sink: writes rows into the Parquet shards of the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ray.data import Datasink
from ray.data.block import Block
from ray.data.datasource import WriteResult

from lvqa_ray.dataset.shards import write_shard
from lvqa_ray.engine.ray.metrics import count_rows
from lvqa_ray.engine.row_codec import rows_of
from lvqa_ray.records import AnalysisRecord, CaptionedClip, Failure, FinishedVideo
from lvqa_ray.records.table_rows import (
    analysis_rows,
    clip_row,
    data_row,
    drop_row,
    failure_row,
    subtitle_rows,
    trace_rows,
)
from lvqa_ray.records.tables import TableName
from lvqa_ray.storage.paths import StoragePath

if TYPE_CHECKING:
    from ray.data._internal.execution.interfaces import TaskContext

BUNDLES_PER_WRITE = 16
WRITE_ORDER: tuple[TableName, ...] = ("subtitles", "clips", "traces", "drops", "analysis", "data", "failures")
"""Order in which the tables are written: the outcome of a video comes last, when its other rows are written."""


class TableSink(Datasink[str]):
    """Writes records, clips, failures and dropped questions into shards, one per table and task.

    All records of a video arrive in one row and are written into one shard, so the output never has only some of them.
    The name of a shard holds run, pass and task, so a repeated task overwrites its earlier shards.

    Args:
        folder: The output folder.
        provenance: Columns that are the same in all rows of the run, see `provenance_of`.
        shard: Prefix of the names of the shards of this pass.

    Attributes:
        broken: Why rows could not be written, set at the end of the pass; empty if all were.
    """

    def __init__(self, folder: StoragePath, provenance: Mapping[str, str], shard: str) -> None:
        self._folder = folder
        self._provenance = dict(provenance)
        self._shard = shard
        self.broken = ""

    @property
    def min_rows_per_write(self) -> int:
        """Bundles, mostly one per video, to collect before a write."""
        return BUNDLES_PER_WRITE

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> str:
        """Write the rows of one task; returns the reason if it cannot, else an empty string.

        It does not raise: Ray would silently drop the rows, and their videos would count as lost with a worker.
        """
        lines: dict[TableName, list[dict[str, Any]]] = {table: [] for table in WRITE_ORDER}
        for block in blocks:
            for row in rows_of(block):
                match row:
                    case CaptionedClip():
                        lines["clips"].append(clip_row(row) | self._provenance)
                        lines["subtitles"] += [line | self._provenance for line in subtitle_rows(row.clip)]
                    case FinishedVideo():
                        lines["data"] += [data_row(record) | self._provenance for record in row.records]
                        lines["traces"] += [line | self._provenance for line in trace_rows(row)]
                        lines["drops"] += [drop_row(drop, row.video) | self._provenance for drop in row.drops]
                        if row.failure:
                            lines["failures"].append(failure_row(row.failure) | self._provenance)
                    case AnalysisRecord():
                        lines["analysis"] += [line | self._provenance for line in analysis_rows(row)]
                    case Failure():
                        lines["failures"].append(failure_row(row) | self._provenance)
                    case _:
                        raise TypeError(f"a row of type {type(row).__name__} reached the sink")
        name = f"{self._shard}-{ctx.task_idx:06d}"
        try:
            for table, rows in lines.items():
                write_shard(self._folder, table, name, rows)
        except OSError as error:
            return f"{self._folder} cannot be written: {error.strerror or error}."
        count_rows("clips", Counter("failed" if row["error"] else "done" for row in lines["clips"]))
        count_rows("questions", {"kept": len(lines["data"]), "dropped": len(lines["drops"])})
        failed = Counter(str(row["kind"]) for row in lines["failures"])
        done = {row["video_id"] for row in lines["data"]} | {r["video_id"] for r in lines["analysis"] if r["alone"]}
        count_rows("videos", {"record": len(done), **failed})
        return ""

    def on_write_complete(self, write_result: WriteResult[str]) -> None:
        """Record the first write error; shards appear only when complete."""
        self.broken = next((reason for reason in write_result.write_returns if reason), "")

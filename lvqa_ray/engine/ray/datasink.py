"""Rows -> shards of the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ray.data import Datasink
from ray.data._internal.execution.interfaces import TaskContext
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
)
from lvqa_ray.records.tables import TableName
from lvqa_ray.storage.paths import StoragePath

BUNDLES_PER_WRITE = 16
WRITE_ORDER: tuple[TableName, ...] = ("subtitles", "clips", "drops", "analysis", "data", "failures")
"""In which tables are written: a video that has an outcome has all that belongs to it."""


class TableSink(Datasink[str]):
    """Writes records, clips, failures and dropped questions into shards of their own.

    All records of a video come in one row, so they are in one shard: a video never has but a part of them.

    A shard is named by run, pass and task, so a task that is run again replaces what it wrote before.

    Args:
        folder: The output folder.
        provenance: Written on every line: the job, the run, and what the rows were made with.
        shard: First part of the names of the shards of this pass.

    Attributes:
        broken: Why rows could not be written, once the pass is over; empty if all were.
    """

    def __init__(self, folder: StoragePath, provenance: Mapping[str, str], shard: str) -> None:
        self._folder = folder
        self._provenance = dict(provenance)
        self._shard = shard
        self.broken = ""

    @property
    def min_rows_per_write(self) -> int:
        """Bundles, mostly of a whole video, that are collected before they are written."""
        return BUNDLES_PER_WRITE

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> str:
        """Write the rows of one task; gives the reason if it cannot.

        A reason and not an exception: Ray would drop the rows in silence, and they would count as lost by a worker.
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
        """Note what could not be written; every shard was complete when it appeared."""
        self.broken = next((reason for reason in write_result.write_returns if reason), "")

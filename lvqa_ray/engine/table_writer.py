"""Writes finished rows of a pass into the Parquet shards of the tables; every executor uses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lvqa_ray.dataset.shards import write_shard
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

WRITE_ORDER: tuple[TableName, ...] = (
    "subtitles",
    "clips",
    "traces",
    "drops",
    "analysis",
    "data",
    "failures",
)
"""Order in which the tables are written: the outcome of a video comes last, when its other rows are written."""


@dataclass(frozen=True, slots=True)
class Written:
    """Result of a write.

    Attributes:
        broken: Why the rows could not be written; empty if they were.
        counts: Number of written rows by outcome, for ``clips``, ``questions`` and ``videos``.
    """

    broken: str = ""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


def write_tables(folder: StoragePath, provenance: dict[str, str], name: str, rows: Iterable[object]) -> Written:
    """Write rows into one shard per table.

    All records of a video arrive in one row and are written into one shard, so the output never has only some of them.

    Args:
        folder: The output folder.
        provenance: Columns that are the same in all rows of the run, see `provenance_of`.
        name: Name of the shards; those of the same name are replaced.
        rows: Clips with captions, finished videos, results about videos, and failures.

    Raises:
        TypeError: A row is of another type.
    """
    lines: dict[TableName, list[dict[str, Any]]] = {table: [] for table in WRITE_ORDER}
    for row in rows:
        match row:
            case CaptionedClip():
                lines["clips"].append(clip_row(row) | provenance)
                lines["subtitles"] += [line | provenance for line in subtitle_rows(row.clip)]
            case FinishedVideo():
                lines["data"] += [data_row(record) | provenance for record in row.records]
                lines["traces"] += [line | provenance for line in trace_rows(row)]
                lines["drops"] += [drop_row(drop, row.video) | provenance for drop in row.drops]
                if row.failure:
                    lines["failures"].append(failure_row(row.failure) | provenance)
            case AnalysisRecord():
                lines["analysis"] += [line | provenance for line in analysis_rows(row)]
            case Failure():
                lines["failures"].append(failure_row(row) | provenance)
            case _:
                raise TypeError(f"a row of type {type(row).__name__} reached the tables")
    try:
        for table, made in lines.items():
            write_shard(folder, table, name, made)
    except OSError as error:
        return Written(f"{folder} cannot be written: {error.strerror or error}.")
    failed = Counter(str(row["kind"]) for row in lines["failures"])
    done = {row["video_id"] for row in lines["data"]} | {row["video_id"] for row in lines["analysis"] if row["alone"]}
    return Written(
        counts={
            "clips": Counter("failed" if row["error"] else "done" for row in lines["clips"]),
            "questions": {"kept": len(lines["data"]), "dropped": len(lines["drops"])},
            "videos": {"record": len(done), **failed},
        }
    )

"""Which clips of which videos have come by: a byte a clip, so that tens of millions fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.engine.outcomes import VIDEO_ID, find, numbers
from lvqa_ray.engine.tables import read_shard, shards
from lvqa_ray.records.tables import TableName

ROWS_AT_ONCE = 1_000_000
Places = npt.NDArray[np.int64]


class Seen:
    """Notes what came by.

    Args:
        highest: The highest clip index of each video, -1 where there is none.
    """

    def __init__(self, highest: Places) -> None:
        self._start = np.concatenate([[0], np.cumsum(highest + 1)])
        self._seen = np.zeros(self._start[-1], dtype=np.bool_)

    def first(self, video: Places, index: Places) -> npt.NDArray[np.bool_]:
        """Which of these rows come by for the first time."""
        place = self._start[video] + index
        first = np.zeros(len(place), dtype=np.bool_)
        first[np.unique(place, return_index=True)[1]] = True
        first &= ~self._seen[place]
        self._seen[place] = True
        return first


def row_groups(folder: Path, table: TableName, columns: list[str]) -> Iterator[tuple[list[tuple[Path, int]], pa.Table]]:
    """Columns of a table, as many shards at a time as make a million rows: with the shards and their lengths.

    Raises:
        ConfigError: A shard cannot be read.
    """
    group: list[tuple[Path, int]] = []
    parts: list[pa.Table] = []
    for shard in shards(folder, table):
        part = read_shard(shard, columns)
        group.append((shard, part.num_rows))
        parts.append(part)
        if sum(count for _, count in group) >= ROWS_AT_ONCE:
            yield group, pa.concat_tables(parts)
            group, parts = [], []
    if parts:
        yield group, pa.concat_tables(parts)


def of_run(rows: pa.Table, table: TableName, current: pa.Table) -> Places:
    """For each row, which of the current outcomes it belongs to; -1 if to none.

    Args:
        rows: Rows of a table, with the video's id and the run.
        table: Which table.
        current: ``id`` and ``run_id`` of the outcomes, each id once.
    """
    at = find(rows[VIDEO_ID[table]], current["id"])
    if not current.num_rows:
        return at
    expected = current["run_id"].cast(pa.string()).take(pa.array(np.where(at < 0, 0, at)))
    same = numbers(pc.equal(rows["run_id"], expected))
    return np.where(same, at, -1)


def highest_index(folder: Path, current: pa.Table) -> Places:
    """The highest clip index of each of the current outcomes, -1 where there is no clip."""
    highest = np.full(current.num_rows, -1, dtype=np.int64)
    for _, rows in row_groups(folder, "clips", ["video_id", "run_id", "index"]):
        at = of_run(rows, "clips", current)
        kept = at >= 0
        np.maximum.at(highest, at[kept], clip_index(rows)[kept])
    return highest


def clip_index(rows: pa.Table) -> Places:
    """The index of each row of ``clips``."""
    return numbers(pc.fill_null(rows["index"], 0)).astype(np.int64)

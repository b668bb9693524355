"""Which rows of which videos have come by: a byte a row, so that tens of millions fit.

The rows of a video are numbered in each table: clips and results by their index, records and
dropped questions by their question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.outcomes import find, numbers
from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.records.tables import VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath

ROWS_AT_ONCE = 1_000_000
Places = npt.NDArray[np.int64]


class FirstSeen:
    """Notes what came by.

    Args:
        highest: The highest number of a row of each video, -1 where there is none.
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


def row_groups(
    folder: StoragePath, table: TableName, columns: list[str]
) -> Iterator[tuple[list[tuple[StoragePath, int]], pa.Table]]:
    """Columns of a table, as many shards at a time as make a million rows: with the shards and their lengths.

    Raises:
        ConfigError: A shard cannot be read.
    """
    group: list[tuple[StoragePath, int]] = []
    parts: list[pa.Table] = []
    for shard in shards(folder, table):
        part = read_shard(shard, columns)
        group.append((shard, part.num_rows))
        parts.append(part)
        if sum(count for _, count in group) >= ROWS_AT_ONCE:
            yield group, pa.concat_tables(parts, promote_options="default")
            group, parts = [], []
    if parts:
        yield group, pa.concat_tables(parts, promote_options="default")


def match_current_run(rows: pa.Table, table: TableName, current: pa.Table) -> Places:
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


def highest_number(folder: StoragePath, table: TableName, current: pa.Table) -> Places:
    """The highest number of a row of each of the current outcomes, -1 where there is none."""
    highest = np.full(current.num_rows, -1, dtype=np.int64)
    for _, rows in row_groups(folder, table, key_columns(table)):
        at = match_current_run(rows, table, current)
        kept = at >= 0
        np.maximum.at(highest, at[kept], row_numbers(rows, table)[kept])
    return highest


def key_columns(table: TableName) -> list[str]:
    """The columns that tell the rows of a table apart: the video's id, the run, and what has the number."""
    numbered: Mapping[TableName, list[str]] = {
        "clips": ["index"],
        "data": ["id"],
        "drops": ["id"],
        "subtitles": ["index"],
        "analysis": ["index"],
    }
    return [VIDEO_ID[table], "run_id", *numbered.get(table, [])]


def row_numbers(rows: pa.Table, table: TableName) -> Places:
    """The number of each row within its video."""
    if table in ("clips", "subtitles", "analysis"):
        return numbers(pc.fill_null(rows["index"], 0)).astype(np.int64)
    if table == "failures":
        return np.zeros(rows.num_rows, dtype=np.int64)
    # "{video id}_q{number}"; earlier releases gave the video's id where one question was asked for
    found = pc.struct_field(pc.extract_regex(rows["id"], r"_q(?P<number>[0-9]{1,6})$"), "number")
    several = pc.not_equal(rows["id"], rows["video_id"])
    number = pc.if_else(several, pc.cast(pc.fill_null(found, "0"), pa.int64()), 0)
    return numbers(number).astype(np.int64)

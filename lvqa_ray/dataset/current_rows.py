"""Current rows of an output: finds the rows that no later run replaced, and detects duplicates in one byte per row.

A later run replaces the rows of an earlier one, video by video; readers and compaction share this rule. The rows of a
video are numbered in each table: clips and results by ``index``, records and drops by the number in their id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.outcomes import Column, find, flat, numbers, outcomes
from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.records.tables import VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath

ROWS_AT_ONCE = 1_000_000
Ints = npt.NDArray[np.int64]


class FirstSeen:
    """Detects duplicate rows, with one byte for each row number of each video.

    Args:
        highest: The highest row number of each video, -1 if it has no rows.
    """

    def __init__(self, highest: Ints) -> None:
        self._start = np.concatenate([[0], np.cumsum(highest + 1)])
        self._seen = np.zeros(self._start[-1], dtype=np.bool_)

    def first(self, video: Ints, index: Ints) -> npt.NDArray[np.bool_]:
        """Mask of the rows that occur for the first time, in these arguments and all earlier calls."""
        position = self._start[video] + index
        first = np.zeros(len(position), dtype=np.bool_)
        first[np.unique(position, return_index=True)[1]] = True
        first &= ~self._seen[position]
        self._seen[position] = True
        return first


def current_outcomes(folder: StoragePath) -> Mapping[TableName, pa.Table]:
    """For each table, ``id`` and ``run_id`` of the run whose rows count now; one line per video.

    A retryable failure does not replace an earlier record, which was paid for. In the other tables, a row counts
    if it is from the run of the video's current outcome.

    Raises:
        ConfigError: A shard cannot be read.
    """
    records, failures = outcomes(folder, ["data"]), outcomes(folder, ["failures"])
    at = pc.index_in(flat(failures["id"]), value_set=flat(records["id"]))
    # Run ids begin with the time; if they are equal, the record is current.
    newer = pc.fill_null(pc.less(_run_ids(records).take(at), _run_ids(failures)), True)
    gone = failures.filter(pc.and_(newer, pc.invert(flat(failures["retryable"]))))
    columns = ["id", "run_id"]
    records = records.filter(pc.invert(pc.is_in(records["id"], value_set=flat(gone["id"])))).select(columns)
    failures = failures.filter(newer).select(columns)
    without_record = failures.filter(pc.invert(pc.is_in(failures["id"], value_set=flat(records["id"]))))
    ended = pa.concat_tables([records, without_record]).unify_dictionaries()
    followers = dict.fromkeys(("clips", "drops", "subtitles", "analysis", "traces"), ended)
    return {"data": records, "failures": failures, **followers}


def _run_ids(rows: pa.Table) -> Column:
    return flat(rows["run_id"].cast(pa.string()))


def row_groups(
    folder: StoragePath, table: TableName, columns: list[str]
) -> Iterator[tuple[list[tuple[StoragePath, int]], pa.Table]]:
    """Columns of a table in groups of shards with about a million rows, with the shards and their lengths.

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


def match_current_run(rows: pa.Table | pa.RecordBatch, table: TableName, current: pa.Table) -> Ints:
    """For each row, the index of the current outcome that it belongs to; -1 if it is not current.

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


def highest_number(folder: StoragePath, table: TableName, current: pa.Table) -> Ints:
    """The highest row number of each current outcome, -1 if it has no rows."""
    highest = np.full(current.num_rows, -1, dtype=np.int64)
    for _, rows in row_groups(folder, table, key_columns(table)):
        at = match_current_run(rows, table, current)
        kept = at >= 0
        np.maximum.at(highest, at[kept], row_numbers(rows, table)[kept])
    return highest


def key_columns(table: TableName) -> list[str]:
    """The key columns of a table: the id of the video, the run, and the column with the row number."""
    numbered: Mapping[TableName, list[str]] = {
        "clips": ["index"],
        "data": ["id"],
        "drops": ["id"],
        "subtitles": ["index"],
        "analysis": ["index"],
        "traces": ["index"],
    }
    return [VIDEO_ID[table], "run_id", *numbered.get(table, [])]


def row_numbers(rows: pa.Table, table: TableName) -> Ints:
    """The number of each row within its video."""
    if table in ("clips", "subtitles", "analysis", "traces"):
        return numbers(pc.fill_null(rows["index"], 0)).astype(np.int64)
    if table == "failures":
        return np.zeros(rows.num_rows, dtype=np.int64)
    # "{video id}_q{number}"; earlier releases used the id of the video for a single question
    found = pc.struct_field(pc.extract_regex(rows["id"], r"_q(?P<number>[0-9]{1,6})$"), "number")
    several = pc.not_equal(rows["id"], rows["video_id"])
    number = pc.if_else(several, pc.cast(pc.fill_null(found, "0"), pa.int64()), 0)
    return numbers(number).astype(np.int64)

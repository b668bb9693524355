"""Compaction: removes rows that a later outcome replaced and joins small shards, a batch of rows at a time."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lvqa_ray.dataset.current_rows import (
    FirstSeen,
    current_outcomes,
    highest_number,
    key_columns,
    match_current_run,
    row_groups,
    row_numbers,
)
from lvqa_ray.dataset.shards import ShardWriter, batches, fill_empty, is_current
from lvqa_ray.records.tables import SCHEMAS, TableName
from lvqa_ray.storage.paths import StoragePath

ROWS_PER_BATCH = 1000


def compact_shards(folder: StoragePath, run_id: str, rows_per_shard: int) -> None:
    """Remove replaced rows, join small shards, and rewrite shards of earlier releases.

    Old shards are deleted only after the new ones are complete, so a kill in between leaves at most duplicate rows,
    which the next call removes.

    Raises:
        ConfigError: A shard cannot be read.
        OSError: New shards cannot be written; the old ones are unchanged.
    """
    for table, current in current_outcomes(folder).items():
        _compact_table(folder, table, current, run_id, rows_per_shard)
    fill_empty(folder)


def _compact_table(folder: StoragePath, table: TableName, current: pa.Table, run_id: str, rows_per_shard: int) -> None:
    seen = FirstSeen(highest_number(folder, table, current))
    loose: list[tuple[StoragePath, Any]] = []
    changed = False
    for group, rows in row_groups(folder, table, key_columns(table)):
        at = match_current_run(rows, table, current)
        keep = at >= 0
        keep[keep] = seen.first(at[keep], row_numbers(rows, table)[keep])
        start = 0
        for shard, count in group:
            kept = keep[start : start + count]
            start += count
            if not (kept.all() and count >= rows_per_shard // 2):
                loose.append((shard, pa.array(kept)))
                changed |= not (kept.all() and is_current(shard, table))
    if changed or len(loose) > 1:
        _join(folder, table, loose, run_id, rows_per_shard)


def _join(
    folder: StoragePath, table: TableName, loose: Sequence[tuple[StoragePath, Any]], run_id: str, rows_per_shard: int
) -> None:
    schema = SCHEMAS[table]

    def fresh() -> StoragePath:
        # A unique name: the old shards are deleted below.
        return folder / table / f"settled-{run_id}-{uuid.uuid4().hex[:8]}.parquet"

    with ShardWriter(fresh, schema, rows_per_shard) as out:
        for shard, keep in loose:
            start = 0
            for batch in batches(shard, table, ROWS_PER_BATCH):
                rows = pa.Table.from_batches([batch]).filter(keep.slice(start, batch.num_rows))
                start += batch.num_rows
                out.write(rows)
    for shard, _ in loose:
        shard.unlink(missing_ok=True)

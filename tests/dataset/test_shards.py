"""A scan reads many small shards as one batch and a large one as several, whichever release wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, PropertyMock

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.dataset.shards import SCAN_BYTES, SCAN_ROWS, ShardWriter, scan, shards
from tests.report.earlier import rewritten
from tests.report.made import make_output, many


def test_small_shards_come_together_and_large_ones_in_pieces(tmp_path: Path) -> None:
    many(make_output(tmp_path, 10), 20)
    stored = [row for shard in shards(tmp_path, "clips") for row in pq.read_table(shard)["id"].to_pylist()]
    (one,) = scan(tmp_path, "clips", ["id"])
    assert one["id"].to_pylist() == stored
    rows = pq.read_table(tmp_path / "clips" / "part-1.parquet")
    pq.write_table(rows.take([n % rows.num_rows for n in range(3 * SCAN_ROWS)]), tmp_path / "clips" / "part-1.parquet")
    pieces = list(scan(tmp_path, "clips", ["id", "caption", "usage"]))
    assert sum(piece.num_rows for piece in pieces) == 3 * SCAN_ROWS + len(stored) - rows.num_rows
    assert len(pieces) > 3
    assert all(piece.nbytes < 2 * SCAN_BYTES for piece in pieces)


def test_parts_of_columns_of_several_releases(tmp_path: Path) -> None:
    many(make_output(tmp_path, 3), 3)
    for name in ("part-1", "part-3"):
        rewritten(tmp_path / "data" / f"{name}.parquet", "data")
    columns = ["id", "parsed_reasoning.ANSWER", "requested_category", "messages"]
    rows = [row for batch in scan(tmp_path, "data", columns) for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows) == 3 * 11
    assert {row["parsed_reasoning"]["ANSWER"] for row in rows} == set("ABCD")
    assert all(row["requested_category"] and row["messages"] for row in rows)


def test_each_part_of_a_shard_is_measured_once(tmp_path: Path) -> None:
    """Measuring all held parts for each part took 10 minutes of a run of 10,000 videos."""
    measured = PropertyMock(return_value=100)
    rows: Any = MagicMock(num_rows=1)
    rows.slice = lambda start, *_: rows if start == 0 else pa.table({})
    kind: Any = type(rows)
    kind.nbytes = measured
    out = ShardWriter(lambda: tmp_path / "shard.parquet", pa.schema([]), 1000)
    for _ in range(500):
        out.write(rows)  # held in memory
    assert measured.call_count == 500

"""A scan reads many small shards as one batch and a large one as several, whichever release wrote them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from lvqa_ray.dataset.shards import SCAN_BYTES, SCAN_ROWS, scan, shards
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

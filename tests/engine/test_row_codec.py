"""Rows that come fast travel together, and those that come slowly wait for nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from lvqa_ray.engine.row_codec import (
    BUNDLE_BYTES,
    COLUMN,
    WITHIN_S,
    Bundling,
    Packed,
    batch_by_time,
    pack,
    rows_of,
    table,
    unpack,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def come(clock: Clock, after_s: list[float], size: int) -> Iterator[Packed]:
    for number, seconds in enumerate(after_s):
        clock.now += seconds
        yield pack((number, b"x" * size))


def sizes(after_s: list[float], *, most: int | Bundling = 16, size: int = 1) -> list[int]:
    clock = Clock()
    bundles = [unpack(packed) for packed in batch_by_time(come(clock, after_s, size), most, clock)]
    assert [row[0] for rows in bundles for row in rows] == list(range(len(after_s)))
    return [len(rows) for rows in bundles]


def test_slow_rows_go_on_one_by_one() -> None:
    assert sizes([WITHIN_S, 2 * WITHIN_S, 10.0]) == [1, 1, 1]


def test_fast_rows_go_on_together() -> None:
    assert sizes([0.0] * 40) == [16, 16, 8]
    assert sizes([0.2] * 7) == [3, 3, 1]
    assert sizes([0.0] * 5, most=1) == [1] * 5
    assert sizes([0.0] * 5, size=BUNDLE_BYTES // 2) == [2, 2, 1]
    assert sizes([]) == []


def test_few_rows_are_few_to_a_bundle_and_many_are_many() -> None:
    bundling = Bundling(most=16, first=1, tasks=8.0)
    assert sizes([0.0] * 16, most=bundling) == [1] * 16
    made = sizes([0.0] * 200, most=bundling)
    assert len(made) < 45
    assert all(size <= max(1, sum(made[:at]) / 8) for at, size in enumerate(made)), (
        "no core waits long for the last one"
    )
    assert max(sizes([0.0] * 1000, most=bundling)) == 16
    assert sizes([1.0] * 100, most=bundling) == [1] * 100
    assert sizes([0.0] * 40, most=Bundling(most=16, first=16, tasks=4.0)) == [16, 16, 8]


def test_blocks_hold_bundles() -> None:
    assert list(rows_of(table(["a", None]))) == ["a", None]
    assert list(rows_of(pa.table({COLUMN: [pack(1, 2)[COLUMN], pack(3)[COLUMN]]}))) == [1, 2, 3]
    assert list(rows_of(pa.table({}))) == []

"""Runs of consecutive clips: few seeks, and work for every process to the end."""

from __future__ import annotations

import pytest

from lvqa_ray.engine.decoding.clip_runs import in_runs, run_lengths
from lvqa_ray.engine.row_codec import pack, unpack


@pytest.mark.parametrize("clips", [0, 1, 2, 7, 60, 200, 1001])
@pytest.mark.parametrize("workers", [0.01, 0.5, 1, 1.5, 2, 64])
def test_runs_hold_every_clip_once_and_get_shorter(clips: int, workers: float) -> None:
    lengths = list(run_lengths(clips, workers, 32))
    assert sum(lengths) == clips
    assert all(1 <= length <= 32 for length in lengths)
    assert lengths == sorted(lengths, reverse=True)


def test_no_process_waits_long_for_the_last_run() -> None:
    for clips in (60, 200, 1000):
        lengths = list(run_lengths(clips, 2, 32))
        assert lengths[0] <= clips / 4
        assert lengths[-1] <= clips / 12
        assert len(lengths) < 30 + clips / 32
    assert len(list(run_lengths(60, 2, 16))) == 6, "each run costs a seek"
    assert list(run_lengths(60, 0.01, 32)) == [32, 28], "other videos give work to the other processes"
    assert list(run_lengths(60, 64, 32)) == [1] * 60


def test_bundles_hold_runs() -> None:
    bundles = [unpack(bundle) for bundle in in_runs((pack(number) for number in range(60)), workers=2, most=32)]
    assert [len(rows) for rows in bundles] == list(run_lengths(60, 2, 32))
    assert [row for rows in bundles for row in rows] == list(range(60))
    assert list(in_runs(iter(()), workers=2, most=32)) == []

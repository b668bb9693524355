"""Trapezoid self-scheduling of a video's clips: runs of consecutive clips, each of which one process decodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from lvqa_ray.engine.row_codec import COLUMN, Packed


def run_lengths(clips: int, workers: float, most: int) -> Iterator[int]:
    """Trapezoid self-scheduling (Tzen and Ni, 1993): long runs first and short ones last, so that workers end together.

    Each run opens the file and decodes from the key frame before its first clip, so few runs are cheap.

    Args:
        clips: Number of clips that are known at once.
        workers: Number of processes that decode them; less than 1 if there are more videos than processes.
        most: Maximum number of clips in a run.

    Yields:
        Length of each run.
    """
    if workers < 1:
        longest, shorter = float(most), 0.0
    else:
        longest = max(1.0, min(most, clips / (2 * workers)))
        runs = math.ceil(2 * clips / (longest + 1))
        shorter = (longest - 1) / max(1, runs - 1)
    while clips > 0:
        length = min(clips, max(1, round(longest)))
        yield length
        clips -= length
        longest -= shorter


def in_runs(packed: Iterable[Packed], workers: float, most: int) -> Iterator[Packed]:
    """Join all bundles of one row each into one bundle for each run; see `run_lengths`."""
    rows = [each[COLUMN] for each in packed]
    start = 0
    for length in run_lengths(len(rows), workers, most):
        yield {COLUMN: b"".join(rows[start : start + length])}
        start += length

"""Stratified sampling of the videos that a report shows: some of each kind, the rest at random."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from lvqa_ray.dataset.reader import OutputReader

OF_EACH_KIND = 5
"""Videos shown of each category, failed check, drop and failure before the random selection."""


def chosen(output: OutputReader, most: int) -> list[str]:
    """Return at most this many ids of videos to show, representatives of each kind first.

    The random order is a hash of the id: the same output gives the same choice.
    """
    kinds: dict[str, set[str]] = {}
    for video, kind in _kinds(output):
        kinds.setdefault(video, set()).add(kind)
    taken: dict[str, int] = {}
    first: list[str] = []
    others: list[str] = []
    for video in sorted(kinds, key=_hash):
        if any(taken.get(kind, 0) < OF_EACH_KIND for kind in kinds[video]):
            first.append(video)
            for kind in kinds[video]:
                taken[kind] = taken.get(kind, 0) + 1
        else:
            others.append(video)
    return [*first, *others][:most]


def _hash(video: str) -> bytes:
    return hashlib.sha256(video.encode(errors="replace")).digest()


def _kinds(output: OutputReader) -> Iterable[tuple[str, str]]:
    """Yield pairs of video and kind: one for each category, failed check, drop, task result and failure."""
    data = output.rows("data", ["video_id", "category", "failed_checks"])
    columns = [data[name].to_pylist() for name in data.column_names]
    for video, category, checks in zip(*columns, strict=True):
        yield video, f"category {category}"
        yield from ((video, f"marked by {check}") for check in checks or ())
    drops = output.rows("drops", ["video_id", "check", "kind"])
    for video, check, kind in zip(*(drops[name].to_pylist() for name in drops.column_names), strict=True):
        yield video, f"dropped by {check} {kind}"
    tasks = output.rows("analysis", ["video_id", "task", "error"])
    for video, task, error in zip(*(tasks[name].to_pylist() for name in tasks.column_names), strict=True):
        yield video, f"task {task} {error or ''}"
    failures = output.rows("failures", ["id", "kind"])
    for video, kind in zip(*(failures[name].to_pylist() for name in failures.column_names), strict=True):
        yield video, f"failed {kind}"

"""Thumbnails for a report, taken in a process of their own: a file that brings it down costs its own pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Span
from lvqa_ray.records.uri import scheme_of
from lvqa_ray.video.frames.contact_sheet import ContactSheet, contact_sheet

OF_ONE_VIDEO_S = 15.0
"""Longest time for the thumbnails of one video."""


def strips(wanted: Mapping[str, tuple[str, Sequence[Span]]], *, within_s: float) -> Iterator[tuple[str, ContactSheet]]:
    """Take thumbnails of local videos, one after the other, until the time is over.

    Args:
        wanted: Path and stretches of time by the video's id.
        within_s: When to stop (s).

    Yields:
        Id and thumbnails, of the videos that have some.
    """
    end = time.monotonic() + within_s
    left = {video: job for video, job in wanted.items() if not scheme_of(job[0]) and Path(job[0]).is_file()}
    while left and time.monotonic() < end:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            for video in list(left):
                room = min(OF_ONE_VIDEO_S, end - time.monotonic())
                if room <= 0:
                    return
                try:
                    found = pool.submit(_strip, *left.pop(video), room).result(timeout=room + OF_ONE_VIDEO_S)
                except (BrokenExecutor, TimeoutError):
                    _end(pool)
                    break  # with a new process, for the next one
                if found is not None:
                    yield video, found


def _end(pool: ProcessPoolExecutor) -> None:
    """End what may hang in a decoder; Python 3.14 has a public way to do that."""
    for process in list((pool._processes or {}).values()):
        process.kill()


def _strip(path: str, spans: Sequence[Span], within_s: float) -> ContactSheet | None:
    try:
        return contact_sheet(path, spans, within_s=within_s)
    except VideoError:
        return None

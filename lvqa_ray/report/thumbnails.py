"""Thumbnails for a report, taken in a subprocess: a file that crashes it loses only its own thumbnails."""

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
"""Time limit for the thumbnails of one video (s)."""


def strips(wanted: Mapping[str, tuple[str, Sequence[Span]]], *, within_s: float) -> Iterator[tuple[str, ContactSheet]]:
    """Take thumbnails of local videos one after the other until the time limit.

    Args:
        wanted: Path and spans by video id.
        within_s: Time limit (s).

    Yields:
        Id and contact sheet of each video that has one.
    """
    end = time.monotonic() + within_s
    left = {video: job for video, job in wanted.items() if not scheme_of(job[0]) and Path(job[0]).is_file()}
    while left and time.monotonic() < end:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            for video in list(left):
                limit_s = min(OF_ONE_VIDEO_S, end - time.monotonic())
                if limit_s <= 0:
                    return
                try:
                    sheet = pool.submit(_strip, *left.pop(video), limit_s).result(timeout=limit_s + OF_ONE_VIDEO_S)
                except (BrokenExecutor, TimeoutError):
                    _kill_workers(pool)
                    break  # the next video gets a new process
                if sheet is not None:
                    yield video, sheet


def _kill_workers(pool: ProcessPoolExecutor) -> None:
    """Kill workers that may hang in a decoder; Python 3.14 has a public method for it."""
    for process in list((pool._processes or {}).values()):
        process.kill()


def _strip(path: str, spans: Sequence[Span], within_s: float) -> ContactSheet | None:
    try:
        return contact_sheet(path, spans, within_s=within_s)
    except VideoError:
        return None

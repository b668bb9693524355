"""Thumbnails for a report, taken in a subprocess: a file that crashes it loses only its own thumbnails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Self

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Span
from lvqa_ray.records.uri import scheme_of
from lvqa_ray.video.frames.contact_sheet import ContactSheet, contact_sheet

OF_ONE_VIDEO_S = 15.0
"""Time limit for the thumbnails of one video (s)."""


class Thumbnailer:
    """Process pool of one process that takes thumbnails; use it as a context manager.

    Args:
        within_s: Time limit for all thumbnails (s). The process starts at once, to import while the caller prepares the
            rest of the page; with a limit of 0 it never starts.
    """

    def __init__(self, *, within_s: float) -> None:
        self._within_s = within_s
        self._pool = self._started() if within_s else None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        if self._pool:
            self._pool.shutdown()

    def strips(self, wanted: Mapping[str, tuple[str, Sequence[Span]]]) -> Iterator[tuple[str, ContactSheet]]:
        """Take thumbnails of local videos one after the other until the time limit.

        Args:
            wanted: Path and spans by video id.

        Yields:
            Id and contact sheet of each video that has one.
        """
        end = time.monotonic() + self._within_s
        for video, (path, spans) in wanted.items():
            limit_s = min(OF_ONE_VIDEO_S, end - time.monotonic())
            if limit_s <= 0:
                return
            if scheme_of(path) or not Path(path).is_file():
                continue
            pool = self._pool = self._pool or self._started()
            try:
                sheet = pool.submit(_strip, path, spans, limit_s).result(timeout=limit_s + OF_ONE_VIDEO_S)
            except (BrokenExecutor, TimeoutError):
                _kill_workers(pool)
                pool.shutdown()
                self._pool = None  # the next video gets a new process
                continue
            if sheet is not None:
                yield video, sheet

    @staticmethod
    def _started() -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        pool.submit(_loaded)
        return pool


def _kill_workers(pool: ProcessPoolExecutor) -> None:
    """Kill workers that may hang in a decoder; Python 3.14 has a public method for it."""
    for process in list((pool._processes or {}).values()):
        process.kill()


def _loaded() -> None:
    """Do nothing: the process has imported this module by then."""


def _strip(path: str, spans: Sequence[Span], within_s: float) -> ContactSheet | None:
    try:
        return contact_sheet(path, spans, within_s=within_s)
    except VideoError:
        return None

"""Cited clips for the browser: cut on demand as H.264, in a subprocess that a broken file may crash."""

from __future__ import annotations

import asyncio
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from lvqa_ray.errors import LvqaError
from lvqa_ray.records import Span
from lvqa_ray.records.uri import scheme_of
from lvqa_ray.video.cutting.clip_file import cut_clip
from lvqa_ray.video.cutting.reencode import Encoding

SHORT_SIDE = 480
LONGEST_S = 180.0
"""A longer span is cut off here (s)."""
CUT_TIMEOUT_S = 120.0


class NoClipError(LvqaError):
    """There is nothing to play; the message is one sentence for the reviewer."""


class ClipPlayer:
    """Cuts spans of videos into files that every browser plays, and keeps them.

    Args:
        folder: Folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = self._fresh_pool()
        self._turn = asyncio.Lock()
        self._cutting: dict[Path, asyncio.Task[None]] = {}

    async def clip(self, name: str, video: str, span: Span) -> Path:
        """The file of a span, which is cut if it is asked for the first time.

        Args:
            name: Name of the file, without suffix.
            video: Path of the video.
            span: The span.

        Raises:
            NoClipError: The video is not on this machine, or cannot be decoded there.
        """
        path = self._folder / f"{name}.mp4"
        if path not in self._cutting:
            self._cutting[path] = asyncio.create_task(self._cut(path, video, span))
        try:
            await asyncio.shield(self._cutting[path])
        except NoClipError:
            self._cutting.pop(path, None)  # the file may be there the next time
            raise
        return path

    def close(self) -> None:
        """End the subprocess."""
        for process in list((self._pool._processes or {}).values()):  # Python 3.14 has a public method for it
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _cut(self, path: Path, video: str, span: Span) -> None:
        if scheme_of(video):
            raise NoClipError(f"The video is not on this machine ({video}).")
        end_s = min(span.end_s, span.start_s + LONGEST_S)
        async with self._turn:  # one at a time, so that the time limit counts no waiting
            call = asyncio.get_running_loop().run_in_executor(
                self._pool, _cut_file, video, Span(start_s=span.start_s, end_s=end_s), path
            )
            try:
                problem = await asyncio.wait_for(call, CUT_TIMEOUT_S)
            except (BrokenExecutor, TimeoutError):
                self.close()
                self._pool = self._fresh_pool()
                problem = "its decoder crashed or did not end"
        if problem:
            raise NoClipError(f"The clip cannot be shown: {problem}.")

    @staticmethod
    def _fresh_pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _cut_file(video: str, span: Span, path: Path) -> str:
    """Cut a file; returns what is wrong, or an empty text."""
    if not Path(video).is_file():
        return f"the video is not at its path any more ({video})"
    try:
        cut_clip(video, span, path, mode="encode", encoding=Encoding(crf=26, short_side=SHORT_SIDE))
    except (LvqaError, OSError) as error:
        return " ".join(str(error).split()).rstrip(".")
    return ""

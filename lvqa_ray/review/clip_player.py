"""Cited clips for the browser: cut on demand as H.264, in a subprocess that a broken file may crash.

Videos in a bucket or behind a URL are downloaded first, and the least recently used ones are removed.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from lvqa_ray.errors import FetchError, LvqaError
from lvqa_ray.records import Span, Video
from lvqa_ray.storage.download_cache import DownloadCache
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import is_remote
from lvqa_ray.video.cutting.clip_file import cut_clip
from lvqa_ray.video.cutting.reencode import Encoding

SHORT_SIDE = 480
LONGEST_S = 180.0
"""A longer span is cut off here (s)."""
CUT_TIMEOUT_S = 120.0
DOWNLOADS_BYTES = 8 * 2**30
"""Maximum size of all downloaded videos, and of one."""


class NoClipError(LvqaError):
    """There is nothing to play; the message is one sentence for the reviewer."""


class ClipPlayer:
    """Cuts spans of videos into files that every browser plays, and keeps them.

    Args:
        folder: Folder for the files.
        access: Options of object stores.
    """

    def __init__(self, folder: Path, access: StorageOptions) -> None:
        self._folder = folder
        self._closed = threading.Event()
        self._videos = DownloadCache(
            str(folder / "videos"),
            DOWNLOADS_BYTES,
            replace(access, stopped=self._closed.is_set),
            (DOWNLOADS_BYTES, "the limit of lvqa review"),
            self._closed.is_set,
        )
        self._pool = self._fresh_pool()
        self._turn = asyncio.Lock()
        self._cutting: dict[Path, asyncio.Task[None]] = {}

    async def clip(self, name: str, video: str, span: Span) -> Path:
        """The file of a span, which is cut if it is asked for the first time.

        Args:
            name: Name of the file, without suffix.
            video: Path or address of the video.
            span: The span.

        Raises:
            NoClipError: The video cannot be fetched or decoded.
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

    async def stored(self, uri: str) -> Path:
        """The file of a clip that the run has stored; one in a bucket is downloaded, and kept as the videos are.

        Raises:
            NoClipError: It is not there.
        """
        return await asyncio.to_thread(self._stored, uri)

    def _stored(self, uri: str) -> Path:
        if not is_remote(uri):
            if not Path(uri).is_file():
                raise NoClipError(f"The clip is not at its path any more ({uri}).")
            return Path(uri)
        try:
            with self._videos.local(Video(id="", uri=uri, fingerprint="")) as path:
                return Path(path)  # the least recently used files are removed first, so not this one now
        except FetchError as error:
            raise NoClipError(f"The clip cannot be fetched: {error}") from None

    def close(self) -> None:
        """End the subprocess and all downloads."""
        self._closed.set()
        self._end_pool()

    def _end_pool(self) -> None:
        for process in list((self._pool._processes or {}).values()):  # Python 3.14 has a public method for it
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _cut(self, path: Path, video: str, span: Span) -> None:
        with ExitStack() as pinned:
            try:
                here = await asyncio.to_thread(
                    pinned.enter_context, self._videos.local(Video(id="", uri=video, fingerprint=""))
                )
            except FetchError as error:
                raise NoClipError(f"The video cannot be fetched: {error}") from None
            await self._cut_local(path, here, span)

    async def _cut_local(self, path: Path, video: str, span: Span) -> None:
        end_s = min(span.end_s, span.start_s + LONGEST_S)
        async with self._turn:  # one at a time, so that the time limit counts no waiting
            call = asyncio.get_running_loop().run_in_executor(
                self._pool, _cut_file, video, Span(start_s=span.start_s, end_s=end_s), path
            )
            try:
                problem = await asyncio.wait_for(call, CUT_TIMEOUT_S)
            except (BrokenExecutor, TimeoutError):
                self._end_pool()
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

"""Pins a downloaded video in the node's cache until it is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

from lvqa_ray.engine.decoding.thread_iterator import iterate_in_thread
from lvqa_ray.records import Video
from lvqa_ray.storage.download_cache import DownloadCache
from lvqa_ray.storage.remote import is_remote

Around = Callable[[], AbstractAsyncContextManager[object]]
"""Makes a context that surrounds a download: it may wait for a place, and limit the time."""


class PinnedDownload:
    """Downloads a video at the first call of `path`, and keeps it in the cache until it is closed.

    Args:
        scratch: The download cache.
        video: The video; a local file is used in place.
        around: Surrounds the download.
    """

    def __init__(self, scratch: DownloadCache, video: Video, around: Around = nullcontext) -> None:
        self._video = video
        self._around = around
        self._over = threading.Event()
        self._scratch = replace(scratch, stopped=self._over.is_set)
        self._files: Any = None
        self._path: asyncio.Task[str] | None = None

    async def path(self) -> str:
        """The local path of the file.

        Raises:
            FetchError: The download failed.
        """
        if not is_remote(self._video.uri):
            return self._video.uri
        if self._path is None:
            self._path = asyncio.create_task(self._fetched())
        return await asyncio.shield(self._path)

    async def aclose(self) -> None:
        """Release the file; a running download is cancelled."""
        self._over.set()
        if self._path is not None:
            self._path.cancel()
            await asyncio.wait([self._path])
            if not self._path.cancelled():
                self._path.exception()  # marks it as retrieved
            if self._files is not None:
                await self._files.aclose()

    async def _fetched(self) -> str:
        async with self._around():
            self._files = iterate_in_thread(self._hold, self._over.set, int)
            path: str = await anext(self._files)
            return path

    def _hold(self) -> Generator[str, None, None]:
        with self._scratch.local(self._video) as path:
            yield path
            self._over.wait()

"""Limits on what runs in parallel: slots for analyses, and places for downloads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Self, TypeVar

from lvqa_ray.config import Serve
from lvqa_ray.engine.local.abandonable import in_own_thread
from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url

Stopped = Callable[[], bool]
V = TypeVar("V")


class Slot:
    """The slot of an analysis, one of ``serve.at_once``; it can be given up for a while.

    Args:
        slots: The free slots.
    """

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._held = False

    async def __aenter__(self) -> Self:
        """Wait for a slot."""
        await self._slots.acquire()
        self._held = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """Release the slot, if it is held."""
        if self._held:
            self._held = False
            self._slots.release()

    @asynccontextmanager
    async def given_up(self) -> AsyncIterator[None]:
        """Let others have the slot inside the block, and wait for another one after it."""
        await self.__aexit__()
        yield
        await self.__aenter__()


class DownloadPlaces:
    """Places for downloads: ``serve.downloads`` in parallel, each within ``serve.download_minutes``.

    An analysis that waits for a download has no slot, so servers that do not answer hold up nobody else.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: Serve) -> None:
        self._free = asyncio.Semaphore(settings.downloads)
        self._minutes = settings.download_minutes

    @asynccontextmanager
    async def taken(self, uri: str, slot: Slot | None = None) -> AsyncIterator[None]:
        """Take a place inside the block.

        Args:
            uri: The video, for the message.
            slot: Slot to give up meanwhile.

        Raises:
            FetchError: The block took too long.
        """
        if slot is not None:
            async with slot.given_up(), self.taken(uri):
                yield
            return
        async with self._free, self._limited(uri):
            yield

    async def run(self, uri: str, call: Callable[[Stopped], V]) -> V:
        """Run a blocking call in a thread that has a place until it ends, also after the caller was cancelled.

        Args:
            uri: The video, for the message.
            call: The call; its argument returns true when its result is no longer needed.

        Raises:
            FetchError: The call took too long.
        """
        stopped = threading.Event()
        await self._free.acquire()
        try:
            async with self._limited(uri):
                return await in_own_thread(partial(call, stopped.is_set), self._free.release)
        finally:
            stopped.set()

    @asynccontextmanager
    async def _limited(self, uri: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(60 * self._minutes):
                yield
        except TimeoutError:
            raise FetchError(
                "not_fetched",
                f"{redact_url(uri)}: its server took more than {self._minutes:g} minutes "
                "(serve.download_minutes); try again later, or raise it.",
                retryable=True,
            ) from None

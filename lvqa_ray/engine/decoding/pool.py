"""Decoding for one process that looks after many videos: so many child processes, each at one row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from lvqa_ray.engine.decoding.supervisor import DecodeLimits, DecodeProcess
from lvqa_ray.engine.decoding.thread_iterator import iterate_in_thread
from lvqa_ray.engine.row_codec import unpack
from lvqa_ray.stage.steps import VideoStep


class DecodePool:
    """Children that decode, started when they are needed and kept; who asks while all are at work waits.

    Args:
        bounds: What decoding may take.
        most: How many there may be.
    """

    def __init__(self, bounds: DecodeLimits, most: int) -> None:
        self._bounds = bounds
        self._free = asyncio.Semaphore(most)
        self._idle: list[DecodeProcess] = []
        self._all: list[DecodeProcess] = []

    async def rows(self, steps: Sequence[VideoStep], row: Any, path: str | None = None) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - any of the frozen rows
        """The rows that steps make of a row, as they come; arguments as for a `DecodeProcess`.

        Close it (`contextlib.aclosing`): a child that works for nobody is then ended at once.
        """
        await self._free.acquire()
        decoder = self._taken()
        made = iterate_in_thread(partial(decoder, steps, row, path), decoder.interrupt, partial(self._back, decoder))
        async with aclosing(made):
            async for packed in made:
                for out in unpack(packed):
                    yield out

    def close(self) -> None:
        """End all children, also those at work."""
        for decoder in self._all:
            decoder.interrupt()
            decoder.close()

    def _taken(self) -> DecodeProcess:
        if self._idle:
            return self._idle.pop()
        decoder = DecodeProcess(self._bounds)
        self._all.append(decoder)
        return decoder

    def _back(self, decoder: DecodeProcess) -> None:
        self._idle.append(decoder)
        self._free.release()

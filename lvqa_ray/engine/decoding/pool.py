"""Decoding for one process that looks after many videos: so many child processes, each at one row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from lvqa_ray.engine.decoding.supervisor import Bounds, Decoder
from lvqa_ray.engine.decoding.thread_iterator import pumped
from lvqa_ray.engine.row_codec import unpack
from lvqa_ray.records import Row
from lvqa_ray.stage.steps import VideoStep


class Decoders:
    """Children that decode, started when they are needed and kept; who asks while all are at work waits.

    Args:
        bounds: What decoding may take.
        most: How many there may be.
    """

    def __init__(self, bounds: Bounds, most: int) -> None:
        self._bounds = bounds
        self._free = asyncio.Semaphore(most)
        self._idle: list[Decoder] = []
        self._all: list[Decoder] = []

    async def rows(self, steps: Sequence[VideoStep], row: Row, path: str | None = None) -> AsyncGenerator[Row, None]:
        """The rows that steps make of a row, as they come; arguments as for a `Decoder`.

        Close it (`contextlib.aclosing`): a child that works for nobody is then ended at once.
        """
        await self._free.acquire()
        decoder = self._taken()
        made = pumped(partial(decoder, steps, row, path), decoder.interrupt, partial(self._back, decoder))
        async with aclosing(made):
            async for packed in made:
                for out in unpack(packed):
                    yield out

    def close(self) -> None:
        """End all children, also those at work."""
        for decoder in self._all:
            decoder.interrupt()
            decoder.close()

    def _taken(self) -> Decoder:
        if self._idle:
            return self._idle.pop()
        decoder = Decoder(self._bounds)
        self._all.append(decoder)
        return decoder

    def _back(self, decoder: Decoder) -> None:
        self._idle.append(decoder)
        self._free.release()

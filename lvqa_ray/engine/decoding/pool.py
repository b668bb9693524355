"""Pool of decoder processes for one asyncio process that handles many videos."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from functools import partial

from lvqa_ray.engine.decoding.supervisor import DecodeLimits, DecodeProcess
from lvqa_ray.engine.decoding.thread_iterator import iterate_in_thread
from lvqa_ray.engine.row_codec import Packed, unpack
from lvqa_ray.engine.step_runner import times_ahead
from lvqa_ray.records import Row
from lvqa_ray.stage.steps import VideoStep


class DecodePool:
    """Decoder processes, started on demand and reused; callers wait while all are busy.

    Args:
        bounds: Limits of time and memory.
        most: Maximum number of processes.
    """

    def __init__(self, bounds: DecodeLimits, most: int) -> None:
        self.most = most
        self._bounds = bounds
        self._free = asyncio.Semaphore(most)
        self._idle: list[DecodeProcess] = []
        self._all: list[DecodeProcess] = []

    @property
    def busy(self) -> int:
        """Processes that work on a row."""
        return len(self._all) - len(self._idle)

    def prestart(self) -> None:
        """Start a process in a thread, so that the first row need not wait for it."""
        decoder = DecodeProcess(self._bounds)
        self._all.append(decoder)
        self._idle.append(decoder)
        threading.Thread(target=decoder.start, daemon=True, name="decoder-start").start()

    async def rows(
        self, steps: Sequence[VideoStep], rows: Sequence[Row], path: str | None = None
    ) -> AsyncGenerator[Row, None]:
        """Run steps on rows of one video in one process; yields the resulting rows as they come.

        Close it (`contextlib.aclosing`): a process that is still busy is then killed.
        """
        await self._free.acquire()
        decoder = self._taken()
        made = iterate_in_thread(
            partial(_in_turn, decoder, steps, rows, path), decoder.interrupt, partial(self._back, decoder)
        )
        async with aclosing(made):
            async for packed in made:
                for out in unpack(packed):
                    yield out

    def close(self) -> None:
        """Kill all processes, also busy ones."""
        for decoder in self._all:
            decoder.interrupt()
            decoder.close()

    def _taken(self) -> DecodeProcess:
        if self._idle:
            decoder = self._idle.pop()
            decoder.rearm()
            return decoder
        decoder = DecodeProcess(self._bounds)
        self._all.append(decoder)
        return decoder

    def _back(self, decoder: DecodeProcess) -> None:
        self._idle.append(decoder)
        self._free.release()


def _in_turn(
    decoder: DecodeProcess, steps: Sequence[VideoStep], rows: Sequence[Row], path: str | None
) -> Generator[Packed, None, None]:
    for number, row in enumerate(rows):
        yield from decoder(steps, row, path, times_ahead(steps, rows[number:]))

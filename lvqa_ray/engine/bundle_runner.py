"""Concurrent execution of the rows of bundles on one asyncio event loop; results leave in bundles as they finish.

Ray Data's own asynchronous calls return nothing before the slowest row of a bundle is done, and return the bundles of a
task in order. Here the results of the fast rows leave early, in few bundles.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import NamedTuple

import pyarrow as pa

from lvqa_ray.engine.row_codec import Packed, pack, unpack_lazily
from lvqa_ray.records import Row

OUTPUT_POLL_S = 0.5
"""How often the finished rows of a bundle may leave (s)."""
OUTPUT_SHARE = 4
"""Finished rows leave at once if they are at least this fraction (one fourth) of their bundle ..."""
OUTPUT_WITHIN_S = 4.0
"""... and in any case after this time (s). Each bundle that leaves costs the driver about 20 ms of CPU."""


class BundleRunner:
    """Runs an asynchronous function on the rows of bundles, many bundles at a time; `run` is called from many threads.

    Args:
        work: Makes rows from a row.
        most: Maximum number of rows at work. The other rows wait as bytes, so that they hold little memory.
    """

    def __init__(self, work: Callable[[Row], Awaitable[Sequence[Row]]], most: int) -> None:
        # Arrow's own allocators keep memory for each of the hundreds of threads that call. This changes the allocator
        # of Arrow's Python functions; the environment variable of `ray_session_for` also that of its internal calls.
        pa.set_memory_pool(pa.system_memory_pool())
        self._work = work
        self._loop = asyncio.new_event_loop()
        self._free = asyncio.Semaphore(most)
        self._turn = asyncio.Lock()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="chat").start()

    def run(self, packed: Packed) -> Iterator[Packed]:
        """Run the function on each row of a bundle.

        Yields:
            Bundles of the resulting rows: those of all rows when the last one is done, and before that those of rows
            which a slower row would hold up.

        Raises:
            Exception: The first exception of the function, after the results of the other rows.
        """
        out: SimpleQueue[_Output] = SimpleQueue()
        asyncio.run_coroutine_threadsafe(_Bundle(self._work, self._free, self._turn, out).run(packed), self._loop)
        while True:
            rows, over, error = out.get()
            if rows:
                yield pack(*rows)
            if error is not None:
                raise error
            if over:
                return


class _Output(NamedTuple):
    rows: Sequence[Row] = ()
    over: bool = False
    error: BaseException | None = None


class _Bundle:
    """One bundle at work."""

    def __init__(
        self,
        work: Callable[[Row], Awaitable[Sequence[Row]]],
        free: asyncio.Semaphore,
        turn: asyncio.Lock,
        out: SimpleQueue[_Output],
    ) -> None:
        self._work = work
        self._free = free
        self._turn = turn
        self._out = out
        self._made: list[Row] = []
        self._made_of = 0  # number of rows whose results wait in `_made`
        self._since = 0.0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, packed: Packed) -> None:
        error: BaseException | None = None
        try:
            rows = []
            async with self._turn:  # one bundle after another, else all bundles would finish late
                for row in unpack_lazily(packed):
                    await self._free.acquire()
                    self._count += 1
                    rows.append(asyncio.create_task(self._one(row)))
            for result in await asyncio.gather(*rows, return_exceptions=True):
                error = error or result
        except BaseException as unreadable:
            error = unreadable
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._out.put(_Output(self._made, over=True, error=error))

    async def _one(self, row: Row) -> None:
        try:
            made = await self._work(row)
        finally:
            self._free.release()
        self._made += made
        self._made_of += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._since = loop.time()
            self._timer = loop.call_later(OUTPUT_POLL_S, self._flush)

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        if OUTPUT_SHARE * self._made_of < self._count and loop.time() - self._since < OUTPUT_WITHIN_S:
            self._timer = loop.call_later(OUTPUT_POLL_S, self._flush)
            return
        if self._made:
            self._out.put(_Output(self._made))
        self._made, self._made_of = [], 0

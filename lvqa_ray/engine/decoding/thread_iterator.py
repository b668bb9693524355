"""Async iterator over a generator that runs in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing, suppress
from typing import TypeVar

T = TypeVar("T")
AHEAD = 4
"""Maximum number of buffered items."""


async def iterate_in_thread(
    make: Callable[[], Generator[T, None, None]], stop: Callable[[], object], ended: Callable[[], object]
) -> AsyncGenerator[T, None]:
    """Run a generator in a thread; yields its items.

    Close it (`contextlib.aclosing`): closing stops the thread and does not wait for its end.

    Args:
        make: Makes the generator, in the thread.
        stop: Makes the generator end soon; called from another thread.
        ended: Called on the event loop when the thread has ended, in any case.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[T | _End] = asyncio.Queue()
    free, closed = threading.Semaphore(AHEAD), threading.Event()
    over = False

    def finish(end: _End) -> None:
        nonlocal over
        over = True
        ended()  # first: the consumer may need at once what this frees
        items.put_nowait(end)

    def put(item: T) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(items.put_nowait, item)

    def work() -> None:
        end = _End()
        try:
            with closing(make()) as made:
                for item in made:
                    free.acquire()
                    if closed.is_set():
                        break
                    put(item)
        except BaseException as error:  # raised again in the consumer
            end.error = error
        finally:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, end)

    # A daemon thread: the interpreter waits at its exit for threads of executors, and this one may be downloading.
    threading.Thread(target=work, daemon=True, name="pumped").start()
    try:
        while True:
            item = await items.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            free.release()
            yield item
    finally:
        closed.set()
        free.release()
        if not over:  # afterwards `stop` could stop the next work of the same process
            stop()


class _End:
    error: BaseException | None = None

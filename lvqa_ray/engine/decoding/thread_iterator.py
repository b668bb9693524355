"""A generator that works in a thread, taken item by item on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing, suppress
from typing import TypeVar

T = TypeVar("T")
AHEAD = 4
"""Items that are made before they are taken, at most."""


async def iterate_in_thread(
    make: Callable[[], Generator[T, None, None]], stop: Callable[[], object], ended: Callable[[], object]
) -> AsyncGenerator[T, None]:
    """What a generator gives.

    Close it (`contextlib.aclosing`): who goes away in the middle has the work stopped, and does not wait for its end.

    Args:
        make: Makes the generator, in the thread.
        stop: Makes it end soon, called from another thread.
        ended: Called on the loop when the thread is done, whatever has happened.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[T | _End] = asyncio.Queue()
    room, gone = threading.Semaphore(AHEAD), threading.Event()
    over = False

    def finish() -> None:
        nonlocal over
        over = True
        ended()

    def say(item: T | _End) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(items.put_nowait, item)

    def work() -> None:
        end = _End()
        try:
            with closing(make()) as made:
                for item in made:
                    room.acquire()
                    if gone.is_set():
                        break
                    say(item)
        except BaseException as error:  # it belongs to who takes the items
            end.error = error
        finally:
            say(end)
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(finish)

    # No executor's: those are waited for at the end of the program, and this may be in the midst of a download.
    threading.Thread(target=work, daemon=True, name="pumped").start()
    try:
        while True:
            item = await items.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            room.release()
            yield item
    finally:
        gone.set()
        room.release()
        if not over:  # or it would be somebody else's work that is stopped
            stop()


class _End:
    error: BaseException | None = None

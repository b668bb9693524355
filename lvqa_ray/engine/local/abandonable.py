"""Blocking calls in threads of their own that a caller may abandon, and calls that a cancellation does not end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

V = TypeVar("V")


async def in_own_thread(call: Callable[[], V], ended: Callable[[], object] = bool) -> V:
    """Run a blocking call in a thread of its own; a cancelled or timed-out caller does not wait for its end.

    `asyncio.to_thread` has a few threads for everything: calls that hang would hold up all others. The thread is a
    daemon, so it does not hold up the exit of the process either.

    Args:
        call: The call; its errors are raised here.
        ended: Called on the event loop when the thread has ended, in any case.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[V] = loop.create_future()

    def settle(result: V | None, error: BaseException | None) -> None:
        ended()
        if done.done():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def work() -> None:
        result: V | None = None
        error: BaseException | None = None
        try:
            result = call()
        except BaseException as raised:  # raised again in the caller
            error = raised
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=work, daemon=True, name="abandonable").start()
    except BaseException:
        ended()
        raise
    return await done


async def to_the_end(call: Coroutine[Any, Any, V]) -> V:
    """Await a call to its end, even if the caller is cancelled meanwhile; for the last act of a task.

    The cancellation is dropped: whoever cancelled the task finds it at its regular end.

    Args:
        call: The call; its errors are raised here.
    """
    task = asyncio.ensure_future(call)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()

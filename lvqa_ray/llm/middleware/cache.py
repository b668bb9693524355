"""Cache of paid replies: `CacheMiddleware` answers from the journal, `RecordPaidReplies` writes new replies to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, MutableSet
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Protocol

from lvqa_ray.errors import ApiError, StopRun
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest

KeyOf = Callable[[ChatRequest], str]
"""Gives the cache key of a request, such as ``functools.partial(cache_key, endpoint)``."""


class ReplyStore(Protocol):
    """Store of paid replies.

    Attributes:
        broken: The error of the first failed write; ``None`` if all succeeded.
    """

    broken: OSError | None

    async def find(self, key: str, /) -> ChatReply | ApiError | None:
        """The cached reply of a key, the cached failure (if a retry would only repeat it), or ``None``.

        Raises:
            OSError: The store cannot be read now.
        """

    def put(self, key: str, reply: ChatReply | ApiError, model: str = "", /) -> None:
        """Store a reply, or the error of a paid reply that is unusable.

        Raises:
            OSError: The write failed.
        """

    async def kept(self) -> None:
        """Wait until all stored replies are durable. Raises `OSError` as `put` does."""


class CacheMiddleware:
    """Cache lookup before each request; `RecordPaidReplies`, below it, stores the new replies.

    Concurrent requests with the same key are sent once. If a caller is cancelled while its request is being sent, the
    request goes on, so that its paid reply is stored. If the request still waits, it is cancelled with its last caller.

    Args:
        inner: The call for cache misses.
        answers: The store.
        key_of: Gives the cache key of a request.
        ask_again: Send requests again whose cached result is a failure or an unusable (``stale``) answer.
        on_wire: Keys of the requests being sent; `RecordPaidReplies` maintains the set.
        on_hit: Called for each cache hit, which proves that the endpoint has answered before.
    """

    def __init__(
        self,
        inner: Chat,
        answers: ReplyStore,
        key_of: KeyOf,
        *,
        ask_again: bool = False,
        on_wire: AbstractSet[str] = frozenset(),
        on_hit: Callable[[], object] = bool,
    ) -> None:
        self._inner = inner
        self._answers = answers
        self._key_of = key_of
        self._on_hit = on_hit
        self._ask_again = ask_again
        self._on_wire = on_wire
        self._under_way: dict[str, asyncio.Task[ChatReply]] = {}
        self._callers: Counter[str] = Counter()
        self._shown: dict[str, list[Callable[[str], object]]] = {}
        self._stop = ""

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Look up the reply, or send the request.

        Returns:
            The reply. For a cache hit ``usage.cached`` is 1, and tokens and cost are those of the original call.

        Raises:
            StopRun: The journal cannot be read. No more requests are sent, since they may be paid for already.
            ApiError: Raised by the inner call, now or when the cached failure was recorded.
        """
        if self._stop:
            raise StopRun(self._stop)
        key = self._key_of(request)
        try:
            reply = await self._answers.find(key)
        except OSError as exc:
            self._stop = cannot_be("read", exc)
            raise StopRun(self._stop) from exc
        if isinstance(reply, ChatReply) and not (request.stale and self._ask_again):
            self._on_hit()
            return _as_cached(reply)
        if isinstance(reply, ApiError) and not self._ask_again:
            reply.cached = True
            raise reply
        if request.on_text is not None:  # also for a reply that another caller asked for
            self._shown.setdefault(key, []).append(request.on_text)
        task = self._under_way.get(key)
        if task is not None:
            return _as_cached(await self._awaited(key, task))
        task = self._under_way[key] = asyncio.create_task(self._send(key, request))
        task.add_done_callback(lambda done: self._forget(key, done))
        return await self._awaited(key, task)

    async def _awaited(self, key: str, task: asyncio.Task[ChatReply]) -> ChatReply:
        self._callers[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._callers[key] == 1 and key not in self._on_wire:
                task.cancel()
                self._forget(key, task)  # at once: a new caller must not wait for the cancelled task
            raise
        finally:
            self._callers[key] -= 1
            if not self._callers[key]:
                del self._callers[key]

    async def _send(self, key: str, request: ChatRequest) -> ChatReply:
        def show(text: str) -> None:
            for on_text in self._shown.get(key, ()):
                on_text(text)

        shown = None if request.on_text is None else show
        return await self._inner(replace(request, key=key, on_text=shown))

    def _forget(self, key: str, done: asyncio.Task[ChatReply]) -> None:
        if self._under_way.get(key) is done:
            del self._under_way[key]
            self._shown.pop(key, None)
        if done.done() and not done.cancelled():
            done.exception()  # marks it as retrieved, also when all callers are gone


class RecordPaidReplies:
    """Write-ahead recorder of paid replies: stores each reply, usable or not, before it is used; measures its latency.

    It belongs directly around the transport, because each retried reply is paid for too. It also belongs inside the
    rate limit: a request keeps its lease until its reply is durable, so if the journal cannot be written, the run
    loses no more replies than requests are in flight.

    Args:
        inner: The transport.
        answers: The store.
        key_of: Gives the cache key of a request.
        model: The model, recorded with unusable replies.
        on_wire: Set of the keys of the requests being sent, maintained here.
    """

    def __init__(
        self, inner: Chat, answers: ReplyStore, key_of: KeyOf, model: str, on_wire: MutableSet[str] | None = None
    ) -> None:
        self._inner = inner
        self._answers = answers
        self._key_of = key_of
        self._model = model
        self._on_wire = set() if on_wire is None else on_wire
        self._stop = ""

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send the request and store its reply.

        Raises:
            StopRun: A reply could not be stored, now or while this request waited. No more requests are sent, since
                their replies would be paid for and lost.
            ApiError: Raised by the inner call.
        """
        if self._answers.broken is not None:
            self._stop = self._stop or cannot_be("written", self._answers.broken)
        if self._stop:
            raise StopRun(self._stop)
        begun, key = time.monotonic(), request.key or self._key_of(request)
        self._on_wire.add(key)
        try:
            reply = replace(await self._inner(request), seconds=time.monotonic() - begun)
            await self._keep(key, reply)
            return reply
        except ApiError as error:
            if error.bill is not None:
                await self._keep(key, error)
            raise
        finally:
            self._on_wire.discard(key)

    async def _keep(self, key: str, reply: ChatReply | ApiError) -> None:
        try:
            self._answers.put(key, reply, self._model)
            await self._answers.kept()
        except OSError as exc:
            self._stop = cannot_be("written", exc)
            raise StopRun(self._stop) from exc


def cannot_be(done: str, exc: OSError) -> str:
    """Message of a `StopRun`: the journal cannot be ``read`` or ``written``."""
    return f"The journal of paid answers cannot be {done} ({exc.strerror or exc})."


def _as_cached(reply: ChatReply) -> ChatReply:
    return replace(reply, usage=replace(reply.usage, calls=1, cached=1))

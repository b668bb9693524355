"""Cache of paid answers: `CacheMiddleware` answers from the journal, `RecordPaidReplies` records what is paid for."""

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
"""Names the answer to a request, such as ``functools.partial(cache_key, endpoint)``."""


class ReplyStore(Protocol):
    """Where paid answers are kept.

    Attributes:
        broken: Why an answer could not be kept, once that has happened.
    """

    broken: OSError | None

    async def find(self, key: str, /) -> ChatReply | ApiError | None:
        """The answer under a key, as it was paid for, or the failure that asking again would only repeat.

        Raises:
            OSError: It could not be read now.
        """

    def put(self, key: str, reply: ChatReply | ApiError, model: str = "", /) -> None:
        """Keep an answer, or a reply that was paid for and cannot be used.

        Raises:
            OSError: It could not be written.
        """

    async def kept(self) -> None:
        """Wait until all that was put outlives this process; errors as above."""


class CacheMiddleware:
    """Answer from the journal, ask for the rest; `RecordPaidReplies`, below it, writes the answers down.

    Requests with the same key that are under way at the same time are sent once. A caller that is cancelled leaves its
    request running: it is being paid for, so its answer is kept. One that is not sent yet is given up with its last
    caller.

    Args:
        inner: The call to spare.
        answers: Where answers are kept.
        key_of: Names the answer to a request.
        ask_again: Ask anew for what the journal holds as a failure, and for answers that were of no use.
        on_wire: The keys of the requests that are being paid for, which `RecordPaidReplies` tells.
        on_hit: Called for each answer from the journal: the endpoint has answered before.
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
        self._stop = ""

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """The answer, from the journal where it is there.

        Returns:
            The answer; one that was not paid for by this call has ``usage.cached == 1`` and the tokens and the cost of
            the call that paid.

        Raises:
            StopRun: The journal cannot be read; nothing more is asked, as it may have been paid for already.
            ApiError: What the inner call raises, or raised when it was paid for.
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
        task = self._under_way.get(key)
        if task is not None:
            return _as_cached(await self._awaited(key, task))
        task = self._under_way[key] = asyncio.create_task(self._ask(key, request))
        task.add_done_callback(lambda done: self._forget(key, done))
        return await self._awaited(key, task)

    async def _awaited(self, key: str, task: asyncio.Task[ChatReply]) -> ChatReply:
        self._callers[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._callers[key] == 1 and key not in self._on_wire:
                task.cancel()
                self._forget(key, task)  # at once: who asks now is not to wait for what is given up
            raise
        finally:
            self._callers[key] -= 1
            if not self._callers[key]:
                del self._callers[key]

    async def _ask(self, key: str, request: ChatRequest) -> ChatReply:
        return await self._inner(replace(request, key=key))

    def _forget(self, key: str, done: asyncio.Task[ChatReply]) -> None:
        if self._under_way.get(key) is done:
            del self._under_way[key]
        if done.done() and not done.cancelled():
            done.exception()  # seen, even where all callers are gone


class RecordPaidReplies:
    """Writes down every reply that was paid for, usable or not, before anything is made of it; times the others.

    It belongs right around the wire: what a retry makes good is on the bill all the same. It also belongs inside the
    limits: a request keeps its permit until its answer outlives this process, so that a journal that cannot be written
    loses no more answers than requests may be in flight, and holds back all others from then on.

    Args:
        inner: The call that pays.
        answers: Where replies are written down.
        key_of: Names the answer to a request.
        model: Who is asked.
        on_wire: Holds the keys of the requests that are under way.
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
        """Ask.

        Raises:
            StopRun: A reply could not be written down, now or while this request waited to be sent; nothing more is
                asked, as it would be paid for and lost.
            ApiError: What the inner call raises.
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
    """Why a run stops: the journal cannot be ``read`` or ``written``."""
    return f"The journal of paid answers cannot be {done} ({exc.strerror or exc})."


def _as_cached(reply: ChatReply) -> ChatReply:
    return replace(reply, usage=replace(reply.usage, calls=1, cached=1))

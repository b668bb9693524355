"""Client of a stage on the tier ``batch``: puts requests into file batches, and reads their answers in a later pass."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from lvqa_ray.errors import ApiError, BadRequest, Deferred, StopRun, TooLong
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.batches.batch_queue import MEGABYTE, BatchEntry, QueueClient, RequestState
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.llm.middleware.budget import BudgetClient, estimate_usd
from lvqa_ray.llm.middleware.cache import KeyOf, ReplyStore, cannot_be

FULL_S = 1.0
"""Interval at which a request is offered again while the files are full (s)."""
LIVE_S = 0.2
"""Interval at which a waiting caller looks for its answer (s)."""


@dataclass(frozen=True, slots=True)
class BatchRoute:
    """How requests of an endpoint get into file batches.

    Attributes:
        endpoint: The endpoint.
        api: Renders the requests; sends none.
        queue: The queue of the endpoint.
        waits: Wait for the answer instead of raising `Deferred`: for a caller in the process that runs the batches.
        collects: Put requests into batches; otherwise they only wait for a batch of an earlier run that has them.
    """

    endpoint: Endpoint
    api: BatchApi
    queue: QueueClient
    waits: bool = False
    collects: bool = True


class BatchedChat:
    """Offers each request to the queue of its endpoint. Belongs directly below the cache.

    Args:
        route: The route into file batches.
        standard: The client without batches, for requests that have waited long enough.
        answers: The reply cache of the stage.
        key_of: Gives the cache key of a request.
        budget: Budget of the run, if it has one.
    """

    def __init__(
        self,
        route: BatchRoute,
        standard: Chat,
        answers: ReplyStore,
        key_of: KeyOf,
        budget: BudgetClient | None = None,
    ) -> None:
        self._api = route.api
        self._endpoint = route.endpoint
        self._queue = route.queue
        self._waits = route.waits
        self._collects = route.collects
        self._standard = standard
        self._answers = answers
        self._key_of = key_of
        self._budget = budget
        self._formed = False  # whether it knows what earlier passes have found out about the form of requests

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Return the answer if a batch has brought it; else put the request into a batch.

        Raises:
            Deferred: The request waits in a batch.
            ApiError: It failed in as many batches as its error allows.
        """
        key = request.key or self._key_of(request)
        while True:
            state = await self._queue.state(key)
            if state is RequestState.NEW and not self._collects:
                return await self._standard(request)
            if state is RequestState.NEW:
                state = await self._offer(key, request)
            if isinstance(state, ApiError):
                changes = self._api.asked(state, request) if isinstance(state, BadRequest) else frozenset()
                if not changes or not await self._queue.forget(key, changes):
                    raise state
                self._api.change(changes)
            elif state is RequestState.STANDARD:
                return await self._standard(replace(request, standard=True))
            elif state is RequestState.ANSWERED:
                return await self._answer(key)
            elif not self._waits:
                raise Deferred("The request waits in a file batch.")
            else:
                await asyncio.sleep(LIVE_S)

    async def _offer(self, key: str, request: ChatRequest) -> RequestState | ApiError:
        """Reserve budget for a request once, and offer it until the files have room for it."""
        estimate = estimate_usd(self._endpoint, request) if self._budget else 0.0
        if self._budget is not None and (refused := await self._budget.reserve(estimate)) is not None:
            raise refused
        state: RequestState | ApiError = RequestState.NEW
        try:
            while (state := await self._offered(key, request, estimate)) is RequestState.FULL:  # noqa: ASYNC110 - the queue may be in another process
                await asyncio.sleep(FULL_S)
        finally:
            if state is not RequestState.ADDED and self._budget is not None:
                await self._budget.release(estimate)
        return state

    async def _offered(self, key: str, request: ChatRequest, estimate: float) -> RequestState | ApiError:
        if not self._formed:
            self._api.change(await self._queue.changes())
            self._formed = True
        line = await asyncio.to_thread(self._api.line, key, request)
        if len(line) > MEGABYTE * self._endpoint.batch_mb:
            return TooLong(f"The request has {len(line) / MEGABYTE:.1f} MB, and a file takes batch_mb.")
        try:
            return await self._queue.offer(BatchEntry(key, request.stage, estimate), line)
        except OSError as error:
            raise StopRun(f"A file of requests cannot be written ({error.strerror or error}).") from None

    async def _answer(self, key: str) -> ChatReply:
        """The answer that was recorded after the cache looked for it."""
        try:
            found = await self._answers.find(key)
        except OSError as error:
            raise StopRun(cannot_be("read", error)) from error
        if isinstance(found, ApiError):
            raise found
        if found is None:
            raise StopRun("The answer of a file batch is not in the journal of paid answers.")
        return found

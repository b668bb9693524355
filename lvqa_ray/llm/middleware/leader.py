"""Leader-first scheduling: of the requests with one prompt prefix, the first goes alone and fills the prompt cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.llm.pricing import discounts_cache

PREFIX_TTL_S = 240.0
"""How long a prefix is taken to stay in the endpoint's cache after a reply (s). OpenAI and DashScope keep it for 5
minutes after its last use, or longer."""
_MOST_PREFIXES = 10_000


class WarmPrefixes:
    """Prompt prefixes that endpoints have cached, as far as the requests of this process tell; shared by its clients.

    Args:
        clock: Monotonic time (s).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leading: dict[tuple[str, str], asyncio.Event] = {}
        self._warm: dict[tuple[str, str], float] = {}

    async def lead(self, at: str, prefix: str) -> asyncio.Event | None:
        """Wait for the leader of a prefix, if it has one, unless the prefix is cached.

        Args:
            at: Name of the endpoint.
            prefix: The prefix.

        Returns:
            The event to give to `done` if the caller leads now, else ``None``. If the leader failed, all that waited
            for it go on at once.
        """
        if self._clock() - self._warm.get((at, prefix), -PREFIX_TTL_S) < PREFIX_TTL_S:
            return None
        if leader := self._leading.get((at, prefix)):
            await leader.wait()
            return None
        led = self._leading[at, prefix] = asyncio.Event()
        return led

    def done(self, at: str, prefix: str, led: asyncio.Event | None, *, answered: bool) -> None:
        """Note the end of a request, and let those go on that waited for it."""
        if answered:
            if len(self._warm) >= _MOST_PREFIXES:
                self._warm.clear()  # prefixes in use are soon noted again
            self._warm[at, prefix] = self._clock()
        if led is not None:
            del self._leading[at, prefix]
            led.set()


class LeaderFirst:
    """Sends the first request with a prompt prefix alone; the others follow when it has its reply.

    Endpoints fill their prompt cache when a request has been answered, so requests that go out together all miss it.
    It belongs inside the cache, whose hits wait for nothing, and outside the retries and the rate limit: a request that
    waits for its leader holds no lease, and the leases go to requests about other videos.

    Args:
        inner: The call.
        endpoint: The endpoint.
        prefixes: The prefixes known to be cached.
    """

    def __init__(self, inner: Chat, endpoint: Endpoint, prefixes: WarmPrefixes) -> None:
        self._inner = inner
        self._at = f"{endpoint.model} {endpoint.base_url}"
        self._prefixes = prefixes

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Wait for the leader, then send.

        Raises:
            ApiError: Raised by the inner call.
        """
        if not request.prefix:
            return await self._inner(request)
        # Endpoints put the schema before the prompt, so it is part of the prefix.
        prefix = f"{request.prefix} {request.reply_schema.name if request.reply_schema else ''}"
        led, answered = await self._prefixes.lead(self._at, prefix), False
        try:
            reply = await self._inner(request)
            answered = True
            return reply
        finally:
            self._prefixes.done(self._at, prefix, led, answered=answered)


def goes_first(endpoint: Endpoint) -> bool:
    """Whether a leader goes first at an endpoint: as its settings say, else where cache hits are known to cost less.

    Never for file batches, whose replies take hours.
    """
    if endpoint.tier == "batch" or endpoint.leader_first is not None:
        return endpoint.tier != "batch" and bool(endpoint.leader_first)
    return discounts_cache(endpoint, endpoint.tier)

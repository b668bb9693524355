"""Asking again after a failure that may pass."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.error_policy import policy_of
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest

"""The one-method seam of this room: a request in, a reply out, or an `ApiError`."""

SPARED_AT_MOST = 8
"""Attempts that an outage may take without counting. An outage and a request that brings its server down look alike
where it is the only one: so many probes in a row take two minutes, and where others wait they take turns."""

LONGEST_WAIT_S = 300.0
"""An endpoint that asks for a longer wait than this is not waited for: a later run asks again."""


class RetryMiddleware:
    """Sends a request again as often as the `policy` of its error allows, with exponential backoff and full jitter.

    It belongs outside the limits, so that a request that waits for its next attempt holds no permit and every attempt
    is counted. An attempt that failed while the endpoint was down for everyone (``spared``) does not count against the
    request, up to `SPARED_AT_MOST` times; the limits hold back the next one until the endpoint is to be tried again.

    Args:
        inner: The call to repeat.
        max_attempts: How often a request is sent at most.
        base_s: Upper bound of the first wait in seconds; it doubles with each failure of the same kind.
        cap_s: Upper bound of any wait in seconds that the endpoint did not ask for.
        longest_wait_s: A longer wait asked for by the endpoint ends the attempts at once.
        rng: Source of the jitter.
        sleep: How to wait; tests pass their own.
    """

    def __init__(
        self,
        inner: Chat,
        max_attempts: int,
        *,
        base_s: float = 0.5,
        cap_s: float = 60.0,
        longest_wait_s: float = LONGEST_WAIT_S,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {max_attempts}")
        self._inner = inner
        self._max_attempts = max_attempts
        self._base_s = base_s
        self._cap_s = cap_s
        self._longest_wait_s = longest_wait_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._sleep = sleep

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Ask until there is an answer, a failure that asking again does not mend, or no attempt left.

        Raises:
            ApiError: The last failure; its ``attempts`` says how often the request was sent.
        """
        attempt = 1
        spared = 0
        seen: Counter[type[ApiError]] = Counter()
        while True:
            try:
                return await self._inner(request)
            except ApiError as error:
                error.attempts = attempt + spared
                if error.spared and spared < SPARED_AT_MOST:
                    spared += 1
                    continue
                seen[type(error)] += 1
                most = policy_of(error).attempts or self._max_attempts
                if attempt >= self._max_attempts or seen[type(error)] >= most:
                    raise
                wait_s = self._wait_s(seen[type(error)], error.retry_after_s)
                if wait_s is None:
                    raise
            await self._sleep(wait_s)
            attempt += 1

    def _wait_s(self, failed: int, asked_s: float | None) -> float | None:
        """Seconds until the next attempt, or ``None`` where the endpoint asks for too long a wait.

        Args:
            failed: How often this request has failed in this way. A second fault of another kind is bad luck rather
                than trouble that lasts, and what is trouble for all is the limits' business.
            asked_s: What the endpoint asked for.
        """
        if asked_s is not None and asked_s > self._longest_wait_s:
            return None
        # 2.0**64 is far past any cap; larger powers would overflow.
        jitter_s = self._rng.uniform(0, min(self._cap_s, self._base_s * 2.0 ** min(failed - 1, 64)))
        # Jitter comes on top of what was asked for: all who were told to wait were told the same.
        return jitter_s if asked_s is None else asked_s + jitter_s

"""How many calls may go out, and when: a pure algorithm with an injected clock, and its asyncio shell."""

from __future__ import annotations

import asyncio
import copy
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lvqa_ray.errors import ApiError, RetryableError, StopRun
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Text
from lvqa_ray.llm.retry import LONGEST_WAIT_S, Call

WINDOW_S = 60.0
SLACK_S = 1.0
"""The window is kept this much longer than a minute: the endpoint counts requests as they arrive, and one may be this
much slower on its way than the next. It costs 1.6 % of the limit."""

MEDIA_TOKENS = 800
"""Stand-in for the tokens of a picture until the reply says the true number."""
REPLY_TOKENS = 600
"""Stand-in for the tokens of a reply that has no limit of its own."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The permission to send one request.

    Attributes:
        id: Names the lease to the limiter that gave it.
        tokens: Tokens set aside for the request.
        expires_at: Time on the limiter's clock from which its place among the requests in flight is free again.
    """

    id: int
    tokens: int
    expires_at: float


@dataclass(slots=True)
class _Sent:
    at: float
    tokens: int


class Limiter:
    """Gives leases so that no limit is passed, in any window of a minute, however the window is laid.

    It keeps the time of every request of the last minute: a token bucket, the usual short cut, lets through up to twice
    the limit in a minute that begins with a full bucket. It never sleeps and knows no event loop: it says how long to
    wait, and the caller waits.

    A lease that is not given back in its time to live belongs to a worker that died, and its place is used again.
    Times are those of the clock, in seconds.

    Args:
        max_concurrency: Most leases out at once.
        requests_per_minute: Most leases in any minute, ``None`` for no limit.
        tokens_per_minute: Most tokens in any minute, ``None`` for no limit. Exact as far as the estimates are not too
            low; a request that is larger than the limit goes out alone.
        clock: The time in seconds, never running backwards.
        lease_ttl_s: Time to live of a lease; longer than any request may take.
        window_s: Length of the window.
    """

    def __init__(
        self,
        max_concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        lease_ttl_s: float = 2100.0,
        window_s: float = WINDOW_S + SLACK_S,
    ) -> None:
        self._max_concurrency = max_concurrency
        self._requests_per_minute = requests_per_minute
        self._tokens_per_minute = tokens_per_minute
        self._clock = clock
        self._lease_ttl_s = lease_ttl_s
        self._window_s = window_s
        self._leases: dict[int, tuple[Lease, _Sent]] = {}  # in the order of their expiry
        self._sent: deque[_Sent] = deque()  # the requests of the last window, oldest first
        self._tokens_in_window = 0
        self._held_until = -math.inf
        self._stop: StopRun | None = None
        self._next_id = 0

    @classmethod
    def of(cls, endpoint: Endpoint, clock: Callable[[], float] = time.monotonic) -> Limiter:
        """The limiter for an endpoint's limits."""
        return cls(
            endpoint.max_concurrency,
            endpoint.requests_per_minute,
            endpoint.tokens_per_minute,
            clock,
            lease_ttl_s=endpoint.timeout_s + 60.0,
        )

    @property
    def in_flight(self) -> int:
        """Leases that are out and have not expired."""
        self._forget_old(self._clock())
        return len(self._leases)

    @property
    def halted(self) -> StopRun | None:
        """Why no more calls go out, if that is so."""
        return self._stop

    def acquire(self, tokens: int) -> Lease | float:
        """A lease, or the seconds after which to ask again.

        A wait for a place in flight may end sooner, whenever a lease is given back: ask again then.

        Args:
            tokens: Estimate of the tokens of the request and its reply.

        Raises:
            StopRun: An earlier call found that none can succeed.
        """
        if self._stop is not None:
            raise copy.copy(self._stop)  # a new one, as each raise adds to the traceback of the one it raises
        now = self._clock()
        self._forget_old(now)
        wait_s = max(self._hold_s(now), self._place_s(now), self._request_s(now), self._tokens_s(now, tokens))
        if wait_s > 0:
            return wait_s
        lease = Lease(id=self._next_id, tokens=tokens, expires_at=now + self._lease_ttl_s)
        sent = _Sent(at=now, tokens=tokens)
        self._next_id += 1
        self._leases[lease.id] = (lease, sent)
        self._sent.append(sent)
        self._tokens_in_window += tokens
        return lease

    def release(self, lease: Lease, used_tokens: int | None = None, outcome: ApiError | None = None) -> None:
        """Give a lease back.

        Giving back one that has expired, or the same one twice, changes nothing.

        Args:
            lease: What `acquire` gave.
            used_tokens: Tokens the endpoint counted; ``None`` keeps the estimate.
            outcome: The error the call ended with: a `StopRun` halts everyone, a wait asked for holds everyone.
        """
        _, sent = self._leases.pop(lease.id, (None, None))
        now = self._clock()
        if sent is not None and used_tokens is not None and sent.at + self._window_s > now:
            self._tokens_in_window += used_tokens - sent.tokens
            sent.tokens = used_tokens
        if isinstance(outcome, StopRun):
            self.halt(outcome)
        elif isinstance(outcome, RetryableError) and outcome.retry_after_s is not None:
            self.penalise(outcome.retry_after_s)

    def halt(self, stop: StopRun) -> None:
        """Give no more leases: a reason that was found elsewhere, such as a journal that cannot be written."""
        self._stop = self._stop or copy.copy(stop)  # the copy holds no traceback, and with it no request

    def penalise(self, retry_after_s: float) -> None:
        """Hold everyone for so many seconds from now, and at most for `LONGEST_WAIT_S`."""
        self._held_until = max(self._held_until, self._clock() + min(retry_after_s, LONGEST_WAIT_S))

    def _forget_old(self, now: float) -> None:
        while self._sent and self._sent[0].at + self._window_s <= now:
            self._tokens_in_window -= self._sent.popleft().tokens
        while self._leases:
            lease, _ = next(iter(self._leases.values()))
            if lease.expires_at > now:
                break
            del self._leases[lease.id]

    def _hold_s(self, now: float) -> float:
        return self._held_until - now

    def _place_s(self, now: float) -> float:
        if len(self._leases) < self._max_concurrency:
            return 0.0
        lease, _ = next(iter(self._leases.values()))
        return lease.expires_at - now

    def _request_s(self, now: float) -> float:
        limit = self._requests_per_minute
        if limit is None or len(self._sent) < limit:
            return 0.0
        return self._sent[len(self._sent) - limit].at + self._window_s - now

    def _tokens_s(self, now: float, tokens: int) -> float:
        limit = self._tokens_per_minute
        if limit is None:
            return 0.0
        left = self._tokens_in_window
        wait_s = 0.0
        for sent in self._sent:
            if left <= max(0, limit - tokens):
                break
            left -= sent.tokens
            wait_s = sent.at + self._window_s - now
        return wait_s


class Permits(Protocol):
    """Where leases come from: this process, or an actor that serves many."""

    async def acquire(self, tokens: int) -> Lease:
        """Wait for a lease.

        Raises:
            StopRun: An earlier call found that none can succeed.
        """
        ...

    async def release(self, lease: Lease, used_tokens: int | None = None, outcome: ApiError | None = None) -> None:
        """Give a lease back, with what was used and how it ended."""
        ...


class LocalPermits:
    """Leases for the tasks of one event loop, first come, first served."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._turn = asyncio.Lock()  # fair: whoever waits with a large request is not overtaken by small ones
        self._changed = asyncio.Event()

    async def acquire(self, tokens: int) -> Lease:
        """Wait for a lease; see `Permits`."""
        async with self._turn:
            while True:
                self._changed.clear()
                answer = self._limiter.acquire(tokens)
                if isinstance(answer, Lease):
                    return answer
                try:
                    async with asyncio.timeout(answer):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    async def release(self, lease: Lease, used_tokens: int | None = None, outcome: ApiError | None = None) -> None:
        """Give a lease back; see `Permits`."""
        self._limiter.release(lease, used_tokens, outcome)
        self._changed.set()


class Limited:
    """Sends each request under a lease, which it gives back whatever happens.

    Args:
        inner: The call to limit.
        permits: Where leases come from.
    """

    def __init__(self, inner: Call, permits: Permits) -> None:
        self._inner = inner
        self._permits = permits

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Wait for a lease, then ask.

        Raises:
            ApiError: What the call ended with, or the `StopRun` that an earlier one ended with.
        """
        lease = await self._permits.acquire(estimate_tokens(request))
        used: int | None = None
        outcome: ApiError | None = None
        try:
            reply = await self._inner(request)
            used = reply.usage.input_tokens + reply.usage.output_tokens or None  # 0: the endpoint does not say
            return reply
        except ApiError as error:
            outcome = error
            used = 0 if (error.status or 0) >= 400 else None  # turned away before it cost tokens; else nobody knows
            raise
        finally:
            await self._permits.release(lease, used, outcome)


def estimate_tokens(request: ChatRequest) -> int:
    """A rough number of tokens for a request and its reply; the true one replaces it when the reply is there."""
    tokens = REPLY_TOKENS if request.max_tokens is None else request.max_tokens
    for message in request.messages:
        for part in message.parts:
            tokens += math.ceil(len(part.text) / 4) if isinstance(part, Text) else MEDIA_TOKENS
    return tokens

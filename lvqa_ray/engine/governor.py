"""The limits of one endpoint, held by one actor for all workers of the cluster."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import ray

from lvqa_ray.errors import ApiError, StopRun
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.limits import Lease, Limiter, LocalPermits

MOST_CALLS = 10_000
"""Calls of a governor at once: more than any endpoint has requests in flight."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an endpoint has been asked so far.

    Attributes:
        answered: Requests that got an answer.
        failed: Requests that did not, by kind of error; each attempt counts.
        in_flight: Requests under way.
        tokens: Tokens that the endpoint counted.
        halted: Why no more requests go out; empty while they do.
    """

    answered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    tokens: int = 0
    halted: str = ""


class Governor:
    """Hands out leases; a shell around the `Limiter`, which is tested without Ray."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._limiter = Limiter.of(endpoint)
        self._permits = LocalPermits(self._limiter)
        self._answered = 0
        self._failed: Counter[str] = Counter()
        self._tokens = 0

    async def acquire(self, tokens: int) -> Lease | StopRun:
        """A lease, once there is one; or the reason why there will be none."""
        try:
            return await self._permits.acquire(tokens)
        except StopRun as stop:
            return stop

    async def release(self, lease: Lease, used_tokens: int | None, outcome: ApiError | None) -> None:
        """Take a lease back."""
        if outcome is None:
            self._answered += 1
        else:
            self._failed[outcome.kind] += 1
        self._tokens += used_tokens or 0
        await self._permits.release(lease, used_tokens, outcome)

    async def traffic(self) -> Traffic:
        """What has been asked so far."""
        return Traffic(
            answered=self._answered,
            failed=dict(self._failed),
            in_flight=self._limiter.in_flight,
            tokens=self._tokens,
            halted=str(self._limiter.halted or ""),
        )

    async def halt(self, reason: str) -> None:
        """Give no more leases."""
        self._limiter.halt(StopRun(reason))

    async def halted(self) -> bool:
        """Whether no more requests go out."""
        return self._limiter.halted is not None


def start(endpoint: Endpoint) -> Any:  # noqa: ANN401 - Ray's handles have no type of their own
    """A governor on the cluster; it lives as long as its handle is held.

    A lease is waited for inside the actor, so it takes many calls at once: one who gives a lease back must never queue
    behind those who want one. They share one event loop, since a concurrency group of their own would be another
    thread, and a wake-up from one loop to another gets lost.
    """
    as_actor: Any = ray.remote  # its types know of functions only
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": MOST_CALLS}
    return as_actor(**options)(Governor).remote(endpoint)


class RemotePermits:
    """Leases from a governor on the cluster.

    Args:
        governor: Handle of the actor.
    """

    def __init__(self, governor: Any) -> None:  # noqa: ANN401 - Ray's handles have no type of their own
        self._governor = governor

    async def acquire(self, tokens: int) -> Lease:
        """Wait for a lease.

        Raises:
            StopRun: An earlier call found that none can succeed.
        """
        answer: Lease | StopRun = await self._governor.acquire.remote(tokens)
        if isinstance(answer, StopRun):
            raise answer
        return answer

    async def release(self, lease: Lease, used_tokens: int | None = None, outcome: ApiError | None = None) -> None:
        """Give a lease back."""
        # A cause may hold a request with its pictures, or what cannot be pickled: only the error itself travels.
        bare = outcome and type(outcome)(str(outcome), status=outcome.status, retry_after_s=outcome.retry_after_s)
        await self._governor.release.remote(lease, used_tokens, bare)

"""Rate limiter of one endpoint, as one actor for all workers of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from lvqa_ray.engine.ray import Handle
from lvqa_ray.errors import StopRun
from lvqa_ray.llm.ratelimit.daily_quota import DailyQuota
from lvqa_ray.llm.ratelimit.endpoint_stats import CountingLeaseServer, EndpointStats
from lvqa_ray.llm.ratelimit.holders import is_stopped
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits, SendLease
from lvqa_ray.llm.ratelimit.outcome import RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.server import LimiterStatus
from lvqa_ray.storage.paths import StoragePath

MOST_CALLS = 10_000
"""Concurrent calls of the actor: more than any endpoint has requests in flight."""


class RateLimiterActor:
    """Lease server on the cluster: a thin wrapper around `CountingLeaseServer`, which is tested without Ray.

    Ray restarts it if it dies. The counters of `traffic` then start at 0, and a halt is lost: the next request finds
    its reason again.

    Args:
        limits: The rate limits.
        day: File that counts requests per day, on a disk that all nodes share.
    """

    def __init__(self, limits: Limits, day: StoragePath | None = None) -> None:
        took_over = ray.get_runtime_context().was_current_actor_reconstructed
        day_ = DailyQuota(limits.requests_per_day, day)
        self._limiter = Limiter(limits, day=day_, took_over=took_over, is_stopped=is_stopped)
        self._server = CountingLeaseServer(self._limiter)

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases; see `LeaseServer`."""
        return await self._server.acquire_batch(holder, estimates)

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Take back leases with the outcome of their requests; see `LeaseServer`."""
        return await self._server.release_batch(done)

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Record which leases a holder has; see `LeaseServer`."""
        await self._server.heartbeat(holder, held)

    async def traffic(self) -> EndpointStats:
        """The counters now."""
        return self._server.stats()

    async def halt(self, reason: str) -> None:
        """Grant no more leases."""
        self._server.halt(StopRun(reason))

    async def halted(self) -> bool:
        """Whether no more leases are granted."""
        return self._limiter.halted is not None


def start(limits: Limits, day: StoragePath | None = None) -> Handle:
    """Start a rate limiter on the cluster; it lives as long as its handle.

    Callers wait for leases inside the actor, so it runs many calls concurrently: a release must never queue behind
    acquires. All calls share one event loop: a concurrency group for releases would be another thread, and a wake-up
    from one event loop to another gets lost.
    """
    as_actor: Any = ray.remote  # typed for functions only
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": MOST_CALLS}
    return as_actor(**options)(RateLimiterActor).remote(limits, day)


class RayLeaseServer:
    """Client of a rate limiter on the cluster; a `LeaseServer`.

    Args:
        rate_limiter: Handle of the actor.
    """

    def __init__(self, rate_limiter: Handle) -> None:
        self._actor = rate_limiter

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases; see `LeaseServer`."""
        answer: list[SendLease] | StopRun = await self._actor.acquire_batch.remote(holder, estimates)
        return answer

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Give leases back with the outcome of their requests; see `LeaseServer`."""
        status: LimiterStatus = await self._actor.release_batch.remote(done)
        return status

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Report which leases this holder has; see `LeaseServer`."""
        await self._actor.heartbeat.remote(holder, held)

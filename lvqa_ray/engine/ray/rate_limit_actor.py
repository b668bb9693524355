"""Rate limiters of a run, in one actor for all workers of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """Lease servers on the cluster, one for each endpoint: thin wrappers around `CountingLeaseServer`.

    One process, since each takes half a CPU second to start and 170 MB (measured on Ray 2.60). Ray restarts it if it
    dies. The counters of `traffic` then start at 0, and a halt is lost: the next request finds its reason again.

    Args:
        limits: For each endpoint its rate limits, and the file that counts its requests per day, on a disk that all
            nodes share.
    """

    def __init__(self, limits: Sequence[tuple[Limits, StoragePath | None]]) -> None:
        took_over = ray.get_runtime_context().was_current_actor_reconstructed
        self._limiters = [
            Limiter(each, day=DailyQuota(each.requests_per_day, day), took_over=took_over, is_stopped=is_stopped)
            for each, day in limits
        ]
        self._servers = [CountingLeaseServer(limiter) for limiter in self._limiters]

    async def acquire_batch(
        self, number: int, holder: str, estimates: Sequence[TokenEstimate]
    ) -> list[SendLease] | StopRun:
        """Wait for leases; see `LeaseServer`."""
        return await self._servers[number].acquire_batch(holder, estimates)

    async def release_batch(self, number: int, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Take back leases with the outcome of their requests; see `LeaseServer`."""
        return await self._servers[number].release_batch(done)

    async def heartbeat(self, number: int, holder: str, held: Sequence[SendLease]) -> None:
        """Record which leases a holder has; see `LeaseServer`."""
        await self._servers[number].heartbeat(holder, held)

    async def traffic(self, number: int) -> EndpointStats:
        """The counters now."""
        return self._servers[number].stats()

    async def halt(self, number: int, reason: str) -> None:
        """Grant no more leases."""
        self._servers[number].halt(StopRun(reason))

    async def halted(self, number: int) -> bool:
        """Whether no more leases are granted."""
        return self._limiters[number].halted is not None


def start(limits: Iterable[tuple[Limits, StoragePath | None]]) -> list[RateLimiter]:
    """Start rate limiters on the cluster; they live as long as the handle of their actor.

    Callers wait for leases inside the actor, so it runs many calls concurrently: a release must never queue behind
    acquires. All calls share one event loop: a concurrency group for releases would be another thread, and a wake-up
    from one event loop to another gets lost.

    Args:
        limits: As for `RateLimiterActor`.
    """
    limits = list(limits)
    as_actor: Any = ray.remote  # typed for functions only
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": MOST_CALLS}
    actor = as_actor(**options)(RateLimiterActor).remote(limits)
    return [RateLimiter(actor, number) for number in range(len(limits))]


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Client of a rate limiter on the cluster; a `LeaseServer`. Methods that are not awaited return Ray's futures.

    Attributes:
        actor: Handle of the actor.
        number: Which of its rate limiters.
    """

    actor: Handle
    number: int

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases; see `LeaseServer`."""
        answer: list[SendLease] | StopRun = await self.actor.acquire_batch.remote(self.number, holder, estimates)
        return answer

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Give leases back with the outcome of their requests; see `LeaseServer`."""
        status: LimiterStatus = await self.actor.release_batch.remote(self.number, done)
        return status

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Report which leases this holder has; see `LeaseServer`."""
        await self.actor.heartbeat.remote(self.number, holder, held)

    def traffic(self) -> Handle:
        """Future of the counters, an `EndpointStats`."""
        return self.actor.traffic.remote(self.number)

    def halt(self, reason: str) -> Handle:
        """Have it grant no more leases."""
        return self.actor.halt.remote(self.number, reason)

    def halted(self) -> Handle:
        """Future of whether it grants no more leases."""
        return self.actor.halted.remote(self.number)

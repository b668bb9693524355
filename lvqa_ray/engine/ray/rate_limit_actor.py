"""The limits of one endpoint, held by one actor for all workers of the cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from lvqa_ray.errors import StopRun
from lvqa_ray.llm.ratelimit.daily_quota import DailyQuota
from lvqa_ray.llm.ratelimit.holders import is_stopped
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits, SendLease
from lvqa_ray.llm.ratelimit.outcome import RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.server import LimiterStatus, LocalLeaseServer
from lvqa_ray.storage.paths import StoragePath

MOST_CALLS = 10_000
"""Calls of a governor at once: more than any endpoint has requests in flight."""


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """What an endpoint has been asked so far.

    Attributes:
        answered: Requests that got an answer.
        failed: Requests that did not, by kind of error; each attempt counts.
        in_flight: Requests under way.
        most_in_flight: Requests that may be under way at once now.
        tokens: Tokens that the endpoint counted.
        down_s: For how many seconds the endpoint has been down; 0 if it is up.
        halted: Why no more requests go out; empty while they do.
        pid: Process of the governor, which changes where it died and came back.
    """

    answered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0
    tokens: int = 0
    down_s: float = 0.0
    halted: str = ""
    pid: int = 0


class RateLimiterActor:
    """A desk on the cluster: a shell around `LocalLeaseServer`, which is tested without Ray.

    It is restarted where it dies. What it counted for `traffic` is then gone, and so is a halt: the next call finds the
    reason again.

    Args:
        limits: What holds.
        day: File for the requests of the day, on a disk that all nodes see.
    """

    def __init__(self, limits: Limits, day: StoragePath | None = None) -> None:
        took_over = ray.get_runtime_context().was_current_actor_reconstructed
        day_ = DailyQuota(limits.requests_per_day, day)
        self._limiter = Limiter(limits, day=day_, took_over=took_over, is_stopped=is_stopped)
        self._server = LocalLeaseServer(self._limiter)
        self._answered = 0
        self._failed: Counter[str] = Counter()
        self._tokens = 0

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Leases, once there are some; see `LeaseServer`."""
        return await self._server.acquire_batch(holder, estimates)

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Take leases back; see `LeaseServer`."""
        for _, outcome in done:
            self._answered += outcome.failed is None
            self._failed.update([outcome.kind] if outcome.kind else [])
            self._tokens += outcome.used.total if outcome.used else 0
        return await self._server.release_batch(done)

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Note which leases a holder has; see `LeaseServer`."""
        await self._server.heartbeat(holder, held)

    async def traffic(self) -> EndpointStats:
        """What has been asked so far."""
        return EndpointStats(
            answered=self._answered,
            failed=dict(self._failed),
            in_flight=self._limiter.in_flight,
            most_in_flight=self._limiter.most_in_flight,
            tokens=self._tokens,
            down_s=self._limiter.down_s,
            halted=str(self._limiter.halted or ""),
            pid=os.getpid(),
        )

    async def halt(self, reason: str) -> None:
        """Give no more leases."""
        self._server.halt(StopRun(reason))

    async def halted(self) -> bool:
        """Whether no more requests go out."""
        return self._limiter.halted is not None


def start(limits: Limits, day: StoragePath | None = None) -> Any:  # noqa: ANN401 - Ray's handles have no type of their own
    """A governor on the cluster; it lives as long as its handle is held.

    A lease is waited for inside the actor, so it takes many calls at once: one who gives a lease back must never queue
    behind those who want one. They share one event loop, since a concurrency group of their own would be another
    thread, and a wake-up from one loop to another gets lost.
    """
    as_actor: Any = ray.remote  # its types know of functions only
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": MOST_CALLS}
    return as_actor(**options)(RateLimiterActor).remote(limits, day)


class RayLeaseServer:
    """The desk of a governor on the cluster.

    Args:
        governor: Handle of the actor.
    """

    def __init__(self, governor: Any) -> None:  # noqa: ANN401 - Ray's handles have no type of their own
        self._actor = governor

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases; see `LeaseServer`."""
        answer: list[SendLease] | StopRun = await self._actor.acquire_batch.remote(holder, estimates)
        return answer

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Say what became of requests; see `LeaseServer`."""
        news: LimiterStatus = await self._actor.release_batch.remote(done)
        return news

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Say which leases this holder has; see `LeaseServer`."""
        await self._actor.heartbeat.remote(holder, held)

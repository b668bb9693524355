"""Request counters of one endpoint, and the lease server that counts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import SendLease
from lvqa_ray.llm.ratelimit.outcome import RequestOutcome
from lvqa_ray.llm.ratelimit.server import LimiterStatus, LocalLeaseServer


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """Request counters of one endpoint.

    Attributes:
        answered: Requests that got a reply.
        failed: Failed attempts by kind of error.
        in_flight: Requests in flight.
        most_in_flight: The current limit of requests in flight.
        tokens: Tokens that the endpoint counted.
        down_s: How long the endpoint has been down (s); 0 if it is up.
        halted: Why the limiter grants no more leases; empty while it does.
        pid: Id of the limiter's process, which changes when Ray restarts its actor.
    """

    answered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0
    tokens: int = 0
    down_s: float = 0.0
    halted: str = ""
    pid: int = 0


class CountingLeaseServer(LocalLeaseServer):
    """Lease server that counts the outcomes of requests."""

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(limiter)
        self._counted = limiter
        self._answered = 0
        self._failed: Counter[str] = Counter()
        self._tokens = 0

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Take back leases with the outcome of their requests; see `LeaseServer`."""
        for _, outcome in done:
            self._answered += outcome.failed is None
            self._failed.update([outcome.kind] if outcome.kind else [])
            self._tokens += outcome.used.total if outcome.used else 0
        return await super().release_batch(done)

    def stats(self) -> EndpointStats:
        """The counters now."""
        return EndpointStats(
            answered=self._answered,
            failed=dict(self._failed),
            in_flight=self._counted.in_flight,
            most_in_flight=self._counted.most_in_flight,
            tokens=self._tokens,
            down_s=self._counted.down_s,
            halted=str(self._counted.halted or ""),
            pid=os.getpid(),
        )

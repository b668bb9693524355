"""Lease server: a rate limiter with a FIFO queue, on one event loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lvqa_ray.errors import StopRun
from lvqa_ray.llm.ratelimit.limiter import HOLDER_TTL_S, Limiter
from lvqa_ray.llm.ratelimit.limits import SendLease
from lvqa_ray.llm.ratelimit.outcome import RequestOutcome, TokenEstimate

CHUNK = 64
"""Maximum number of leases in a batch."""


@dataclass(frozen=True, slots=True)
class LimiterStatus:
    """The limiter's reply to a report.

    Attributes:
        down: Whether the circuit breaker is open.
        held_s: Seconds for which no request is sent.
        proven: Stages that the endpoint has answered.
        halted: Whether the limiter has stopped for good.
    """

    down: bool = False
    held_s: float = 0.0
    proven: frozenset[str] = frozenset()
    halted: bool = False


class LeaseServer(Protocol):
    """Grants leases in batches and takes reports: in this process, or in an actor that serves many."""

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases for the first of these requests, at least one; or return why there are none."""
        ...

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Report outcomes of requests."""
        ...

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Report the leases that this holder has."""
        ...


@dataclass(slots=True)
class _Ask:
    holder: str
    estimates: Sequence[TokenEstimate]
    answer: asyncio.Future[list[SendLease] | StopRun]


class LocalLeaseServer:
    """Serves holders in FIFO order, each with a fair share of the available leases.

    Requests are never overtaken, so a large one does not starve behind small ones. A batch never exceeds the holder's
    queued requests, so no lease stays unused; its size is set by how many requests queue during one round trip.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._queue: deque[_Ask] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._called = time.monotonic()

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases; see `LeaseServer`."""
        self._note_silence()
        ask = _Ask(holder, estimates, asyncio.get_running_loop().create_future())
        self._queue.append(ask)
        self._serve()
        try:
            return await ask.answer
        except asyncio.CancelledError:
            if ask in self._queue:
                self._queue.remove(ask)
            self._serve()
            raise

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Release leases; see `LeaseServer`."""
        self._note_silence()
        for lease, outcome in done:
            self._limiter.release(lease, outcome)
        self._serve()
        limiter = self._limiter
        return LimiterStatus(limiter.is_open, limiter.held_s(), limiter.proven, limiter.halted is not None)

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Record a heartbeat; see `LeaseServer`."""
        self._note_silence()
        self._limiter.heartbeat(holder, held)
        self._serve()

    def halt(self, stop: StopRun) -> None:
        """Stop for good, for a reason found elsewhere."""
        self._limiter.halt(stop)
        self._serve()

    def _note_silence(self) -> None:
        # Holders call at each heartbeat: after a long silence this process was stopped, and they may be alive.
        now = time.monotonic()
        if now - self._called > HOLDER_TTL_S / 2:
            self._limiter.woken()
        self._called = now

    def _serve(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            ask = self._queue[0]
            answer = self._batch(ask)
            if isinstance(answer, float):
                self._timer = asyncio.get_running_loop().call_later(answer, self._serve)
                return
            self._queue.popleft()
            ask.answer.set_result(answer)

    def _batch(self, ask: _Ask) -> list[SendLease] | StopRun | float:
        share = max(1, min(CHUNK, math.ceil(self._limiter.room / len(self._queue))))
        leases: list[SendLease] = []
        for estimate in ask.estimates[:share]:
            try:
                answer = self._limiter.acquire(estimate, ask.holder)
            except StopRun as stop:
                return leases or stop
            if not isinstance(answer, SendLease):
                return leases or answer
            leases.append(answer)
        return leases

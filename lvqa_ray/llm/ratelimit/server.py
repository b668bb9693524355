"""Where leases are asked for: a limiter with a queue, on one event loop."""

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
"""Most leases given at once."""


@dataclass(frozen=True, slots=True)
class LimiterStatus:
    """What a holder learns when it reports.

    Attributes:
        down: Whether the endpoint is taken to be down.
        held_s: Seconds for which nothing goes out.
        proven: The stages that the endpoint has ever answered.
        halted: Whether no more requests go out.
    """

    down: bool = False
    held_s: float = 0.0
    proven: frozenset[str] = frozenset()
    halted: bool = False


class LeaseServer(Protocol):
    """Where holders get leases in chunks, and report: in this process, or an actor that serves many."""

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases for the first of these requests, for one at least; or the reason why there are none."""
        ...

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        """Say what became of requests."""
        ...

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Say which leases this holder has."""
        ...


@dataclass(slots=True)
class _Ask:
    holder: str
    estimates: Sequence[TokenEstimate]
    answer: asyncio.Future[list[SendLease] | StopRun]


class LocalLeaseServer:
    """Serves those who ask in the order in which they came, each with a fair chunk of what there is.

    Nobody is overtaken, so a large request does not wait for ever behind small ones. A chunk is never more than the
    holder has requests for, so no permit lies about unused; how large it is follows from how many requests gather
    while the last answer is on its way.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._queue: deque[_Ask] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._called = time.monotonic()

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | StopRun:
        """Wait for leases; see `LeaseServer`."""
        self._look()
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
        """Take leases back; see `LeaseServer`."""
        self._look()
        for lease, outcome in done:
            self._limiter.release(lease, outcome)
        self._serve()
        limiter = self._limiter
        return LimiterStatus(limiter.is_open, limiter.held_s(), limiter.proven, limiter.halted is not None)

    async def heartbeat(self, holder: str, held: Sequence[SendLease]) -> None:
        """Note who is alive, with what; see `LeaseServer`."""
        self._look()
        self._limiter.heartbeat(holder, held)
        self._serve()

    def halt(self, stop: StopRun) -> None:
        """Give no more leases, for a reason found elsewhere."""
        self._limiter.halt(stop)
        self._serve()

    def _look(self) -> None:
        # Whoever holds a lease calls at each beat: after a silence this process was stopped, and its holders may live.
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
            answer = self._chunk(ask)
            if isinstance(answer, float):
                self._timer = asyncio.get_running_loop().call_later(answer, self._serve)
                return
            self._queue.popleft()
            ask.answer.set_result(answer)

    def _chunk(self, ask: _Ask) -> list[SendLease] | StopRun | float:
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

"""Per-process pool of rate-limit leases, fetched from the lease server in batches, used by one request at a time."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from lvqa_ray.errors import StopRun
from lvqa_ray.llm.ratelimit.holders import holder_name
from lvqa_ray.llm.ratelimit.limiter import HOLDER_TTL_S, LEASE_HEARTBEAT_S
from lvqa_ray.llm.ratelimit.limits import SendLease
from lvqa_ray.llm.ratelimit.outcome import FailureScope, RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.server import CHUNK, LeaseServer, LimiterStatus

LINGER_S = 0.05
"""How long outcomes are collected into one report while no request waits for their leases."""

UNUSED = RequestOutcome(failed=FailureScope.NOT_SENT, used=TokenEstimate())
_KEEPS_PLACE = frozenset({None, FailureScope.OVERLOAD, FailureScope.FULL, FailureScope.REQUEST})
"""Outcomes after which the lease may be reused here; if refusals are too many, the limit falls for all."""

_Waiting = tuple[TokenEstimate, "asyncio.Future[SendLease]"]


class LeasePool:
    """Lease pool for the tasks of one event loop, first come, first served.

    A call to the lease server may take a millisecond of CPU in several processes, and 16 workers would saturate one
    server. So at most one call is in progress, for all requests that wait by then; a lease is reused for
    `SendLease.reuse_s` if only concurrency is limited; and outcomes are reported in batches.

    Args:
        server: The lease server.
        clock: Monotonic time (s).

    Attributes:
        proven: Stages that the endpoint has answered, as of the last report.
        halted: Whether the limiter had stopped, as of the last report.
    """

    def __init__(self, server: LeaseServer, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._holder = holder_name()
        self._seen = clock()  # when this process is last known to have run
        self._sleeps = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Waiting] = deque()
        self._held: dict[str, tuple[SendLease, float]] = {}  # with the time until which it may be reused
        self._free: list[SendLease] = []  # held and unused; released after a moment
        self._done: list[tuple[SendLease, RequestOutcome]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._no_reuse_before = 0.0
        self._down = False
        self.proven: frozenset[str] = frozenset()
        self.halted = False
        self._next: asyncio.Future[LimiterStatus] | None = None  # the result of the next report
        self._report_now = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Requests of this process that wait for a lease or are in flight."""
        return len(self._waiting) + len(self._held)

    async def acquire(self, estimate: TokenEstimate) -> SendLease:
        """Wait for a lease.

        Raises:
            StopRun: No request can succeed any more, or the endpoint has been down for too long.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a new loop: the tasks and waiters of the old one are gone
            self._loop, self._waiting, self._tasks = loop, deque(), {}
            self._next, self._report_now = None, asyncio.Event()
        if not self._waiting and (lease := self._from_free()) is not None:
            return lease
        future: asyncio.Future[SendLease] = loop.create_future()
        self._waiting.append((estimate, future))
        self._start("ask", self._ask)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.drop(future.result())
            raise

    async def release(self, lease: SendLease, done: RequestOutcome) -> bool:
        """Release a lease with the outcome of its request.

        Returns:
            Whether the circuit breaker is open; only known if the request failed.
        """
        kept = self._end_request(lease, done)
        if done.failed is None:
            return False
        if not kept:
            self._report_now.set()
        if self._next is None:  # a failure during a report belongs to the next report
            self._next = asyncio.get_running_loop().create_future()
        return (await asyncio.shield(self._next)).down

    def drop(self, lease: SendLease, done: RequestOutcome = UNUSED) -> None:
        """Release a lease without waiting for the report."""
        self._held.pop(lease.id, None)
        self._done.append((lease, done))
        self._start("report", self._report)

    def _end_request(self, lease: SendLease, done: RequestOutcome) -> bool:
        """Record an outcome; returns whether the lease stays in the pool for the next request."""
        _, until = self._held.pop(lease.id, (lease, 0.0))
        # After a rejection the limiter may stop everything, so it must see this outcome before the next request.
        calm = done.failed in _KEEPS_PLACE and done.wait_s is None and done.stop is None and not done.rejected
        kept = calm and not self._down and self._usable(until)
        if kept:
            self._held[lease.id] = (lease, until)
            self._hand_over(lease)
            done = done._replace(keeps_place=True)
        self._done.append((lease, done))
        self._start("report", self._report)
        return kept

    def _usable(self, until: float) -> bool:
        return self._no_reuse_before <= self._clock() < until

    def _hand_over(self, lease: SendLease) -> None:
        """Give a lease to the first waiting request; without one it stays free for a moment."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(lease)
                return
        self._free.append(lease)
        self._start("report", self._report)

    def _from_free(self) -> SendLease | None:
        while self._free:
            lease = self._free.pop()
            if lease.id in self._held and self._usable(self._held[lease.id][1]):
                return lease
            self.drop(lease)
        return None

    async def _ask(self) -> None:
        try:
            while asked := [waiting for waiting in self._waiting if not waiting[1].done()][:CHUNK]:
                sleeps = self._count_sleeps()
                self._start("heartbeat", self._send_heartbeats)
                answer = await self._server.acquire_batch(self._holder, [estimate for estimate, _ in asked])
                if isinstance(answer, StopRun):
                    self._fail(answer)
                    return
                if sleeps != self._count_sleeps():  # this process was stopped: the leases may have expired meanwhile
                    for lease in answer:
                        self.drop(lease)
                    continue
                for lease, (_, future) in zip(answer, asked, strict=False):
                    self._held[lease.id] = (lease, self._clock() + lease.reuse_s)
                    if not future.done():
                        future.set_result(lease)
                    elif lease.reuse_s:
                        self._hand_over(lease)
                    else:  # the waiter was cancelled; release the lease, since others may need more tokens
                        self.drop(lease)
                self._waiting = deque(waiting for waiting in self._waiting if not waiting[1].done())
                self._start("heartbeat", self._send_heartbeats)
        except Exception as error:  # all waiters must get the error
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(copy.copy(error))
        self._waiting.clear()

    async def _report(self) -> None:
        while self._done or self._free:
            if not (self._waiting and any(not done.keeps_place for _, done in self._done)):
                with contextlib.suppress(TimeoutError):  # no request here waits for these leases
                    await asyncio.wait_for(self._report_now.wait(), LINGER_S)
            self._report_now.clear()
            free, self._free = self._free, []
            for lease in free:
                self.drop(lease)
            waiter, self._next = self._next, None
            done, self._done = self._done, []
            try:
                status = self._note(await self._server.release_batch(done))
            except Exception as error:  # all waiters must get the error, those of the next report too
                waiters = [each for each in (waiter, self._next) if each is not None]
                self._next = None
                for each in waiters:
                    each.set_exception(error)
                if not waiters:
                    raise
            else:
                if waiter is not None:
                    waiter.set_result(status)

    async def _send_heartbeats(self) -> None:
        while self._held or self._waiting:
            await asyncio.sleep(LEASE_HEARTBEAT_S)
            self._count_sleeps()
            if self._held:
                await self._server.heartbeat(self._holder, [lease for lease, _ in self._held.values()])

    def _count_sleeps(self) -> int:
        """Count of the times this process was stopped for so long that its leases may have expired."""
        now = self._clock()
        self._sleeps += now - self._seen > HOLDER_TTL_S / 2
        self._seen = now
        return self._sleeps

    def _note(self, status: LimiterStatus) -> LimiterStatus:
        self._down, self.proven, self.halted = status.down, status.proven, status.halted
        if status.held_s > 0:
            self._no_reuse_before = self._clock() + status.held_s
        return status

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.get_running_loop().create_task(work())

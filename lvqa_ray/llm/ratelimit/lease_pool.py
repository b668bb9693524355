"""The leases of one process: taken from a desk in chunks, handed to its requests one by one."""

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
from lvqa_ray.llm.ratelimit.limiter import BEAT_S, HOLDER_TTL_S
from lvqa_ray.llm.ratelimit.limits import SendLease
from lvqa_ray.llm.ratelimit.outcome import FailureScope, RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.server import CHUNK, LeaseServer, LimiterStatus

LINGER_S = 0.05
"""How long outcomes gather before they are reported, where no place comes back with them."""

UNUSED = RequestOutcome(failed=FailureScope.NOT_SENT, used=TokenEstimate())
_KEEPS_PLACE = frozenset({None, FailureScope.OVERLOAD, FailureScope.REQUEST})
"""What says nothing against the next request at the same place; too many refusals make the limit fall, for all."""

_Waiting = tuple[TokenEstimate, "asyncio.Future[SendLease]"]


class LeasePool:
    """Leases for the tasks of one event loop, first come, first served.

    A call to the desk may cost a millisecond of several processes, and 16 workers would keep one desk busy with nothing
    else. So one question at a time is under way, for all the requests that wait by then; and a place is used again,
    for `Lease.reuse_s`, where nothing but the number in flight is limited. Outcomes are reported in bunches.

    Args:
        desk: Where leases come from.
        clock: Seconds, never running backwards.

    Attributes:
        proven: The stages that the endpoint had ever answered, when outcomes were last reported.
        halted: Whether no more requests went out, at that time.
    """

    def __init__(self, desk: LeaseServer, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = desk
        self._clock = clock
        self._holder = holder_name()
        self._seen = clock()  # when this process last ran, as far as it looked
        self._sleeps = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Waiting] = deque()
        self._held: dict[str, tuple[SendLease, float]] = {}  # with the time from which it may not be used again
        self._free: list[SendLease] = []  # held and not in use; given back after a moment
        self._done: list[tuple[SendLease, RequestOutcome]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._no_reuse_before = 0.0
        self._down = False
        self.proven: frozenset[str] = frozenset()
        self.halted = False
        self._next: asyncio.Future[LimiterStatus] | None = (
            None  # what the next report will bring, for whoever waits for it
        )
        self._hurry = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Requests that wait for a lease or are under way, in this process."""
        return len(self._waiting) + len(self._held)

    async def acquire(self, estimate: TokenEstimate) -> SendLease:
        """Wait for a lease.

        Raises:
            StopRun: An earlier call found that none can succeed, or the endpoint has been down for too long.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what belonged to a loop that is gone is gone with it
            self._loop, self._waiting, self._tasks = loop, deque(), {}
            self._next, self._hurry = None, asyncio.Event()
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
        """Give a lease back, with what became of its request.

        Returns:
            Whether the endpoint is taken to be down; known only where the request failed.
        """
        kept = self._end(lease, done)
        if done.failed is None:
            return False
        if not kept:
            self._hurry.set()
        if self._next is None:  # who fails while a report is on its way goes with the next one
            self._next = asyncio.get_running_loop().create_future()
        return (await asyncio.shield(self._next)).down

    def drop(self, lease: SendLease, done: RequestOutcome = UNUSED) -> None:
        """Give a lease back without waiting for that."""
        self._held.pop(lease.id, None)
        self._done.append((lease, done))
        self._start("report", self._report)

    def _end(self, lease: SendLease, done: RequestOutcome) -> bool:
        """Note an outcome; whether its place stays here, for the next request."""
        _, until = self._held.pop(lease.id, (lease, 0.0))
        # After a rejection the limiter may have to stop all: nothing more goes out before it has heard of it.
        calm = done.failed in _KEEPS_PLACE and done.wait_s is None and done.stop is None and not done.rejected
        kept = calm and not self._down and self._usable(until)
        if kept:
            self._held[lease.id] = (lease, until)
            self._hand(lease)
            done = done._replace(keeps_place=True)
        self._done.append((lease, done))
        self._start("report", self._report)
        return kept

    def _usable(self, until: float) -> bool:
        return self._no_reuse_before <= self._clock() < until

    def _hand(self, lease: SendLease) -> None:
        """Hand a place to the first who still waits for one; it stays free for a moment if nobody does."""
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
                sleeps = self._look()
                self._start("beat", self._beat)
                answer = await self._server.acquire_batch(self._holder, [estimate for estimate, _ in asked])
                if isinstance(answer, StopRun):
                    self._fail(answer)
                    return
                if sleeps != self._look():  # others may have got these places meanwhile
                    for lease in answer:
                        self.drop(lease)
                    continue
                for lease, (_, future) in zip(answer, asked, strict=False):
                    self._held[lease.id] = (lease, self._clock() + lease.reuse_s)
                    if not future.done():
                        future.set_result(lease)
                    elif lease.reuse_s:
                        self._hand(lease)
                    else:  # who waited for it was cancelled, and others may need more tokens
                        self.drop(lease)
                self._waiting = deque(waiting for waiting in self._waiting if not waiting[1].done())
                self._start("beat", self._beat)
        except Exception as error:  # whoever waits has to hear of it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(copy.copy(error))
        self._waiting.clear()

    async def _report(self) -> None:
        while self._done or self._free:
            if not (self._waiting and any(not done.keeps_place for _, done in self._done)):
                with contextlib.suppress(TimeoutError):  # nobody here waits for the places that come back
                    await asyncio.wait_for(self._hurry.wait(), LINGER_S)
            self._hurry.clear()
            free, self._free = self._free, []
            for lease in free:
                self.drop(lease)
            told, self._next = self._next, None
            try:
                news = self._note(await self._server.release_batch(self._taken()))
            except Exception as error:  # whoever waits has to hear of it, and who came meanwhile as well
                hear = [each for each in (told, self._next) if each is not None]
                self._next = None
                for each in hear:
                    each.set_exception(error)
                if not hear:
                    raise
            else:
                if told is not None:
                    told.set_result(news)

    async def _beat(self) -> None:
        while self._held or self._waiting:
            await asyncio.sleep(BEAT_S)
            self._look()
            if self._held:
                await self._server.heartbeat(self._holder, [lease for lease, _ in self._held.values()])

    def _look(self) -> int:
        """How often this process was stopped for so long that its leases may have been given to others."""
        now = self._clock()
        self._sleeps += now - self._seen > HOLDER_TTL_S / 2
        self._seen = now
        return self._sleeps

    def _taken(self) -> list[tuple[SendLease, RequestOutcome]]:
        done, self._done = self._done, []
        return done

    def _note(self, news: LimiterStatus) -> LimiterStatus:
        self._down, self.proven, self.halted = news.down, news.proven, news.halted
        if news.held_s > 0:
            self._no_reuse_before = self._clock() + news.held_s
        return news

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.get_running_loop().create_task(work())

"""Rate-limit middleware: sends each request under a lease, on the first of several replicas that grants one."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lvqa_ray.errors import ApiError, AuthFailed, Forbidden, StopRun
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limits import SendLease
from lvqa_ray.llm.ratelimit.outcome import ABOUT_ONE_REQUEST, FailureScope, RequestOutcome, TokenEstimate

HEDGE_S = 0.05
"""If a replica grants no lease within this time, the next replica is asked too."""
STICKY_S = 60.0
"""The same for a request with a shared prompt prefix, which only its own replica has in its cache."""
LEAVE_AT_LOAD = 2.0
"""It leaves its own replica if that has no free place and this many times the load of the least busy one."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One of several equivalent endpoints.

    Attributes:
        call: Its client.
        permits: Its lease pool.
        name: Tells it from the others.
        places: Its maximum number of requests in flight.
    """

    call: Chat
    permits: LeasePool
    name: str = ""
    places: int = 1


class RateLimitMiddleware:
    """Sends each request under a lease and always releases it.

    With several replicas (load balancing), the least busy one in this process is asked for a lease first, and the next
    ones after `HEDGE_S` each. The first lease is used; the others are released unused. A replica that has stopped (key
    refused, quota spent, down too long) is left out while another works.

    Requests with the same prompt prefix ask the same replica first, and others only after `STICKY_S`: rendezvous
    hashing (Thaler and Ravishankar 1998), weighted by places, with bounded loads (Mirrokni et al. 2018).

    Args:
        replicas: Equivalent endpoints.
    """

    def __init__(self, *replicas: Replica) -> None:
        self._replicas = list(replicas)
        self._chosen: Counter[str] = Counter()
        self._proven = False

    def prove(self) -> None:
        """Note that the endpoints have answered before, so a rejection is about one request if not all are."""
        self._proven = True

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Wait for a lease, then send.

        Raises:
            ApiError: Raised by the call, or the `StopRun` of the last replica that worked.
        """
        estimate = TokenEstimate.of(request)
        while True:
            replicas, hedge_s = self._in_order(request.prefix)
            self._chosen[first := replicas[0].name] += 1
            try:
                replica, lease = await _first_lease(replicas, estimate, hedge_s)
                return await _send(replica, lease, request, proven=self._proven)
            except StopRun:
                self._replicas = [other for other in self._replicas if other is not replica] or [replica]
                if self._replicas == [replica]:
                    raise
            finally:
                self._chosen[first] -= 1

    def _in_order(self, prefix: str) -> tuple[list[Replica], float]:
        """The replicas in the order in which a request asks them, and the time after which it asks the next one (s)."""
        if prefix and len(self._replicas) > 1:
            ranked = sorted(self._replicas, key=lambda replica: _rank(prefix, replica))
            if self._load(ranked[0]) < max(1.0, LEAVE_AT_LOAD * min(map(self._load, ranked))):
                return ranked, STICKY_S
            return sorted(ranked, key=self._load), HEDGE_S
        return sorted(self._replicas, key=lambda replica: replica.permits.waiting), HEDGE_S

    def _load(self, replica: Replica) -> float:
        """Requests of this process for each place of a replica, with those that have only just chosen it."""
        return max(replica.permits.waiting, self._chosen[replica.name]) / replica.places


def _rank(prefix: str, replica: Replica) -> float:
    """Rank of a replica for a prefix, the same in every process and after another replica has stopped."""
    digest = hashlib.sha256(f"{prefix} {replica.name}".encode()).digest()
    uniform = (int.from_bytes(digest[:8]) + 1) / (2**64 + 1)
    return -math.log(uniform) / replica.places


async def _first_lease(
    replicas: Sequence[Replica], estimate: TokenEstimate, hedge_s: float
) -> tuple[Replica, SendLease | StopRun]:
    """The first lease that any replica grants, or the reason why a replica has stopped."""
    if len(replicas) == 1:
        return replicas[0], await _lease(replicas[0], estimate)
    left = list(replicas)
    asked: dict[asyncio.Task[SendLease | StopRun], Replica] = {}
    try:
        while True:
            if left:
                replica = left.pop(0)
                asked[asyncio.create_task(_lease(replica, estimate))] = replica
            done, _ = await asyncio.wait(asked, timeout=hedge_s if left else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                return asked.pop(task), task.result()
    finally:
        for task, replica in asked.items():
            if task.done() and isinstance(lease := task.result(), SendLease):
                replica.permits.drop(lease)
            task.cancel()


async def _lease(replica: Replica, estimate: TokenEstimate) -> SendLease | StopRun:
    try:
        return await replica.permits.acquire(estimate)
    except StopRun as stop:
        return stop


async def _send(replica: Replica, lease: SendLease | StopRun, request: ChatRequest, *, proven: bool) -> ChatReply:
    if isinstance(lease, StopRun):
        raise lease
    begun = time.monotonic()
    try:
        reply = await replica.call(request)
    except ApiError as error:
        done = RequestOutcome.of_error(request, error, time.monotonic() - begun)
        if proven:
            done = done._replace(proven=True)
        permits = replica.permits
        down = await permits.release(lease, done)
        error.spared = down and done.failed in {FailureScope.OVERLOAD, FailureScope.DOWN}
        if done.rejected and not proven and request.stage not in permits.proven:
            error.retryable = True  # the job's settings may be wrong: a rerun with corrected ones sends it again
        if isinstance(error, AuthFailed) and error.status in ABOUT_ONE_REQUEST and not permits.halted:
            forbidden = error
        else:
            raise
    except BaseException:  # cancelled, or a bug of ours: its token usage is unknown
        replica.permits.drop(lease, RequestOutcome(failed=FailureScope.UNKNOWN, seconds=time.monotonic() - begun))
        raise
    else:
        # The endpoint's own latency, without the time to store the reply, which says nothing about its load.
        await replica.permits.release(
            lease, RequestOutcome.answered(request, reply, reply.seconds or time.monotonic() - begun)
        )
        return reply
    raise Forbidden(
        f"{forbidden} The endpoint answers other requests with the same key.", status=forbidden.status
    ) from None

"""The rate limiter on a real Ray, with real processes killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.engine.ray.rate_limit_actor import RateLimiter, start
from lvqa_ray.errors import StopRun
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.rate_limit import RateLimitMiddleware, Replica
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import HANDOVER_S, HOLDER_TTL_S, LEASE_HEARTBEAT_S
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.outcome import TokenEstimate
from lvqa_ray.records import Usage

pytestmark = pytest.mark.usefixtures("ray_session")

REQUEST = ChatRequest(stage="ask", version="1", messages=(Message.of("user", "x"),))


class Worker:
    """Makes calls that take a while, under the limits of a rate limiter."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._chat = RateLimitMiddleware(Replica(self._call, LeasePool(limiter)))
        self._under_way = 0

    async def _call(self, request: ChatRequest) -> ChatReply:
        self._under_way += 1
        await asyncio.sleep(request.temperature or 0.0)
        self._under_way -= 1
        return ChatReply(text="x", model="m", usage=Usage(calls=1, input_tokens=1))

    async def ask(self, times: int, seconds: float) -> int:
        request = ChatRequest(stage="s", version="1", messages=REQUEST.messages, temperature=seconds)
        return len(await asyncio.gather(*[self._chat(request) for _ in range(times)]))

    async def under_way(self) -> int:
        return self._under_way

    async def pid(self) -> int:
        return os.getpid()


def worker(limiter: RateLimiter) -> Any:
    import ray

    as_actor: Any = ray.remote
    return as_actor(num_cpus=0, max_concurrency=1000)(Worker).remote(limiter)


def test_a_count_of_the_day_that_cannot_be_read_stops_the_run_in_a_sentence(tmp_path: Path) -> None:

    (tmp_path / "spoilt.json").write_text("[1")
    for place, says in ((tmp_path, "Is a directory"), (tmp_path / "spoilt.json", "delete it")):
        (limiter,) = start([(Limits(max_concurrency=1, requests_per_day=10), place)])
        assert isinstance(asyncio.run(limiter.acquire_batch("h", [TokenEstimate()])), StopRun)
        assert says in traffic(limiter).halted


def until(what: Any, seconds: float) -> float:
    """Wait until something is so, and give the seconds it took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "it takes too long"
        time.sleep(0.1)
    return time.monotonic() - begun


def traffic(limiter: RateLimiter) -> EndpointStats:
    import ray

    found: Any = ray.get(limiter.traffic())
    assert isinstance(found, EndpointStats)
    return found


def test_places_of_the_dead_are_used_again_and_a_new_rate_limiter_knows_what_is_out() -> None:
    """Both at once, since most of it is waiting."""
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(one) for one in (a_dead_workers_places, a_killed_rate_limiter)]
    for one in both:
        one.result()


def a_dead_workers_places() -> None:
    """They are used again soon, however long its calls might have taken."""
    import ray

    (limiter,) = start([(Limits(4), None)])
    dies, lives = worker(limiter), worker(limiter)
    lost = dies.ask.remote(10, 600.0)
    until(lambda: ray.get(dies.under_way.remote()) == 4, 30)
    waits = lives.ask.remote(3, 0.0)
    os.kill(ray.get(dies.pid.remote()), signal.SIGKILL)
    begun = time.monotonic()
    assert ray.get(waits, timeout=HOLDER_TTL_S + 30) == 3
    assert time.monotonic() - begun > HOLDER_TTL_S - LEASE_HEARTBEAT_S - 5
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(lost)


def a_killed_rate_limiter() -> None:
    """It comes back and knows what is out."""
    import ray

    limiter, other = start([(Limits(6), None), (Limits(1), None)])
    workers = [worker(limiter), worker(limiter)]
    long = workers[0].ask.remote(4, 25.0)
    until(lambda: ray.get(workers[0].under_way.remote()) == 4, 30)
    pid = traffic(limiter).pid
    os.kill(pid, signal.SIGKILL)
    waits = workers[1].ask.remote(8, 0.0)
    until(lambda: traffic(limiter).in_flight >= 4, HANDOVER_S + 30)
    assert traffic(limiter).pid != pid
    assert ray.get(waits, timeout=60) == 8
    assert ray.get(long, timeout=60) == 4
    until(lambda: traffic(limiter).in_flight == 0, 20)
    assert traffic(other).pid == traffic(limiter).pid
    assert traffic(other).in_flight == traffic(other).answered == 0


def test_rate_limiters_of_one_actor_know_nothing_of_each_other() -> None:
    import ray

    first, second = start([(Limits(2), None), (Limits(5), None)])
    for limiter, granted in ((first, 2), (second, 5)):
        leases = asyncio.run(limiter.acquire_batch("h", [TokenEstimate()] * 9))
        assert isinstance(leases, list)
        assert len(leases) == granted
    ray.get(first.halt("enough"))
    assert ray.get([first.halted(), second.halted()]) == [True, False]
    assert isinstance(asyncio.run(first.acquire_batch("h", [TokenEstimate()])), StopRun)
    assert traffic(second).halted == ""


def test_a_call_to_a_rate_limiter_serves_many_requests() -> None:
    import ray

    (limiter,) = start([(Limits(64, requests_per_minute=10_000), None)])
    busy = worker(limiter)
    ray.get(busy.ask.remote(64, 0.0))
    assert ray.get(busy.ask.remote(2000, 0.001), timeout=60) == 2000
    until(lambda: traffic(limiter).answered == 2064 and traffic(limiter).in_flight == 0, 20)

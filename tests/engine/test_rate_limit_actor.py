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

from lvqa_ray.engine.ray import rate_limit_actor
from lvqa_ray.engine.ray.rate_limit_actor import RayLeaseServer
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

    def __init__(self, handle: Any) -> None:
        self._chat = RateLimitMiddleware(Replica(self._call, LeasePool(RayLeaseServer(handle))))
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


def worker(handle: Any) -> Any:
    import ray

    as_actor: Any = ray.remote
    return as_actor(num_cpus=0, max_concurrency=1000)(Worker).remote(handle)


def test_a_count_of_the_day_that_cannot_be_read_stops_the_run_in_a_sentence(tmp_path: Path) -> None:
    import ray

    (tmp_path / "spoilt.json").write_text("[1")
    for place, says in ((tmp_path, "Is a directory"), (tmp_path / "spoilt.json", "delete it")):
        handle = rate_limit_actor.start(Limits(max_concurrency=1, requests_per_day=10), place)
        assert isinstance(ray.get(handle.acquire_batch.remote("h", [TokenEstimate()])), StopRun)
        assert says in traffic(handle).halted


def until(what: Any, seconds: float) -> float:
    """Wait until something is so, and give the seconds it took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "it takes too long"
        time.sleep(0.1)
    return time.monotonic() - begun


def traffic(handle: Any) -> EndpointStats:
    import ray

    found: EndpointStats = ray.get(handle.traffic.remote())
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

    handle = rate_limit_actor.start(Limits(4))
    dies, lives = worker(handle), worker(handle)
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

    handle = rate_limit_actor.start(Limits(6))
    workers = [worker(handle), worker(handle)]
    long = workers[0].ask.remote(4, 25.0)
    until(lambda: ray.get(workers[0].under_way.remote()) == 4, 30)
    pid = traffic(handle).pid
    os.kill(pid, signal.SIGKILL)
    waits = workers[1].ask.remote(8, 0.0)
    until(lambda: traffic(handle).in_flight >= 4, HANDOVER_S + 30)
    assert traffic(handle).pid != pid
    assert ray.get(waits, timeout=60) == 8
    assert ray.get(long, timeout=60) == 4
    until(lambda: traffic(handle).in_flight == 0, 20)


def test_a_call_to_a_rate_limiter_serves_many_requests() -> None:
    import ray

    handle = rate_limit_actor.start(Limits(64, requests_per_minute=10_000))
    busy = worker(handle)
    ray.get(busy.ask.remote(64, 0.0))
    assert ray.get(busy.ask.remote(2000, 0.001), timeout=60) == 2000
    until(lambda: traffic(handle).answered == 2064 and traffic(handle).in_flight == 0, 20)

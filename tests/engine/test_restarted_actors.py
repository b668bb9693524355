"""The queue of file batches and the budget on a real Ray, whose processes are killed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Engine
from lvqa_ray.engine.ray import budget_actor
from lvqa_ray.engine.ray.batch_actor import RayQueue, start_queue
from lvqa_ray.engine.ray.session.run_actors import end_actors
from lvqa_ray.llm.batches.batch_queue import BatchEntry, RequestState
from lvqa_ray.llm.endpoint import Endpoint

pytestmark = pytest.mark.usefixtures("ray_session")


def test_a_restarted_queue_sends_nothing_before_it_knows_the_open_batches(tmp_path: Path) -> None:
    import ray

    endpoint = Endpoint.model_validate({"base_url": "https://a.test/v1", "model": "m", "tier": "batch"})
    actor: Any = start_queue(endpoint, tmp_path, 1e9)
    queue = RayQueue(actor)

    async def check() -> None:
        await queue.adopt(["open"])
        assert await queue.state("open") is RequestState.WAITS
        assert await queue.offer(BatchEntry("a", "ask"), b"a\n") is RequestState.ADDED
        ray.kill(actor, no_restart=False)
        while await queue.is_known():  # noqa: ASYNC110 - the process ends a moment later
            await asyncio.sleep(0.02)
        assert await queue.state("open") is RequestState.WAITS
        assert await queue.offer(BatchEntry("b", "ask"), b"b\n") is RequestState.WAITS
        await queue.adopt(["open"])
        assert await queue.is_known()
        assert await queue.state("open") is RequestState.WAITS
        assert await queue.offer(BatchEntry("b", "ask"), b"b\n") is RequestState.ADDED
        file = await queue.take(flush=True)
        assert file is not None
        assert file.path.read_bytes() == b"b\n", "not appended to a file of the killed process"

    try:
        asyncio.run(check())
    finally:
        end_actors([actor])


def test_a_restarted_budget_counts_the_gpu_time_again(tmp_path: Path) -> None:
    import ray

    actor: Any = budget_actor.start(Engine(max_cost=10.0), tmp_path, "r1")
    try:
        ray.get(actor.set_served_usd.remote(9.0))
        assert ray.get(actor.reserve.remote(2.0)) is not None
        ray.kill(actor, no_restart=False)
        while ray.get(actor.reserve.remote(0.0)) is not None:  # the process ends a moment later
            time.sleep(0.02)
        ray.get(actor.set_served_usd.remote(9.5))
        assert ray.get(actor.reserve.remote(0.25)) is None
        assert ray.get(actor.reserve.remote(1.0)) is not None
    finally:
        end_actors([actor])

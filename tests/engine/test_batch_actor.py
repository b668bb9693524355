"""The queue of file batches on a real Ray, whose process is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

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
        assert await queue.state("open") is RequestState.WAITS
        assert await queue.offer(BatchEntry("b", "ask"), b"b\n") is RequestState.WAITS
        assert not await queue.is_known()
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

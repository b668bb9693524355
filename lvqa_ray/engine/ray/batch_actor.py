"""Queue of file batches as one actor for all chat workers of a run; the driver runs the batches themselves."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lvqa_ray.engine.ray import Handle
from lvqa_ray.errors import ApiError
from lvqa_ray.llm.batches.batch_queue import BatchEntry, BatchQueue, ReadyFile, RequestState
from lvqa_ray.llm.endpoint import Endpoint


def start_queue(endpoint: Endpoint, folder: Path, most_bytes: float) -> Handle:
    """Start the queue of an endpoint, on the node of this process, which reads its files.

    After a restart it is empty: every request waits until the runner has named those in open batches again.

    Args:
        endpoint: The endpoint.
        folder: Folder of the files, on this node.
        most_bytes: Maximum size of the files.
    """
    as_actor: Any = ray.remote  # typed for functions only
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    handle: Handle = as_actor(**options)(BatchQueue).remote(endpoint, folder, most_bytes, known=False)
    return handle


def files_of(scratch: Path, output: str, run_id: str) -> Path:
    """Folder of the files of a run, without those of earlier runs, which no batch needs any more.

    Args:
        scratch: Folder of the download cache.
        output: The output folder, whose lock this process holds.
        run_id: Id of the run.
    """
    root = scratch / f"batches-{hashlib.sha256(output.encode()).hexdigest()[:16]}"
    with suppress(OSError):
        shutil.rmtree(root)
    return root / run_id


class RayQueue:
    """Client of a queue on the cluster; a `QueueClient`.

    Args:
        actor: Handle of the actor.
    """

    def __init__(self, actor: Handle) -> None:
        self._actor = actor

    async def state(self, key: str) -> RequestState | ApiError:
        """See `BatchQueue.state`."""
        state: RequestState | ApiError = await self._actor.state.remote(key)
        return state

    async def offer(self, entry: BatchEntry, line: bytes) -> RequestState | ApiError:
        """See `BatchQueue.offer`."""
        state: RequestState | ApiError = await self._actor.offer.remote(entry, line)
        return state

    async def forget(self, key: str, changes: frozenset[str]) -> bool:
        """See `BatchQueue.forget`."""
        may: bool = await self._actor.forget.remote(key, changes)
        return may

    async def changes(self) -> frozenset[str]:
        """See `BatchQueue.changes`."""
        changes: frozenset[str] = await self._actor.changes.remote()
        return changes

    async def take(self, *, flush: bool) -> ReadyFile | None:
        """See `BatchQueue.take`."""
        file: ReadyFile | None = await self._actor.take.remote(flush=flush)
        return file

    async def settle(self, results: Mapping[str, ApiError | None]) -> None:
        """See `BatchQueue.settle`."""
        await self._actor.settle.remote(results)

    async def adopt(self, keys: Iterable[str]) -> None:
        """See `BatchQueue.adopt`."""
        await self._actor.adopt.remote(list(keys))

    async def is_known(self) -> bool:
        """See `BatchQueue.is_known`."""
        known: bool = await self._actor.is_known.remote()
        return known

    async def deferred(self) -> int:
        """See `BatchQueue.deferred`."""
        count: int = await self._actor.deferred.remote()
        return count

    async def halt(self, reason: str) -> None:
        """See `BatchQueue.halt`."""
        await self._actor.halt.remote(reason)

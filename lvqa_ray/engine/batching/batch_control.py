"""File batches without a run: lists the open ones, waits for them, cancels them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from lvqa_ray.dataset.run_order import segment_names
from lvqa_ray.engine.batching.batch_runner import BatchRunner
from lvqa_ray.engine.batching.request_files import BatchLine
from lvqa_ray.errors import ApiError, RunStopped
from lvqa_ray.journal.batch_log import BatchLog, LoggedBatch, Place, batches_folder, logged
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.llm.batches.batch_api import BatchApi, BatchState
from lvqa_ray.llm.batches.batch_queue import BatchQueue, LocalQueue
from lvqa_ray.storage.paths import StoragePath


@dataclass(frozen=True, slots=True)
class ShownBatch:
    """An open batch as the log and its endpoint show it.

    Attributes:
        logged: Its entry in the log.
        state: Its state at the endpoint; ``None`` if the endpoint does not have it.
        error: Why the endpoint could not be asked; empty if it could.
    """

    logged: LoggedBatch
    state: BatchState | None = None
    error: str = ""


def open_batches(journal: StoragePath) -> list[LoggedBatch]:
    """The batches of an output that have not ended, as far as the log says.

    Raises:
        OSError: The log cannot be read.
    """
    folder = batches_folder(journal)
    if not folder.is_dir():
        return []
    return [batch for batch in logged(open_segments(folder, make=False)) if not batch.status]


def show_batches(batches: list[LoggedBatch], *, cancel: bool = False) -> list[ShownBatch]:
    """Ask the endpoints for the states of batches.

    Args:
        batches: The batches.
        cancel: Cancel them first. What is answered by then is charged, and the next run uses it.

    Raises:
        ConfigError: The variable of a key is not set.
    """

    async def every() -> list[ShownBatch]:
        return await asyncio.gather(*(_show(batch, cancel=cancel) for batch in batches))

    return asyncio.run(every())


async def _show(batch: LoggedBatch, *, cancel: bool) -> ShownBatch:
    async with aclosing(BatchApi(batch.endpoint, batch.endpoint.api_key())) as api:
        try:
            state = await (api.get(batch.id) if batch.id else api.find(batch.tag, batch.file))
            if cancel and state is not None and not state.ended:
                state = await api.cancel(state.id)
        except ApiError as error:
            return ShownBatch(batch, error=str(error))
    return ShownBatch(batch, state)


def forget_batches(journal: StoragePath) -> int:
    """Close the open batches in the log, so that the next run sends and pays for their requests again.

    Their answers are not used any more. The output folder must be locked.

    Args:
        journal: Folder of the journal of paid replies.

    Returns:
        The number of batches.

    Raises:
        OSError: The log cannot be read.
        StopRun: The log cannot be written.
    """
    log = BatchLog(journal, next_run_id(segment_names(journal)))
    try:
        batches = log.open()
        for batch in batches:
            log.note(batch, status="forgotten")
    finally:
        log.close()
    return len(batches)


def wait_for_batches(journal: StoragePath, on_wait: Callable[[str], object]) -> None:
    """Wait until no batch is open, and write their answers to the journal; the output folder must be locked.

    Args:
        journal: Folder of the journal of paid replies.
        on_wait: Called with what is waited for.

    Raises:
        ConfigError: The variable of a key is not set.
        RunStopped: An endpoint cannot be asked any more, or the journal cannot be written.
    """
    run_id = next_run_id(segment_names(journal))
    with tempfile.TemporaryDirectory(prefix="lvqa-batches-") as folder:
        lines: dict[Place, BatchLine] = {}
        for batch in open_batches(journal):
            at = batch.endpoint
            if batch.place not in lines:
                queue = LocalQueue(BatchQueue(at, Path(folder) / str(len(lines)), 0.0))
                lines[batch.place] = BatchLine(at, BatchApi(at, at.api_key()), queue)
        if not lines:
            return
        runner = BatchRunner([*lines.values()], BatchLog(journal, run_id), None)
        runner.start()
        try:
            runner.wait(str, on_wait)
        finally:
            runner.stop()
    if runner.broken:
        raise RunStopped(runner.broken)

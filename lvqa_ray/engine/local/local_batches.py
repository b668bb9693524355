"""File batches of one process without a cluster: its callers wait for the answers of their requests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import SecretStr

from lvqa_ray.engine.batching.batch_runner import BatchRunner
from lvqa_ray.engine.batching.request_files import BatchLine
from lvqa_ray.journal.batch_log import BatchLog, BatchTarget, Place, batch_target, batches_folder, logged, place_of
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.batches.batch_queue import BatchQueue, LocalQueue
from lvqa_ray.llm.batches.batched_chat import BatchRoute
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.budget import BudgetClient
from lvqa_ray.storage.paths import StoragePath

LONGEST_COLLECTING_S = 20.0
"""How long requests are collected at most (s): few videos are analyzed at once, and somebody waits for them."""


class LocalBatches:
    """The queues and runners of the endpoints with file batches, made when they are needed.

    The process must hold the lock on the output folder, as for a run.

    Args:
        journal: Folder of the journal of paid replies.
        run_id: Id in the names of the log's segments.
        scratch_gb: Maximum size of the files that wait to be uploaded (GB).
        budget: The budget, if there is one.
        known: The endpoints of the job with their keys.
        waits: Whether callers wait for their answers; otherwise their requests are deferred to a later pass.
    """

    def __init__(
        self,
        journal: StoragePath,
        run_id: str,
        scratch_gb: float,
        budget: BudgetClient | None,
        known: Sequence[tuple[Endpoint, SecretStr]],
        *,
        waits: bool,
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._most_bytes = scratch_gb * 2**30
        self._budget = budget
        self._known = known
        self._waits = waits
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._running: dict[BatchTarget, tuple[dict[Place, LocalQueue], BatchRunner]] = {}
        self._begun = 0

    @property
    def broken(self) -> str:
        """Why a runner has ended, and empty if none has; `route` makes another one."""
        return next((runner.broken for _, runner in self._running.values() if runner.broken), "")

    def halt(self) -> None:
        """Create no more batches."""
        for _, runner in self._running.values():
            runner.halt()

    def wait(self, stopped: Callable[[], str], on_wait: Callable[[str], object]) -> bool:
        """Wait for all batches; returns whether requests had to wait. See `BatchRunner.wait`."""
        runners = [runner for _, runner in self._running.values()]
        with ThreadPoolExecutor(max(1, len(runners))) as threads:
            return any(list(threads.map(lambda runner: runner.wait(stopped, on_wait), runners)))

    def route(self, at: Endpoint, key: SecretStr) -> BatchRoute | None:
        """The route into file batches; ``None`` if requests of the endpoint are and will be in none.

        Raises:
            OSError: The log of batches cannot be read.
        """
        name = batch_target(at)
        if at.tier != "batch" and name not in self._running and not self._is_open(name):
            return None
        if name not in self._running or self._running[name][1].broken:  # a service must recover from an outage
            self._running[name] = self._begin(at, key)
        queues, _ = self._running[name]
        return BatchRoute(at, BatchApi(at, key), queues[place_of(at)], waits=self._waits, collects=at.tier == "batch")

    def _begin(self, at: Endpoint, key: SecretStr) -> tuple[dict[Place, LocalQueue], BatchRunner]:
        """Start the runner of a model at a base URL, with one queue for each variable that has a key of it."""
        same = [pair for pair in self._known if batch_target(pair[0]) == batch_target(at)]
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="lvqa-batches-")
        files = Path(self._folder.name) / str(self._begun)
        lines: list[BatchLine] = []
        queues: dict[Place, LocalQueue] = {}
        for place, (each, its_key) in {place_of(pair[0]): pair for pair in (*same, (at, key))}.items():
            longest_s = min(each.batch_wait_s, LONGEST_COLLECTING_S) if self._waits else each.batch_wait_s
            quick = each.model_copy(update={"batch_wait_s": longest_s})
            queues[place] = LocalQueue(BatchQueue(quick, files / str(len(lines)), self._most_bytes))
            lines.append(BatchLine(quick, BatchApi(quick, its_key), queues[place]))
        log = BatchLog(self._journal, f"{self._run_id}_{self._begun}")
        runner = BatchRunner(lines, log, self._budget)
        runner.start()
        self._begun += 1
        return queues, runner

    def close(self) -> None:
        """Stop; open batches go on at the endpoint, and the next process with the lock finds them."""
        for _, runner in self._running.values():
            runner.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def _is_open(self, name: BatchTarget) -> bool:
        folder = batches_folder(self._journal)
        if not folder.is_dir():
            return False
        return any(batch.target == name for batch in logged(open_segments(folder, make=False)) if not batch.status)

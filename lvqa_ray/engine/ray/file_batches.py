"""File batches of a run on Ray: the queues of its endpoints, and the runner in the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.config.places import download_cache, output_path
from lvqa_ray.engine.batching.batch_runner import BatchRunner
from lvqa_ray.engine.batching.request_files import BatchLine
from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.batch_actor import RayQueue, files_of, start_queue
from lvqa_ray.engine.ray.budget_actor import RayBudget
from lvqa_ray.engine.ray.session.run_actors import end_actors
from lvqa_ray.journal.batch_log import BatchLog, batch_target
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.ratelimit.limits import SharedBy, shared_by
from lvqa_ray.stage import Role


@dataclass(frozen=True, slots=True)
class FileBatches:
    """The file batches of a run; without any, all its methods do nothing.

    Attributes:
        queues: Handles of the queues.
        runner: Runs the batches.
    """

    queues: Mapping[SharedBy, Handle] = field(default_factory=dict)
    runner: BatchRunner | None = None

    @property
    def broken(self) -> str:
        """Why no batch can be run any more; empty while they can."""
        return "" if self.runner is None else self.runner.broken

    def halt(self) -> None:
        """Create no more batches."""
        if self.runner is not None:
            self.runner.halt()

    def wait(self, stopped: Callable[[], str], on_wait: Callable[[str], object]) -> bool:
        """Wait for the batches of a pass; returns whether another pass is needed. See `BatchRunner.wait`."""
        return self.runner is not None and self.runner.wait(stopped, on_wait)


@contextmanager
def file_batches(
    job: Job,
    keys: Mapping[Role, Sequence[SecretStr]],
    run_id: str,
    budget: Handle,
) -> Iterator[FileBatches]:
    """Run the file batches of a job while the block runs: those of this run, and open ones of earlier runs.

    An endpoint whose tier was ``batch`` in an earlier run has a queue as long as a batch of that run is open, since its
    requests must not be sent on another tier too, or with another key.

    Args:
        job: The job.
        keys: The key of every endpoint of every role.
        run_id: Id of the run.
        budget: Handle of the budget actor, if there is one.

    Raises:
        OSError: The log of batches cannot be read.
    """
    journal = output_path(job) / "cache"
    log = BatchLog(journal, run_id)
    opened = {batch.target for batch in log.open()}
    pairs = chain.from_iterable(
        zip(job.endpoints.endpoints_of(role), keys[role], strict=True) for role in keys if role != "speech"
    )
    wanted: dict[SharedBy, tuple[Endpoint, SecretStr]] = {}
    for at, key in pairs:
        name = shared_by(at, key)
        if at.tier == "batch" or (name not in wanted and batch_target(at) in opened):
            wanted[name] = (at, key)
    if not wanted:
        yield FileBatches()
        return
    folder = files_of(download_cache(job).root, job.output, run_id)
    most_bytes = job.engine.scratch_gb * 2**30 / len(wanted)
    queues, lines = {}, []
    for number, (name, (at, key)) in enumerate(wanted.items()):
        queues[name] = start_queue(at, folder / str(number), most_bytes)
        lines.append(BatchLine(at, BatchApi(at, key), RayQueue(queues[name])))
    runner = BatchRunner(lines, log, None if budget is None else RayBudget(budget))
    runner.start()
    try:
        yield FileBatches(queues, runner)
    finally:
        runner.stop()
        end_actors(queues.values())

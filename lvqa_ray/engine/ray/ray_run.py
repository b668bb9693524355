"""Executor of a run on Ray: one Ray Data graph per pass, actors for the limits of endpoints and the budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import ray

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.model_use import ModelUse, gpu_cost
from lvqa_ray.engine.executors import KeysOfRoles
from lvqa_ray.engine.ray import Handle, endpoints
from lvqa_ray.engine.ray.budget_actor import start as start_budget
from lvqa_ray.engine.ray.datasink import TableSink
from lvqa_ray.engine.ray.file_batches import FileBatches, file_batches
from lvqa_ray.engine.ray.graph import run_pass
from lvqa_ray.engine.ray.metrics import show
from lvqa_ray.engine.ray.session.cluster import ray_session_for, starts_ray
from lvqa_ray.engine.ray.session.health import watch_ray
from lvqa_ray.engine.ray.session.run_actors import end_actors
from lvqa_ray.engine.ray.session.shared_disk import check_shared_disk
from lvqa_ray.engine.waiting import Machine, stopped_processes
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from lvqa_ray.records import Video

if TYPE_CHECKING:  # it needs Ray Serve
    from lvqa_ray.engine.ray.models.model_servers import RunningModel

logger = logging.getLogger(__name__)


@contextmanager
def ray_run(job: Job, videos: Videos, run_id: str, provenance: dict[str, str]) -> Iterator[RayRun]:
    """Open the executor, which connects to Ray or starts one later, see `ray_session_for`.

    Args:
        job: The job.
        videos: The videos to process.
        run_id: Id of the run.
        provenance: Columns that are the same in all rows of the run.

    Raises:
        ExecutorLost: In the block, when Ray's control processes are gone.
    """
    with ExitStack() as session:
        yield RayRun(session, job, videos, run_id, provenance)


class RayRun:
    """An `Executor` on Ray; arguments as for `ray_run`, and the stack that ends its session."""

    def __init__(self, session: ExitStack, job: Job, videos: Videos, run_id: str, provenance: dict[str, str]) -> None:
        self._session = session
        self._job, self._videos, self._run_id, self._provenance = job, videos, run_id, provenance
        self._folder = output_path(job)
        self._budget: Handle | None = None
        self._lines: endpoints.Lines = {}
        self._batches = FileBatches()
        self._models: Mapping[str, RunningModel] = {}

    def models(self) -> Sequence[ModelUse]:
        """See `Executor`."""
        return [model.use() for model in self._models.values()]

    def connect(self, keys: KeysOfRoles, on_wait: Callable[[str], object]) -> None:
        """See `Executor`."""
        ray_ends = starts_ray()
        self._session.enter_context(ray_session_for(self._job))
        self._session.enter_context(watch_ray())
        check_shared_disk(self._folder, self._videos)
        if self._job.endpoints.served:
            from lvqa_ray.engine.ray.models.model_servers import served_models  # noqa: PLC0415 - needs Ray Serve
            from lvqa_ray.engine.ray.models.model_watch import watched_models  # noqa: PLC0415 - as above

            self._models = self._session.enter_context(served_models(self._job, on_wait, ray_ends=ray_ends))
            running = {digest: (model.address, model.replicas) for digest, model in self._models.items()}
            endpoints_now = self._job.endpoints.running_at(running)
            self._job = self._job.model_copy(update={"endpoints": endpoints_now})
            self._session.enter_context(watched_models(endpoints_now.served.values(), self.halt))
        self._budget = start_budget(self._job.engine, self._folder / "cache", self._run_id)
        self._batches = self._session.enter_context(file_batches(self._job, keys, self._run_id, self._budget))
        journal, queues = self._folder / "cache", self._batches.queues
        self._lines = endpoints.connect_endpoints(self._job, keys, journal, self._budget, queues)
        self._session.callback(self._end_actors)

    def _end_actors(self) -> None:
        """End the actors of the run: a Ray that the run has not started goes on without them."""
        lines = chain.from_iterable(self._lines.values())
        end_actors({*(line.rate_limiter.actor for line in lines), *([self._budget] if self._budget else [])})
        self._lines, self._budget = {}, None

    def run_pass(self, videos: Sequence[Video], shard: str, *, in_parts: bool) -> str:
        """See `Executor`."""
        sink = TableSink(self._folder, self._provenance, shard)
        stopped = ""
        try:
            run_pass(self._job, videos, sink, self._lines, self._run_id, in_parts=in_parts)
        except ray.exceptions.RayError as error:
            stopped = _broken(error)
        return stopped or sink.broken

    def wait_for_batches(self, stopped: Callable[[], str], on_wait: Callable[[str], object]) -> bool:
        """See `Executor`."""
        return self._batches.wait(stopped, on_wait)

    def halt(self, reason: str) -> None:
        """See `Executor`."""
        self._batches.halt()
        endpoints.halt(self._lines, reason)

    def why_halted(self) -> str:
        """See `Executor`."""
        return self._batches.broken or endpoints.why_halted(self._lines)

    def over_budget(self) -> bool:
        """See `Executor`."""
        return self._budget is not None and bool(ray.get(self._budget.exhausted.remote()))

    def stats(self) -> Mapping[str, EndpointStats]:
        """See `Executor`; updates the metrics too."""
        now = endpoints.endpoint_stats(self._lines)
        show(now)
        self._charge_models()
        return now

    def _charge_models(self) -> None:
        """Tell the budget of the run the cost of GPU time so far: each time, since its actor may have restarted."""
        if self._budget is not None and (cost := gpu_cost(self.models())):
            self._budget.set_served_usd.remote(cost)

    def machine(self) -> Machine:
        """See `Executor`."""
        every: Any = ray.cluster_resources  # both are untyped
        free: Any = ray.available_resources
        return Machine(float(every().get("CPU", 0.0)), float(free().get("CPU", 0.0)), stopped_processes())


def _broken(error: Exception) -> str:
    """Why Ray aborted a pass, in one sentence; quotes only errors of the operating system."""
    logger.error("a pass was aborted", exc_info=error)
    cause = getattr(error, "cause", None) or error
    detail = f": {cause}" if isinstance(cause, OSError) else ""
    return f"Ray aborted the pass ({type(cause).__name__}{detail}); Ray's logs have the details."

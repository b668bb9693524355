"""Models that a run serves: started before anything is decoded, ended with the run."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import ray
from ray import serve
from ray.data import DataContext, ExecutionResources
from ray.serve.exceptions import RayServeException

from lvqa_ray.config import Job
from lvqa_ray.config.places import storage_options
from lvqa_ray.dataset.model_use import ModelUse
from lvqa_ray.engine.executors import ExecutorLost
from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.models import serve_marks, vllm_app
from lvqa_ray.engine.ray.models.cluster_room import may_grow, rooms
from lvqa_ray.engine.ray.models.engine_process import warm_up
from lvqa_ray.engine.ray.models.model_janitor import new_lifeline
from lvqa_ray.engine.ray.models.model_states import (
    ABSENT,
    NOT_RUNNING,
    NOT_STARTED,
    RUNNING,
    failure,
    overview,
    servers,
)
from lvqa_ray.engine.ray.models.model_users import held_janitor, is_kept_without, janitor_at_end, kept, wait_until_ended
from lvqa_ray.engine.ray.models.replica_counts import replica_counts
from lvqa_ray.engine.ray.models.serve_address import is_serve_running, proxy_address
from lvqa_ray.engine.ray.models.server_deployment import server_app
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.log_faults import fault_of
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.storage.options import StorageOptions, is_store

MODEL_POLL_S = 0.5
PLACE_WITHIN_S = 60.0
"""Time to start a replica's process, on top of ``warmup_s``."""
logger = logging.getLogger(__name__)
OnWait = Callable[[str], object]


@dataclass
class RunningModel:
    """A model whose servers run.

    Attributes:
        label: Model and engine.
        model: Name of the model in requests.
        address: Base URL of all its servers.
        replicas: Number of servers.
        gpus: GPUs of each.
        cpus: Cores of each.
        price_gpu_hour: Dollars per GPU and hour; ``None`` if unknown.
        started: When its servers began to start (s since 1970), or when the run found them.
        stopped: When they ended for this run; ``None`` while they run.
    """

    label: str
    model: str
    address: str
    replicas: int
    gpus: float
    cpus: float
    price_gpu_hour: float | None
    started: float
    stopped: float | None = None

    def use(self) -> ModelUse:
        """The use of the model by this run so far."""
        seconds = (self.stopped or time.time()) - self.started
        return ModelUse(self.label, self.model, self.replicas, self.gpus, seconds, self.price_gpu_hour)


def app_name(served: ServedEndpoint) -> str:
    """Name of the Ray Serve application, and of the janitor's actor."""
    return f"lvqa-model-{served.digest}"


@contextmanager
def served_models(
    job: Job, on_wait: OnWait, *, port: int = 0, ray_ends: bool = False
) -> Iterator[Mapping[str, RunningModel]]:
    """Serve the models of a job while the block runs, by digest; see `start_models`.

    Meanwhile Ray Data plans without the cores and GPUs of the models, for which its tasks would wait in vain.

    Args:
        job: The job.
        on_wait: Called with what is waited for.
        port: Port of a new Ray Serve; 0 for a free one.
        ray_ends: Whether Ray shuts down right after the block. The servers end with its processes then.
    """
    lifeline = new_lifeline() if job.endpoints.served else None
    running: Mapping[str, RunningModel] = {}
    try:
        running = start_models(job, on_wait, lifeline, port=port)
        with kept([app_name(at) for at in job.endpoints.served.values()], lifeline), _excluded(running.values()):
            yield running
    except ExecutorLost:
        ray_ends = True  # calls to a Ray without its head would hang; if it comes back, the janitors end the servers
        raise
    finally:
        for model in running.values():
            model.stopped = time.time()
        if lifeline is not None and not ray_ends:
            _end(job, lifeline)


def start_models(
    job: Job, on_wait: OnWait, lifeline: Handle, *, port: int = 0, stay: bool = False
) -> Mapping[str, RunningModel]:
    """Start the servers of a job's models, or use those that run already; returns when all have answered a request.

    Args:
        job: The job.
        on_wait: Called with what is waited for.
        lifeline: The actor with which the servers end, unless another run uses them.
        port: Port of a new Ray Serve; 0 for a free one.
        stay: Keep the servers after the end of the lifeline.

    Raises:
        ConfigError: A server does not start; one sentence from its log.
    """
    served = job.endpoints.served
    if not served:
        return {}
    with _in_one_sentence():
        return _started(job, on_wait, lifeline, port, stay=stay)


def _started(job: Job, on_wait: OnWait, lifeline: Handle, port: int, *, stay: bool) -> Mapping[str, RunningModel]:
    served, user = job.endpoints.served, repr(lifeline)
    on_wait("Ray Serve to start")
    # First of all: the janitor of an earlier run may still be deleting its model, or shutting Ray Serve down.
    janitors = {digest: held_janitor(app_name(at), lifeline) for digest, at in served.items()}
    serve_marks.wait_for_lock()
    base = _address(port)
    began = time.time()
    counts: dict[str, int] = {}

    def claimed(digest: str) -> bool:
        found = overview(app_name(served[digest]))
        if found is not None and found.status.value not in ABSENT:
            return False
        is_mine: bool = ray.get(janitors[digest].claim.remote(user))
        return is_mine

    def deploy(digests: Collection[str]) -> None:
        counts.update(_counts(job, {digest: served[digest] for digest in digests}))
        for digest in digests:
            _deploy(job, served[digest], counts[digest])

    faults = {digest: ray.get(janitors[digest].state.remote())[2] for digest in served}
    mine = [digest for digest in served if claimed(digest)]
    faults |= dict.fromkeys(mine, 0)
    deploy(mine)
    for digest, at in served.items():
        until = time.monotonic() + at.warmup_s + PLACE_WITHIN_S
        while (doing := _waits_for(at, janitors[digest], faults[digest], is_mine=digest in counts)) is not None:
            if digest not in counts and claimed(digest):  # the run that was to start it has ended
                faults[digest] = 0
                deploy([digest])
            if time.monotonic() > until:
                raise ConfigError(
                    f"{at.label} has no server after warmup_s = {at.warmup_s:g} s: look whether a node with "
                    f"{at.gpus:g} GPUs and {at.cpus:g} cores is free."
                )
            on_wait(f"{at.label}: {doing or 'a place on the cluster'}")
            time.sleep(MODEL_POLL_S)
        if at.engine == "vllm":  # other servers have answered on their node
            on_wait(f"{at.label}: a first reply")
            asyncio.run(warm_up(at, f"{base}/{app_name(at)}/v1", at.warmup_s))
    if stay:  # only now: servers that do not start must end with this command
        ray.get([janitor.stay.remote() for janitor in janitors.values()])
    return {
        digest: RunningModel(
            label=at.label,
            model=at.model,
            address=f"{base}/{app_name(at)}/v1",
            replicas=counts.get(digest) or max(1, servers(app_name(at))),
            gpus=at.gpus,
            cpus=at.cpus,
            price_gpu_hour=at.price_gpu_hour,
            started=began,
        )
        for digest, at in served.items()
    }


def _deploy(job: Job, at: ServedEndpoint, replicas: int) -> None:
    # Replicas of Ray Serve LLM listen on all addresses and unpickle what they get: not on a Ray of one machine.
    if at.engine == "vllm" and os.environ.get("RAY_ADDRESS") and vllm_app.is_installed():
        app = vllm_app.build(at, at.model_path, replicas)
    else:
        access = storage_options(job.storage) if is_store(at.model) else StorageOptions()
        app = server_app(at, app_name(at), replicas, job.engine.scratch_dir, access)
    serve._run(app, _blocking=False, name=app_name(at), route_prefix=f"/{app_name(at)}")


def stop_models(job: Job) -> list[str]:
    """End the servers of a job's models, whoever uses them; returns the labels of those that ran."""
    ended = []
    for at in job.endpoints.served.values():
        if (janitor := janitor_at_end(app_name(at))) is not None:
            janitor.end.remote()
            wait_until_ended(app_name(at))
            ended.append(at.label)
    return ended


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    try:
        yield
    except (ray.exceptions.RayError, RayServeException) as error:
        logger.exception("the models do not start")
        raise ConfigError(
            f"Ray Serve or a part of it ended while the models started ({type(error).__name__}): start this again."
        ) from None


def _address(port: int) -> str:
    """Address of Ray Serve's proxy; notes that a run started Ray Serve, if it did not run."""
    if is_serve_running():
        return proxy_address(port)
    serve_marks.put(serve_marks.SERVE_IS_OURS)
    try:
        proxy_address(port)
    except ValueError:  # another run has started it meanwhile
        logger.info("Ray Serve was started twice", exc_info=True)
    return proxy_address()  # the address of whichever was first


def _counts(job: Job, served: Mapping[str, ServedEndpoint]) -> dict[str, int]:
    running = [
        at.cpus
        for digest, at in job.endpoints.served.items()
        for _ in range(0 if digest in served else servers(app_name(at)))
    ]
    nodes, decoding = rooms(), job.engine.video_cpus
    try:
        return replica_counts(served, nodes, decoding=decoding, grows=False, running=running)
    except ConfigError:
        if not may_grow():
            raise
        return replica_counts(served, nodes, decoding=decoding, grows=True, running=running)


def _waits_for(at: ServedEndpoint, janitor: Handle, faults: int, *, is_mine: bool) -> str | None:
    """What the servers of a model are doing until they answer; ``None`` when they do.

    Args:
        at: The model.
        janitor: Its janitor.
        faults: Number of faults that are older than this run.
        is_mine: Whether this run started the servers; those of another may be down for a while.

    Raises:
        ConfigError: One of them does not start.
    """
    app = app_name(at)
    doing, fault, count = ray.get(janitor.state.remote())
    found = overview(app)
    if found is not None and found.status.value == RUNNING:
        return None
    if fault and count > faults:
        raise ConfigError(fault)
    if failed := failure(found, NOT_RUNNING if is_mine else NOT_STARTED):
        logger.error("the model %s does not start: %s", app, failed)
        raise ConfigError(f"{at.label} does not start: {fault_of(at.engine, failed, None)}")
    return str(doing)


@contextmanager
def _excluded(models: Collection[RunningModel]) -> Iterator[None]:
    # Ray 2.60 announces a successor, labels of nodes, which cannot share a node between decoders and models.
    warnings.filterwarnings("ignore", message=r".*exclude_resources. is deprecated")
    options = DataContext.get_current().execution_options
    before = options.exclude_resources
    cpus = sum(model.cpus * model.replicas for model in models)
    gpus = sum(model.gpus * model.replicas for model in models)
    options.exclude_resources = ExecutionResources(cpu=cpus, gpu=gpus)
    try:
        yield
    finally:
        options.exclude_resources = before


def _end(job: Job, lifeline: Handle) -> None:
    """End the lifeline, and wait until the models that only this run used are gone."""
    for at in job.endpoints.served.values():
        with suppress(Exception):  # Ray may be gone
            if not is_kept_without(app_name(at), repr(lifeline)):
                wait_until_ended(app_name(at))
    with suppress(Exception):
        ray.kill(lifeline)

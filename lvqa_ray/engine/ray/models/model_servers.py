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
from typing import Any

import ray
from ray import serve
from ray.data import DataContext, ExecutionResources
from ray.serve.schema import ApplicationStatusOverview

from lvqa_ray.config import Job
from lvqa_ray.config.places import storage_options
from lvqa_ray.dataset.model_use import ModelUse
from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.models import vllm_app
from lvqa_ray.engine.ray.models.cluster_room import may_grow, rooms
from lvqa_ray.engine.ray.models.engine_process import warm_up
from lvqa_ray.engine.ray.models.model_janitor import found_janitor, janitor_of, new_lifeline
from lvqa_ray.engine.ray.models.replica_counts import replica_counts
from lvqa_ray.engine.ray.models.serve_address import is_serve_running, proxy_address
from lvqa_ray.engine.ray.models.server_deployment import DEPLOYMENT, server_app
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.log_faults import fault_of
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.storage.options import StorageOptions, is_store

MODEL_POLL_S = 0.5
END_WITHIN_S = 60.0
PLACE_WITHIN_S = 60.0
"""Time to start a replica's process, on top of ``warmup_s``."""
RUNNING = "RUNNING"
NOT_RUNNING = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
FAILED_TO_START = "failed to start"
"""Ray Serve's words about a replica; it tries again many times."""
LLM_SERVER = "LLMServer"
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
        is_own: Whether this run started them.
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
    is_own: bool = True

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
        with _excluded(running.values()):
            yield running
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
    on_wait("Ray Serve to start")
    starts_serve = not is_serve_running()
    present = {digest for digest, at in served.items() if not starts_serve and _overview(app_name(at)) is not None}
    counts = _counts(job, {digest: at for digest, at in served.items() if digest not in present})
    base = proxy_address(port)
    janitors = {digest: _held(app_name(at), lifeline, starts_serve=starts_serve) for digest, at in served.items()}
    began = time.time()
    for digest, at in served.items():
        if stay:
            ray.get(janitors[digest].stay.remote())
        if digest not in present:
            # Replicas of Ray Serve LLM listen on all addresses and unpickle what they get: not on a Ray of one machine.
            if at.engine == "vllm" and os.environ.get("RAY_ADDRESS") and vllm_app.is_installed():
                app = vllm_app.build(at, at.model_path, counts[digest])
            else:
                access = storage_options(job.storage) if is_store(at.model) else StorageOptions()
                app = server_app(at, app_name(at), counts[digest], job.engine.scratch_dir, access)
            serve._run(app, _blocking=False, name=app_name(at), route_prefix=f"/{app_name(at)}")
    for digest, at in served.items():
        _wait(at, janitors[digest], on_wait)
        if at.engine == "vllm":  # other servers have answered on their node
            on_wait(f"{at.label}: a first reply")
            asyncio.run(warm_up(at, f"{base}/{app_name(at)}/v1", at.warmup_s))
    return {
        digest: RunningModel(
            label=at.label,
            model=at.model,
            address=f"{base}/{app_name(at)}/v1",
            replicas=counts.get(digest) or max(1, _servers(app_name(at))),
            gpus=at.gpus,
            cpus=at.cpus,
            price_gpu_hour=at.price_gpu_hour,
            started=began,
            is_own=digest not in present,
        )
        for digest, at in served.items()
    }


def stop_models(job: Job) -> list[str]:
    """End the servers of a job's models, whoever uses them; returns the labels of those that ran."""
    ended = []
    for at in job.endpoints.served.values():
        if (janitor := found_janitor(app_name(at))) is not None:
            janitor.end.remote()
            _until_ended(app_name(at))
            ended.append(at.label)
    return ended


def _held(app: str, lifeline: Handle, *, starts_serve: bool) -> Handle:
    """The janitor of an application, which keeps it until the lifeline ends."""
    until = time.monotonic() + END_WITHIN_S
    while time.monotonic() < until:
        janitor = janitor_of(app, started_serve=starts_serve)
        with suppress(ray.exceptions.RayActorError):
            if ray.get(janitor.hold.remote(repr(lifeline), lifeline)):
                return janitor
        time.sleep(MODEL_POLL_S)
    raise ConfigError(f"{app} of an earlier run does not end: try again, or restart Ray.")


def _counts(job: Job, served: Mapping[str, ServedEndpoint]) -> dict[str, int]:
    running = [
        at.cpus
        for digest, at in job.endpoints.served.items()
        for _ in range(0 if digest in served else _servers(app_name(at)))
    ]
    nodes, decoding = rooms(), job.engine.video_cpus
    try:
        return replica_counts(served, nodes, decoding=decoding, grows=False, running=running)
    except ConfigError:
        if not may_grow():
            raise
        return replica_counts(served, nodes, decoding=decoding, grows=True, running=running)


def _wait(at: ServedEndpoint, janitor: Handle, on_wait: OnWait) -> None:
    """Wait until all servers of a model answer.

    Raises:
        ConfigError: One of them does not start.
    """
    app, until = app_name(at), time.monotonic() + at.warmup_s + PLACE_WITHIN_S
    while True:
        doing, fault, _ = ray.get(janitor.state.remote())
        found = _overview(app)
        if found is not None and found.status.value == RUNNING:
            return
        if fault:
            raise ConfigError(fault)
        if failed := _failure(found):
            logger.error("the model %s does not start: %s", app, failed)
            raise ConfigError(f"{at.label} does not start: {fault_of(at.engine, failed, None)}")
        if time.monotonic() > until:
            raise ConfigError(
                f"{at.label} has no server after warmup_s = {at.warmup_s:g} s: look whether a node with "
                f"{at.gpus:g} GPUs and {at.cpus:g} cores is free."
            )
        on_wait(f"{at.label}: {doing or 'a place on the cluster'}")
        time.sleep(MODEL_POLL_S)


def _overview(app: str) -> ApplicationStatusOverview | None:
    found: ApplicationStatusOverview | None = serve.status().applications.get(app)
    return found


def _failure(found: ApplicationStatusOverview | None) -> str:
    """What Ray Serve says about an application that does not start; empty while it may."""
    if found is None:
        return ""
    messages = "\n".join((found.message, *(each.message for each in found.deployments.values())))
    return messages if found.status.value in NOT_RUNNING or FAILED_TO_START in messages else ""


def live_servers(app: str) -> int:
    """The number of servers of an application that take requests."""
    return _servers(app, frozenset({RUNNING}))


def _servers(app: str, states: frozenset[str] = frozenset()) -> int:
    """The number of servers in some states, by default in any.

    The application of Ray Serve LLM has a second deployment, which takes the requests.
    """
    found = _overview(app)
    deployments = {} if found is None else found.deployments
    servers = [each for name, each in deployments.items() if name == DEPLOYMENT or LLM_SERVER in name]
    return sum(
        number
        for each in servers
        for state, number in each.replica_states.items()
        if not states or getattr(state, "value", state) in states
    )


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
    with suppress(Exception):  # Ray may be gone
        for at in job.endpoints.served.values():
            janitor: Any = found_janitor(app_name(at))
            if janitor is not None and not ray.get(janitor.release.remote(repr(lifeline))):
                _until_ended(app_name(at))
        ray.kill(lifeline)


def _until_ended(app: str) -> None:
    until = time.monotonic() + END_WITHIN_S
    while found_janitor(app) is not None and time.monotonic() < until:
        time.sleep(0.1)

"""Ray session of a job: connects or starts Ray, and shuts down only what it started."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import ray

from lvqa_ray.config import Job
from lvqa_ray.engine.ray.session.detach import children_without_terminal
from lvqa_ray.engine.ray.session.health import shut_down
from lvqa_ray.engine.ray.session.loopback import bound_to_loopback
from lvqa_ray.engine.ray.session.quiet import core_lines_dropped
from lvqa_ray.engine.ray.session.telemetry import disable_telemetry
from lvqa_ray.engine.secrets import environment_without
from lvqa_ray.errors import ConfigError

CHECKED_RELEASES = frozenset({"2.60.0"})
"""Releases of Ray whose private names are known: they start without the services that nobody uses, and Ray Data keeps
no statistics of finished blocks. Others run as they are."""

ALLOCATORS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""Environment of workers. Arrow's allocators and glibc's thread caches keep memory for each of the hundreds of threads
of a chat worker (measured: 170 MB, and 7 KB a video in a run of 10,000)."""


def starts_ray() -> bool:
    """Whether `ray_session_for` would start a Ray of its own, which it shuts down again."""
    return not ray.is_initialized() and not os.environ.get("RAY_ADDRESS")


@contextmanager
def ray_session_for(job: Job, *, with_keys: bool = False) -> Iterator[None]:
    """Connect to Ray while the block runs: the Ray of this process, that of RAY_ADDRESS, or a new local one.

    The processes of a new Ray have no terminal, see `lvqa_ray.engine.ray.session.detach`.

    Args:
        job: The job.
        with_keys: Whether workers see the API keys in their environment. A run hands them to its chat workers only.

    Raises:
        ConfigError: Ray does not start, or no node is large enough for a task of the job.
    """
    if ray.is_initialized():
        _check_cpus(job)
        with _blocks_forgotten():
            yield
        return
    is_remote = bool(os.environ.get("RAY_ADDRESS"))
    if not is_remote:
        disable_telemetry()
    # Hides a warning of Ray's core that does not apply: that restarted actors may lose their arguments.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name, value in ALLOCATORS.items():
        os.environ.setdefault(name, value)
    secret = nullcontext() if with_keys else environment_without(job.endpoints.key_variables)
    few: AbstractContextManager[None] = nullcontext()
    services: AbstractContextManager[None] = nullcontext()
    with_serve = with_keys or bool(job.endpoints.served)  # the service, or models that the run serves
    network = bound_to_loopback() if with_serve and not is_remote else nullcontext()
    if not is_remote and not with_serve and ray.__version__ in CHECKED_RELEASES:  # Ray Serve needs the agents
        from lvqa_ray.engine.ray.session import local_services  # noqa: PLC0415 - fails to import on other releases

        services, few = local_services.node_without_services(), local_services.data_without_actors()
    try:
        with secret, services, network, children_without_terminal(), core_lines_dropped():
            ray.init(
                # "local": never use a Ray that happens to run on this machine.
                address=None if is_remote else "local",
                num_cpus=None if is_remote else job.engine.num_cpus or os.cpu_count(),
                include_dashboard=None if is_remote else False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except Exception as error:  # Ray has no exception type for this
        raise ConfigError(f"Ray does not start ({error}); fix that, or wait until the machine is idle.") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        _check_cpus(job)
        with few, _blocks_forgotten():
            yield
    finally:
        shut_down()


def _blocks_forgotten() -> AbstractContextManager[None]:
    """Patch Ray Data, if the release is known, so that its statistics do not grow with the number of videos."""
    if ray.__version__ not in CHECKED_RELEASES:
        return nullcontext()
    from lvqa_ray.engine.ray.session import local_services  # noqa: PLC0415 - fails to import on other releases

    return local_services.blocks_forgotten()


def _check_cpus(job: Job) -> None:
    """Refuse a job whose tasks fit on no node: Ray would wait forever."""
    nodes: Any = ray.nodes  # untyped
    most = max((node["Resources"].get("CPU", 0.0) for node in nodes() if node["Alive"]), default=0.0)
    if 0 < most < job.engine.video_cpus:  # 0: a head without cores, whose workers may be starting
        raise ConfigError(f"engine.video_cpus is {job.engine.video_cpus:g}, and the largest node has {most:g} cores.")

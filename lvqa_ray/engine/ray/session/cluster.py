"""The Ray that a job runs on; shuts down only what it has started."""

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
from lvqa_ray.engine.ray.session.quiet import core_lines_dropped
from lvqa_ray.engine.ray.session.telemetry import disable_telemetry
from lvqa_ray.engine.secrets import environment_without
from lvqa_ray.errors import ConfigError

CHECKED_RELEASES = frozenset({"2.60.0"})
"""Releases of Ray whose services can be left out: that needs private names. Any other starts with all of them."""


@contextmanager
def ray_session_for(job: Job, *, with_keys: bool = False) -> Iterator[None]:
    """A Ray for as long as the block runs: the one that is running, the one of RAY_ADDRESS, or one of its own.

    The processes of its own have no terminal, see `lvqa_ray.engine.ray.session.detach`.

    Args:
        job: The job.
        with_keys: Whether workers find the keys of the endpoints in their environment. A run hands them to those
            workers that send requests.

    Raises:
        ConfigError: It does not start, or a task of the job fits on no node.
    """
    if ray.is_initialized():
        _check_cpus(job)
        yield
        return
    elsewhere = bool(os.environ.get("RAY_ADDRESS"))
    if not elsewhere:
        disable_telemetry()
    # Ray's core would print to the terminal that restarted actors may lose arguments that Ray Data in fact keeps.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    secret = nullcontext() if with_keys else environment_without(job.endpoints.key_variables)
    few: AbstractContextManager[None] = nullcontext()
    services: AbstractContextManager[None] = nullcontext()
    if not elsewhere and not with_keys and ray.__version__ in CHECKED_RELEASES:  # Ray Serve needs the agents
        from lvqa_ray.engine.ray.session import local_services  # noqa: PLC0415 - fails to import on other releases

        services, few = local_services.node_without_services(), local_services.data_without_actors()
    try:
        with secret, services, children_without_terminal(), core_lines_dropped():
            ray.init(
                # "local": a Ray that happens to run on this machine is somebody else's.
                address=None if elsewhere else "local",
                num_cpus=None if elsewhere else job.engine.num_cpus or os.cpu_count(),
                include_dashboard=None if elsewhere else False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except Exception as error:  # Ray has no type of its own for this
        raise ConfigError(f"Ray does not start ({error}); mend that, or wait until the machine is idle.") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        _check_cpus(job)
        with few:
            yield
    finally:
        shut_down()


def _check_cpus(job: Job) -> None:
    """Refuse a task that fits on no node: Ray would wait for one for ever."""
    nodes: Any = ray.nodes  # it has no types
    most = max((node["Resources"].get("CPU", 0.0) for node in nodes() if node["Alive"]), default=0.0)
    if 0 < most < job.engine.video_cpus:  # a head without cores may have workers on their way
        raise ConfigError(f"engine.video_cpus is {job.engine.video_cpus:g}, and the largest node has {most:g} cores.")

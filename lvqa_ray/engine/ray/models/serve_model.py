"""Model servers without a run (`lvqa serve-model`): they stay up between runs, which find and use them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from lvqa_ray.config import Job
from lvqa_ray.engine.ray.models.model_janitor import new_lifeline
from lvqa_ray.engine.ray.models.model_servers import (
    OnWait,
    RunningModel,
    served_models,
    start_models,
    stop_models,
)
from lvqa_ray.engine.ray.serve_deployment import SIGNAL_POLL_S
from lvqa_ray.engine.ray.session.cluster import ray_session_for, starts_ray
from lvqa_ray.engine.shutdown import GracefulShutdown
from lvqa_ray.errors import ConfigError

OnUp = Callable[[Mapping[str, RunningModel]], object]


def serve_until_stopped(job: Job, on_wait: OnWait, on_up: OnUp, *, port: int = 0) -> None:
    """Serve the models of a job until a signal arrives; they end with this process, also if it is killed.

    Args:
        job: The job.
        on_wait: Called with what is waited for.
        on_up: Called with the models, by digest, when they run.
        port: Port of a new Ray Serve; 0 for a free one.

    Raises:
        ConfigError: A model does not start.
        KeyboardInterrupt: A signal arrived.
    """
    ray_ends = starts_ray()
    with (
        ray_session_for(job),
        GracefulShutdown().listening(),
        served_models(job, on_wait, port=port, ray_ends=ray_ends) as running,
    ):
        on_up(running)
        while True:
            time.sleep(SIGNAL_POLL_S)


def serve_detached(job: Job, on_wait: OnWait, on_up: OnUp, *, port: int = 0) -> None:
    """Serve the models of a job on the Ray of RAY_ADDRESS, until `stop_serving`; arguments and errors as above."""
    _check_address("--detach")
    with ray_session_for(job):
        on_up(start_models(job, on_wait, new_lifeline(), port=port, stay=True))


def stop_serving(job: Job) -> list[str]:
    """End the servers of a job's models on the Ray of RAY_ADDRESS; returns the labels of those that ran."""
    _check_address("--stop")
    with ray_session_for(job):
        return stop_models(job)


def _check_address(option: str) -> None:
    if not os.environ.get("RAY_ADDRESS"):
        raise ConfigError(
            f"{option} needs a Ray that outlives this command: start one with ray start --head, and set RAY_ADDRESS, "
            "such as RAY_ADDRESS=auto."
        )

"""Local Ray without cluster services: no autoscaler, log monitor, agents or Ray Data actors.

A Ray that a job starts itself has one node, no dashboard, no runtime environments, and a random port for its metrics.
The services for these take more CPU and time than a short video (measured on Ray 2.60: 8 of 25 CPU seconds, and 5 s
until the first task). No public setting disables them. A cluster keeps them all.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import _raylet
from ray._private import services as ray_services
from ray._private import utils as ray_utils
from ray._private.node import Node
from ray.data._internal.cluster_autoscaler import ClusterAutoscaler
from ray.data._internal.execution import streaming_executor
from ray.data._internal.execution.interfaces import ExecutionResources
from ray.data._internal.execution.operators import actor_pool_map_operator, map_operator
from ray.data._internal.stats import _StatsManager

from lvqa_ray.engine.ray.session import worker_main

core: Any = _raylet  # untyped
AGENT_OPTIONS = ("--dashboard_agent_command", "--runtime_env_agent_command")
AGENT_PORTS = (
    core.DASHBOARD_AGENT_LISTEN_PORT_NAME,
    core.METRICS_AGENT_PORT_NAME,
    core.METRICS_EXPORT_PORT_NAME,
    core.RUNTIME_ENV_AGENT_PORT_NAME,
)
NO_PORT = 1
"""A port without a listener; the raylet waits until its agents have written a port file."""
PLACEHOLDER = subprocess.list2cmdline(["/bin/sh", "-c", "exec cat", "agent"])
"""Command in place of an agent: the raylet exits when an agent exits, so a process must run. ``cat`` exits when the
raylet closes the pipe to its input."""
PRESTART_OPTION = "--num_prestart_python_workers"
"""Option for workers to start in advance, for which the driver waits. A short run on many cores needs few; each takes
half a CPU second."""
WORKER_OPTION = "--python_worker_command"
RAYS_WORKER = Path(ray_services.__file__).with_name("workers") / "default_worker.py"
"""Ray's entry point of a worker, which `lvqa_ray.engine.ray.session.worker_main` runs."""
SETTINGS = {
    "RAY_enable_pipe_based_agent_to_parent_health_check": "1",
    "RAY_enable_metrics_collection": "0",
    # Otherwise Ray starts the workers of a driver under `uv run` with uv, in a runtime environment. On one machine they
    # can use the driver's interpreter.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@contextmanager
def node_without_services() -> Iterator[None]:
    """Patch Ray inside the block, so that a new Ray starts no autoscaler, log monitor and agents."""
    start: Callable[..., Any] = ray_services.start_ray_process

    def start_process(command: Sequence[str], kind: str, **options: object) -> object:
        return start(_without_agents(command) if kind == "raylet" else command, kind, **options)

    with ExitStack() as changed:
        for name, value in SETTINGS.items():
            if name not in os.environ:
                os.environ[name] = value
                changed.callback(os.environ.pop, name, None)
        _change(changed, Node, "start_monitor", _nothing)
        _change(changed, Node, "start_log_monitor", _nothing)
        _change(changed, ray_services, "start_ray_process", start_process)
        # It imports a web server and metrics exporters, only to check that the agents could.
        _change(changed, ray_utils, "get_dashboard_dependency_error", _nothing)
        yield


@contextmanager
def data_without_actors() -> Iterator[None]:
    """Patch Ray Data inside the block to use no actors for statistics, autoscaling and actor locations."""
    with ExitStack() as changed:
        for name in ("register_dataset_to_stats_actor", "update_execution_metrics"):
            _change(changed, _StatsManager, name, staticmethod(_nothing))
        _change(changed, streaming_executor, "create_cluster_autoscaler", _fixed_cluster)
        _change(changed, actor_pool_map_operator, "get_or_create_actor_location_tracker", _OneLocation)
        _change(changed, actor_pool_map_operator, "get_actor_locations", _all_here)
        yield


@contextmanager
def blocks_forgotten() -> Iterator[None]:
    """Patch Ray Data inside the block to keep no statistics of finished blocks.

    It keeps three objects for each block of each step until the end of a pass (5 KB a video), for `Dataset.stats`,
    which nobody reads; see ray-project/ray#66016.
    """
    with ExitStack() as changed:
        _change(changed, map_operator, "to_stats", _no_statistics)
        yield


def _without_agents(command: Sequence[str]) -> list[str]:
    """The command line of a raylet with placeholders for its agents."""
    given = dict(word.lstrip("-").split("=", 1) for word in command if word.startswith("--") and "=" in word)
    for name in AGENT_PORTS:
        core.persist_port(given["session_dir"], given["node_id"], name, NO_PORT)
    words = []
    for word in command:
        option = word.partition("=")[0]
        if option in AGENT_OPTIONS:
            words.append(f"{option}={PLACEHOLDER}")
        elif option == WORKER_OPTION:
            words.append(word.replace(_quoted(RAYS_WORKER), _quoted(worker_main.__file__, RAYS_WORKER), 1))
        elif option == PRESTART_OPTION:
            words.append(f"{option}=0")
        else:
            words.append(word)
    return words


class _FixedCluster(ClusterAutoscaler):
    """Autoscaler of a cluster of fixed size with a single user."""

    def __init__(self) -> None:
        resources: Any = ray.cluster_resources  # untyped
        self._total: ExecutionResources = ExecutionResources.from_resource_dict(resources())

    def try_trigger_scaling(self) -> None:
        """Do nothing: the size is fixed."""

    def on_executor_shutdown(self) -> None:
        """Do nothing: nothing was requested."""

    def get_total_resources(self) -> ExecutionResources:
        """The resources with which Ray was started."""
        return self._total


class _OneLocation:
    """Replaces the actor that tracks the nodes of actors: there is one node."""

    class _Ignored:
        def remote(self, *_: object) -> None:
            """Do nothing."""

    update_actor_location = _Ignored()


def _quoted(*words: object) -> str:
    return subprocess.list2cmdline(map(str, words))


def _fixed_cluster(*_: object, **__: object) -> _FixedCluster:
    return _FixedCluster()


def _all_here(actors: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(actors, ray.get_runtime_context().get_node_id())


def _no_statistics(*_: object) -> list[object]:
    return []


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def _change(changed: ExitStack, owner: object, name: str, value: object) -> None:
    before = vars(owner)[name]
    setattr(owner, name, value)
    changed.callback(setattr, owner, name, before)

"""A Ray of one machine without the services of a cluster: autoscaler, log monitor, agents, and Ray Data's own actors.

A Ray that a job starts for itself has one node, no dashboard and no runtime environments, and its metrics have a port
that nobody knows. The services for these take more CPU and time than a short video (measured on Ray 2.60: 8 of 25 CPU
seconds, and 5 s until the first task). There is no public setting for any of them. A cluster has them all.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray import _raylet
from ray._private import services as ray_services
from ray._private import utils as ray_utils
from ray._private.node import Node
from ray.data._internal.cluster_autoscaler import ClusterAutoscaler
from ray.data._internal.execution import streaming_executor
from ray.data._internal.execution.interfaces import ExecutionResources
from ray.data._internal.execution.operators import actor_pool_map_operator
from ray.data._internal.stats import _StatsManager

core: Any = _raylet  # it has no types
AGENT_OPTIONS = ("--dashboard_agent_command", "--runtime_env_agent_command")
AGENT_PORTS = (
    core.DASHBOARD_AGENT_LISTEN_PORT_NAME,
    core.METRICS_AGENT_PORT_NAME,
    core.METRICS_EXPORT_PORT_NAME,
    core.RUNTIME_ENV_AGENT_PORT_NAME,
)
NO_PORT = 1
"""A port at which nothing listens; the raylet waits until its agents have written theirs down."""
PLACEHOLDER = subprocess.list2cmdline(["/bin/sh", "-c", "exec cat", "agent"])
"""What runs in place of an agent: the raylet ends with its agents, so there has to be a process. It ends when the
raylet closes the pipe that is its input."""
PRESTART_OPTION = "--num_prestart_python_workers"
"""The driver waits for these workers. Those that it needs start while it goes on, and a short run on many cores needs
few; each takes half a CPU second."""
SETTINGS = {
    "RAY_enable_pipe_based_agent_to_parent_health_check": "1",
    "RAY_enable_metrics_collection": "0",
    # A driver under `uv run` has its workers started by it too, in a runtime environment. Those of one machine run with
    # the interpreter of the driver.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@contextmanager
def node_without_services() -> Iterator[None]:
    """Start the processes of a Ray inside the block without autoscaler, log monitor and agents."""
    start: Callable[..., Any] = ray_services.start_ray_process

    def start_process(command: Sequence[str], kind: str, **options: Any) -> Any:  # noqa: ANN401 - Ray's has no types
        return start(_without_agents(command) if kind == "raylet" else command, kind, **options)

    with ExitStack() as changed:
        for name, value in SETTINGS.items():
            if name not in os.environ:
                os.environ[name] = value
                changed.callback(os.environ.pop, name, None)
        _change(changed, Node, "start_monitor", _nothing)
        _change(changed, Node, "start_log_monitor", _nothing)
        _change(changed, ray_services, "start_ray_process", start_process)
        # It imports a web server and exporters of metrics, to find out whether the agents could.
        _change(changed, ray_utils, "get_dashboard_dependency_error", _nothing)
        yield


@contextmanager
def data_without_actors() -> Iterator[None]:
    """Let Ray Data execute inside the block without actors for statistics, autoscaling and locations of actors."""
    with ExitStack() as changed:
        for name in ("register_dataset_to_stats_actor", "update_execution_metrics"):
            _change(changed, _StatsManager, name, staticmethod(_nothing))
        _change(changed, streaming_executor, "create_cluster_autoscaler", _fixed_cluster)
        _change(changed, actor_pool_map_operator, "get_or_create_actor_location_tracker", _OneLocation)
        _change(changed, actor_pool_map_operator, "get_actor_locations", _all_here)
        yield


def _without_agents(command: Sequence[str]) -> list[str]:
    """The command line of a raylet whose agents are placeholders."""
    given = dict(word.lstrip("-").split("=", 1) for word in command if word.startswith("--") and "=" in word)
    for name in AGENT_PORTS:
        core.persist_port(given["session_dir"], given["node_id"], name, NO_PORT)
    words = []
    for word in command:
        option = word.partition("=")[0]
        if option in AGENT_OPTIONS:
            words.append(f"{option}={PLACEHOLDER}")
        elif option == PRESTART_OPTION:
            words.append(f"{option}=0")
        else:
            words.append(word)
    return words


class _FixedCluster(ClusterAutoscaler):
    """The autoscaler of a cluster that neither grows nor has others who want a share."""

    def __init__(self) -> None:
        resources: Any = ray.cluster_resources  # it has no types
        self._total: ExecutionResources = ExecutionResources.from_resource_dict(resources())

    def try_trigger_scaling(self) -> None:
        """There is nothing to scale."""

    def on_executor_shutdown(self) -> None:
        """There is nothing to release."""

    def get_total_resources(self) -> ExecutionResources:
        """All of the machine that Ray was given."""
        return self._total


class _OneLocation:
    """Stands for the actor that notes on which nodes actors are: there is one node."""

    class _Ignored:
        def remote(self, *_: object) -> None:
            """Call nobody."""

    update_actor_location = _Ignored()


def _fixed_cluster(*_: object, **__: object) -> _FixedCluster:
    return _FixedCluster()


def _all_here(actors: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(actors, ray.get_runtime_context().get_node_id())


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def _change(changed: ExitStack, owner: Any, name: str, value: object) -> None:  # noqa: ANN401 - a module or a class
    before = vars(owner)[name]
    setattr(owner, name, value)
    changed.callback(setattr, owner, name, before)

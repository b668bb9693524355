"""Ray Serve's HTTP proxy for served models: where it listens, and its start on a free port of the head node."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
from typing import Any

import ray
from ray import serve
from ray.serve.config import ProxyLocation
from ray.serve.context import _get_global_client
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.models.cluster_room import may_grow
from lvqa_ray.errors import ConfigError

HEAD_RESOURCE = "node:__internal_head__"
LOOPBACK = "127.0.0.1"
SERVE_PORTS = range(20_000, 32_000)
"""Ports to choose from: below those that Linux gives to outgoing connections (32,768 and above)."""
CONTROLLER, SERVE_NAMESPACE = "SERVE_CONTROLLER_ACTOR", "serve"


def is_serve_running() -> bool:
    """Whether Ray Serve runs on the connected Ray."""
    try:
        ray.get_actor(CONTROLLER, namespace=SERVE_NAMESPACE)
    except ValueError:
        return False
    return True


def proxy_address(port: int = 0) -> str:
    """Address of Ray Serve's proxy, such as ``http://10.0.0.1:8100``; starts Ray Serve if it does not run.

    The proxy, which asks for no key, listens on the address by which the nodes know the head node, and on loopback if
    this machine is the only node of a Ray that RAY_ADDRESS does not name.

    Args:
        port: Port for a new Ray Serve; 0 for a free one.

    Raises:
        ConfigError: The port is in use, or the Ray Serve that runs cannot be reached from the nodes.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    head = _head()
    host = str(head["NodeManagerAddress"])
    is_shared = bool(os.environ.get("RAY_ADDRESS")) or len(_machines()) > 1
    if not is_serve_running():
        task: Any = ray.remote(num_cpus=0)(free_port)
        host = host if is_shared else LOOPBACK
        there = NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
        found, why = ray.get(task.options(scheduling_strategy=there).remote(host, port))
        if why:
            raise ConfigError(f"port {port} on {host} {why}: give another --port, or 0 for a free one.")
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": host, "port": found},
            logging_config={"enable_access_log": False},
        )
        return f"http://{_in_url(host)}:{found}"
    client: Any = _get_global_client()
    options = client.http_config
    if _is_disabled(client):
        raise ConfigError(
            "the Ray Serve of this cluster has no HTTP proxy, through which the run reaches its models: start it with "
            "--proxy-location HeadOnly, or shut it down, so that the run starts its own."
        )
    listens = str(options.host)
    if listens in {LOOPBACK, "localhost", "::1"} and host != listens and (len(_machines()) > 1 or may_grow()):
        raise ConfigError(
            f"the Ray Serve of this cluster listens on {listens} only, which other nodes cannot reach: start it with "
            "--http-host 0.0.0.0, or shut it down, so that the run starts its own."
        )
    return f"http://{_in_url(host if listens in {'0.0.0.0', '::'} else listens)}:{options.port}"  # noqa: S104 - a comparison


def _is_disabled(client: Handle) -> bool:
    location = ray.get(client._controller.get_proxy_location.remote())
    return client.http_config.host is None or location == ProxyLocation.Disabled


def free_port(host: str, wanted: int) -> tuple[int, str]:
    """A port of this machine that is free, the wanted one if it is not 0; else why it cannot be used.

    Without a wanted one it is a port that the system gives to no client: Ray Serve listens on it only seconds later.
    """
    if not wanted:
        drawn = (SERVE_PORTS[secrets.randbelow(len(SERVE_PORTS))] for _ in range(len(SERVE_PORTS)))
        found = next((port for port in drawn if not free_port(host, port)[1]), 0)
        if found:
            return found, ""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, wanted))
        except OSError as error:
            return 0, "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        port: int = listener.getsockname()[1]
        return port, ""


def _head() -> dict[str, Any]:
    alive = _alive()
    return next((node for node in alive if HEAD_RESOURCE in node["Resources"]), alive[0])


def _machines() -> set[str]:
    return {str(node["NodeManagerAddress"]) for node in _alive()}


def _alive() -> list[dict[str, Any]]:
    nodes: Any = ray.nodes  # untyped
    return [node for node in nodes() if node["Alive"]]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host

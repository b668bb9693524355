"""Ray Serve application of one model: replicas that each supervise one server and pass requests on to it."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import ray
from ray import serve
from ray._private import worker as ray_worker

from lvqa_ray.engine.ray.models.model_janitor import found_janitor
from lvqa_ray.engine.ray.session.loopback import keep_replica_on_loopback
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.storage.options import StorageOptions

DEPLOYMENT = "server"
HEALTH_PERIOD_S, HEALTH_TIMEOUT_S = 1.0, 30.0
"""Ray Serve replaces a replica after three failed checks."""
GRACEFUL_S = 8.0
ROOM = 2
"""Requests that a replica accepts per slot. Ray Serve picks the shorter queue of two replicas, and if both are full it
waits before it looks again: without room for more, others would have empty slots meanwhile."""


class ServerIngress:
    """Methods of a replica besides its requests."""

    _asgi_app: Any

    async def check_health(self) -> None:
        """Called by Ray Serve; raises if the server has died or hangs."""
        await self._asgi_app.check()


def server_app(
    served: ServedEndpoint, app: str, replicas: int, folder: str, access: StorageOptions
) -> serve.Application:
    """The application.

    Args:
        served: The model.
        app: Its name.
        replicas: Number of servers.
        folder: Folder for downloaded models on each node; empty for one in the node's temporary folder.
        access: Access to object stores, for models in a bucket.
    """

    def made() -> object:
        keep_replica_on_loopback()
        return _proxy(served, app, folder, access)

    ingress: Any = serve.ingress(made)  # it takes only a plain function for a builder, not any callable
    deployment: Any = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=replicas,
        max_ongoing_requests=ROOM * served.slots_per_replica,
        ray_actor_options={"num_cpus": served.cpus, "num_gpus": served.gpus},
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=GRACEFUL_S,
        graceful_shutdown_wait_loop_s=0.2,
        logging_config={"enable_access_log": False},
    )(ingress(ServerIngress))
    bound: serve.Application = deployment.bind()
    return bound


def _proxy(served: ServedEndpoint, app: str, folder: str, access: StorageOptions) -> object:
    """The ASGI application of this replica."""
    from lvqa_ray.engine.ray.models.engine_proxy import EngineProxy  # noqa: PLC0415 - only replicas need it

    name = uuid.uuid4().hex

    def tell(method: str, *words: str) -> None:
        with suppress(ray.exceptions.RayError, ValueError):  # the janitor may be gone, and the replica soon too
            if (janitor := found_janitor(app)) is not None:
                getattr(janitor, method).remote(*words)

    def path(report: Callable[[str], object]) -> str:
        from lvqa_ray.storage.model_files import local_model  # noqa: PLC0415 - as above

        report("looking for the model")
        return local_model(served, folder or tempfile.gettempdir(), access)

    return EngineProxy(served, path, partial(tell, "report", name), partial(tell, "fail"), _log_folder())


def _log_folder() -> str:
    """Folder of Ray's logs on this node; empty if it is unknown."""
    node: Any = getattr(ray_worker, "_global_node", None)
    return "" if node is None else str(node.get_logs_dir_path())

"""An HTTP application on Ray Serve, as one replica on the node of its proxy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ray import serve

from lvqa_ray.config import Job
from lvqa_ray.engine.ray.session.cluster import ray_session_for
from lvqa_ray.engine.ray.session.loopback import keep_replica_on_loopback
from lvqa_ray.engine.ray.session.proxy_guard import guarded_proxies
from lvqa_ray.engine.shutdown import GracefulShutdown
from lvqa_ray.errors import ConfigError

SERVE_NAME = "lvqa"
MOST_REQUESTS = 1000
"""Maximum concurrent requests. The application limits the analyses; requests that only read must not wait for them."""
SIGNAL_POLL_S = 1.0
DRAIN_S = 20.0
"""Maximum time (s) for the last events of all streams when the service ends."""


def run_ingress(job: Job, build: Callable[[], object], on_up: Callable[[], None]) -> None:
    """Serve an application until a signal arrives; its streams get a last event.

    Args:
        job: Gives the address and the settings of Ray.
        build: Makes the ASGI application, in the process that serves it. It has the methods ``ready``, which waits for
            its start and returns why it failed, and ``drain``, which ends its streams.
        on_up: Called when the application is up.

    Raises:
        KeyboardInterrupt: A signal arrived.
        ConfigError: Ray or the application does not start.
    """
    with guarded_proxies(job.serve.token_env), ray_session_for(job, with_keys=True):  # the replica sends the requests
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        handle: Any = None
        try:
            with GracefulShutdown().listening():  # Ray has a handler of its own by now
                handle = deploy(job, build)
                if why := handle.ready.remote().result():
                    raise ConfigError(why)
                on_up()
                while True:
                    time.sleep(SIGNAL_POLL_S)
        finally:
            if handle is not None:
                with suppress(Exception):  # the replica may be gone
                    handle.drain.remote().result(timeout_s=DRAIN_S)
            shutdown: Any = serve.shutdown  # untyped
            shutdown()


class Ingress:
    """Methods of the replica besides its requests."""

    _asgi_app: Any

    async def ready(self) -> str:
        """Wait until the application has started; returns why it could not, or an empty text."""
        why: str = await self._asgi_app.ready()
        return why

    async def drain(self) -> None:
        """End the streams of the application."""
        await self._asgi_app.drain()


def deploy(job: Job, build: Callable[[], object]) -> object:
    """Start the application on the Ray that is running, and return its handle; arguments as above."""
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": job.serve.host, "port": job.serve.port},
        logging_config={"enable_access_log": False},
    )

    def made() -> object:
        keep_replica_on_loopback()
        return build()

    ingress: Any = serve.ingress(made)  # it takes only a plain function for a builder, not any callable
    deployment: Any = serve.deployment(
        name=SERVE_NAME,
        num_replicas=1,  # clients that stream an analysis must reach the process that runs it
        max_ongoing_requests=MOST_REQUESTS,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=30,
        logging_config={"enable_access_log": False},
    )(ingress(Ingress))
    handle: object = serve.run(deployment.bind(), name=SERVE_NAME, route_prefix="/")
    return handle

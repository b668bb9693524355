"""An HTTP application on Ray Serve, as one replica on the node of its proxy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ray import serve

from lvqa_ray.config import Job
from lvqa_ray.engine.ray.session.cluster import ray_session_for

NAME = "lvqa"
MOST_REQUESTS = 1000
"""Under way at once: what is at work is bounded by the application, and who only reads should not wait for that."""
LOOK_EVERY_S = 1.0


def run_ingress(job: Job, build: Callable[[], Any], on_up: Callable[[], None]) -> None:
    """Serve an application until a signal comes.

    Args:
        job: Says where to listen, and what Ray is started with.
        build: Makes the ASGI application, in the process that serves it.
        on_up: Called when it is served.

    Raises:
        KeyboardInterrupt: It was stopped.
        ConfigError: Ray does not start.
    """
    with ray_session_for(job, with_keys=True):  # the replica sends the requests
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            deploy(job, build)
            on_up()
            while True:
                time.sleep(LOOK_EVERY_S)
        finally:
            shutdown: Any = serve.shutdown  # it has no types
            shutdown()


def deploy(job: Job, build: Callable[[], Any]) -> None:
    """Start the application on the Ray that is running; arguments as above."""
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": job.serve.host, "port": job.serve.port},
        logging_config={"enable_access_log": False},
    )

    def made() -> Any:  # noqa: ANN401 - an ASGI application
        return build()

    ingress: Any = serve.ingress(made)  # which takes a function for a builder, and nothing else that can be called
    deployment: Any = serve.deployment(
        name=NAME,
        num_replicas=1,  # who watches an analysis has to reach the process that makes it
        max_ongoing_requests=MOST_REQUESTS,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=30,
        logging_config={"enable_access_log": False},
    )(ingress())
    serve.run(deployment.bind(), name=NAME, route_prefix="/")

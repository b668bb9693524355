"""An HTTP application on Ray Serve, as one replica on the node of its proxy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ray import serve

from lvqa_ray.config import Job
from lvqa_ray.engine.ray.session.cluster import ray_session_for

SERVE_NAME = "lvqa"
MOST_REQUESTS = 1000
"""Maximum concurrent requests. The application limits the analyses; requests that only read must not wait for them."""
SIGNAL_POLL_S = 1.0


def run_ingress(job: Job, build: Callable[[], object], on_up: Callable[[], None]) -> None:
    """Serve an application until a signal arrives.

    Args:
        job: Gives the address and the settings of Ray.
        build: Makes the ASGI application, in the process that serves it.
        on_up: Called when the application is up.

    Raises:
        KeyboardInterrupt: A signal arrived.
        ConfigError: Ray does not start.
    """
    with ray_session_for(job, with_keys=True):  # the replica sends the requests
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            deploy(job, build)
            on_up()
            while True:
                time.sleep(SIGNAL_POLL_S)
        finally:
            shutdown: Any = serve.shutdown  # untyped
            shutdown()


def deploy(job: Job, build: Callable[[], object]) -> None:
    """Start the application on the Ray that is running; arguments as above."""
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": job.serve.host, "port": job.serve.port},
        logging_config={"enable_access_log": False},
    )

    def made() -> object:
        return build()

    ingress: Any = serve.ingress(made)  # it takes only a plain function for a builder, not any callable
    deployment: Any = serve.deployment(
        name=SERVE_NAME,
        num_replicas=1,  # clients that stream an analysis must reach the process that runs it
        max_ongoing_requests=MOST_REQUESTS,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=30,
        logging_config={"enable_access_log": False},
    )(ingress())
    serve.run(deployment.bind(), name=SERVE_NAME, route_prefix="/")

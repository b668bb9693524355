"""The service on a port of this machine, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx2
import uvicorn

from lvqa_ray.config import Job
from lvqa_ray.serve.app import make_app


class Service:
    """Runs while it is entered.

    Args:
        job: What is served.
        token: What clients have to send.
        keys: Access keys that they may sign with instead.

    Attributes:
        output: Where it keeps what it made.
    """

    def __init__(self, job: Job, token: str = "", keys: Mapping[str, str] | None = None) -> None:
        self.output = Path(job.output)
        app: Any = make_app(job, token, keys)
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="service", daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        while httpx2.get(f"{self.url}/healthz").json()["status"] == "starting":
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

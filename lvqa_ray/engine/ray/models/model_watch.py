"""Watch over served models during a run: halts the run if a model has had no server for ``max_outage_s``.

Ray Serve keeps requests waiting while it replaces a dead server. If each new one dies as well, they would wait for the
whole timeout, and the endpoint would never look down.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import ray

from lvqa_ray.engine.ray.models.model_janitor import found_janitor
from lvqa_ray.engine.ray.models.model_servers import app_name, live_servers
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint

WATCH_EVERY_S = 2.0
logger = logging.getLogger(__name__)


@contextmanager
def watched_models(served: Collection[ServedEndpoint], halt: Callable[[str], object]) -> Iterator[None]:
    """Watch models while the block runs.

    Args:
        served: The models.
        halt: Halts the run, in another thread; receives one sentence.
    """
    over = threading.Event()

    def watch() -> None:
        down: dict[str, float] = {}
        while not over.wait(WATCH_EVERY_S):
            for at in served:
                try:
                    up = live_servers(app_name(at)) > 0
                except Exception as error:  # the control processes of Ray or Ray Serve are busy or gone
                    logger.info("the state of %s is unknown", at.label, exc_info=error)
                    continue
                since = down.setdefault(at.digest, time.monotonic())
                if up:
                    del down[at.digest]
                elif time.monotonic() - since > at.max_outage_s:
                    halt(_why(at))
                    _fail_requests(at)
                    return

    thread = threading.Thread(target=watch, name="model-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WATCH_EVERY_S)


def _why(at: ServedEndpoint) -> str:
    janitor = found_janitor(app_name(at))
    fault = "" if janitor is None else ray.get(janitor.state.remote())[1]
    return f"{at.label} has had no server for {at.max_outage_s:g} s (max_outage_s)" + (f": {fault}" if fault else ".")


def _fail_requests(at: ServedEndpoint) -> None:
    """Delete the application, on which requests would wait for their whole timeout."""
    if (janitor := found_janitor(app_name(at))) is not None:
        janitor.end.remote()

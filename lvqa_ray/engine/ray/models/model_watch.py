"""Watch over served models during a run: halts the run if a model has had no server for too long.

That is ``max_outage_s``, or ``warmup_s`` if it is longer and no new server has failed: a large model loads for minutes.

Ray Serve keeps requests waiting while it replaces a dead server. If each new one dies as well, they would wait for the
whole timeout, and the endpoint would never look down.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import ray

from lvqa_ray.engine.ray.models.model_janitor import found_janitor
from lvqa_ray.engine.ray.models.model_servers import app_name
from lvqa_ray.engine.ray.models.model_states import live_servers
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint

WATCH_EVERY_S = 2.0
ANSWER_WITHIN_S = 30.0
FAILS_AGAIN = 2
"""Faults in an outage that tell failing restarts from the death of a last server that is reported late."""
logger = logging.getLogger(__name__)


class _Outage(NamedTuple):
    since: float
    faults: int


@contextmanager
def watched_models(served: Collection[ServedEndpoint], halt: Callable[[str], object]) -> Iterator[None]:
    """Watch models while the block runs.

    Args:
        served: The models.
        halt: Halts the run, in another thread; receives one sentence.
    """
    over = threading.Event()

    def watch() -> None:
        down: dict[str, _Outage] = {}
        while not over.wait(WATCH_EVERY_S):
            for at in served:
                try:
                    up = live_servers(app_name(at)) > 0
                    faults = 0 if up else _state(at)[1]
                except Exception as error:  # the control processes of Ray or Ray Serve are busy or gone
                    logger.info("the state of %s is unknown", at.label, exc_info=error)
                    continue
                if up:
                    down.pop(at.digest, None)
                    continue
                outage = down.setdefault(at.digest, _Outage(time.monotonic(), faults))
                longest_s, key = _patience(at, new_faults=faults - outage.faults)
                if time.monotonic() - outage.since > longest_s:
                    halt(_why(at, longest_s, key))
                    _fail_requests(at)
                    return

    thread = threading.Thread(target=watch, name="model-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WATCH_EVERY_S)


def _patience(at: ServedEndpoint, *, new_faults: int) -> tuple[float, str]:
    """How long a model may have no server (s), and the key that says so."""
    if at.warmup_s > at.max_outage_s and new_faults < FAILS_AGAIN:
        return at.warmup_s, "warmup_s"
    return at.max_outage_s, "max_outage_s"


def _state(at: ServedEndpoint) -> tuple[str, int]:
    """The latest fault of a model's servers, and the number of faults."""
    janitor = found_janitor(app_name(at))
    if janitor is None:
        return "", 0
    _, fault, faults = ray.get(janitor.state.remote(), timeout=ANSWER_WITHIN_S)
    return fault, faults


def _why(at: ServedEndpoint, longest_s: float, key: str) -> str:
    fault = ""
    with suppress(ray.exceptions.RayError):
        fault, _ = _state(at)
    return f"{at.label} has had no server for {longest_s:g} s ({key})" + (f": {fault}" if fault else ".")


def _fail_requests(at: ServedEndpoint) -> None:
    """Delete the application, on which requests would wait for their whole timeout, unless others use it."""
    with suppress(ray.exceptions.RayError):
        if (janitor := found_janitor(app_name(at))) is not None:
            ray.get(janitor.end_if_sole.remote(), timeout=ANSWER_WITHIN_S)

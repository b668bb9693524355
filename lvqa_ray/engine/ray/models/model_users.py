"""Use of a served model by this run: its janitor holds it, and another one if that dies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import ray

from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.models.model_janitor import found_janitor, janitor_of
from lvqa_ray.engine.ray.models.model_states import overview
from lvqa_ray.engine.ray.models.serve_address import is_serve_running
from lvqa_ray.errors import ConfigError

HOLD_POLL_S = 0.5
HOLD_WITHIN_S = 150.0
"""Longer than a janitor takes to delete a model and to shut Ray Serve down."""
END_WITHIN_S = 60.0
RELEASE_TRIES = 20
LOOK_EVERY_S = 2.0
STOP_WITHIN_S = 2.0
logger = logging.getLogger(__name__)


def held_janitor(app: str, lifeline: Handle) -> Handle:
    """The janitor of an application, which keeps it until the lifeline ends; waits for one that is ending.

    Raises:
        ConfigError: An earlier one does not end.
    """
    until = time.monotonic() + HOLD_WITHIN_S
    while time.monotonic() < until:
        with suppress(ray.exceptions.RayError):
            janitor = janitor_of(app)
            if ray.get(janitor.hold.remote(repr(lifeline), lifeline)):
                return janitor
        time.sleep(HOLD_POLL_S)
    raise ConfigError(f"{app} of an earlier run does not end: try again, or restart Ray.")


@contextmanager
def kept(apps: Collection[str], lifeline: Handle) -> Iterator[None]:
    """Hold models while the block runs also if their janitor dies: without one, they would outlive all runs.

    Args:
        apps: Names of the applications.
        lifeline: The lifeline of this run; ``None`` if there are no models.
    """
    over = threading.Event()

    def keep() -> None:
        while not over.wait(LOOK_EVERY_S):
            for app in apps:
                try:
                    if (janitor := janitor_at_end(app)) is not None:  # another run may have started it anew
                        ray.get(janitor.hold.remote(repr(lifeline), lifeline), timeout=END_WITHIN_S)
                except Exception as error:  # Ray is busy or gone
                    logger.info("the janitor of %s is unknown", app, exc_info=error)

    thread = threading.Thread(target=keep, name="model-keep", daemon=True)
    if apps:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if apps:
            thread.join(STOP_WITHIN_S)


def janitor_at_end(app: str) -> Handle:
    """The janitor that is to end an application, a new one if that has died; ``None`` if there is no application."""
    janitor = found_janitor(app)
    if janitor is None and is_serve_running() and overview(app) is not None:
        return janitor_of(app)
    return janitor


def is_kept_without(app: str, user: str) -> bool:
    """Let this run go as a user of an application; returns whether it stays, or is gone already."""
    for _ in range(RELEASE_TRIES):
        is_new = found_janitor(app) is None
        janitor = janitor_at_end(app)
        if janitor is None:
            return True
        if is_new:
            time.sleep(2 * LOOK_EVERY_S)  # other runs find it and hold it
        with suppress(ray.exceptions.RayActorError):  # it has died, of which Ray hears late
            stays: bool = ray.get(janitor.release.remote(user), timeout=END_WITHIN_S)
            return stays
        time.sleep(HOLD_POLL_S)
    return True


def wait_until_ended(app: str) -> None:
    """Wait until an application and its janitor are gone."""
    until = time.monotonic() + END_WITHIN_S
    while found_janitor(app) is not None and time.monotonic() < until:
        time.sleep(0.1)

"""Lifeline of a served model: its Ray Serve application ends with the runs that use it, also after a SIGKILL.

Each run owns a `Lifeline`, an actor that Ray ends with the run's driver. The `ModelJanitor` is detached, so it outlives
the driver: it waits for the lifelines of all runs that use the model to end, and deletes the application then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

import ray
from ray import serve

from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.models.serve_address import CONTROLLER, SERVE_NAMESPACE, is_serve_running

NAMESPACE = "lvqa-models"
SERVE_ENDS_WITHIN_S = 30.0
logger = logging.getLogger(__name__)


class Lifeline:
    """Lives as long as the driver of a run."""

    async def wait(self) -> None:
        """Never return: the call fails when the actor is gone."""
        await asyncio.Event().wait()


class ModelJanitor:
    """Ends one served model with its last user, and collects what its servers report.

    Args:
        app: Name of the application, also that of this actor.
        started_serve: Whether Ray Serve itself was started for the model.
    """

    def __init__(self, app: str, *, started_serve: bool) -> None:
        self._app, self._started_serve = app, started_serve
        self._users: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, str] = {}
        self._fault = ""
        self._faults = 0
        self._is_ending = False
        self._stays = False
        self._tidying: asyncio.Task[None] | None = None

    async def hold(self, user: str, lifeline: Handle) -> bool:
        """Keep the model until a lifeline ends, or `release`; returns whether it is still there."""
        if self._is_ending:
            return False
        self._users[user] = asyncio.get_running_loop().create_task(self._until_gone(user, lifeline))
        return True

    async def release(self, user: str) -> bool:
        """Let a user go; returns whether the model stays for others. If not, it is being deleted."""
        self._users.pop(user, None)
        if self._users or self._stays:
            return True
        self._tidying = asyncio.get_running_loop().create_task(self.end())
        return False

    async def stay(self) -> None:
        """Keep the model after its last user, until `end`."""
        self._stays = True

    async def report(self, replica: str, progress: str) -> None:
        """Note what a server is doing while it loads."""
        self._progress[replica] = progress

    async def fail(self, fault: str) -> None:
        """Note why a server did not start, or died."""
        self._fault = fault
        self._faults += 1

    async def state(self) -> tuple[str, str, int]:
        """What the servers are doing, the latest fault or an empty text, and the number of faults."""
        doing = [text for text in self._progress.values() if text and text != "ready"]
        return max(doing, default=""), self._fault, self._faults

    async def _until_gone(self, user: str, lifeline: Handle) -> None:
        with suppress(ray.exceptions.RayError):
            await lifeline.wait.remote()
        if user in self._users:
            await self.release(user)

    async def end(self) -> None:
        """Delete the application, Ray Serve if nothing else uses it, and this actor."""
        if self._is_ending:
            return
        self._is_ending = True
        await asyncio.to_thread(self._delete)

    def _delete(self) -> None:
        try:
            serve.delete(self._app)
        except Exception:
            logger.exception("the model %s could not be deleted", self._app)
        if self._started_serve:
            with suppress(Exception):  # another janitor may be doing the same
                if not serve.status().applications:
                    _shut_down_serve()
        ray.kill(ray.get_actor(self._app, namespace=NAMESPACE))


def _shut_down_serve() -> None:
    """Shut Ray Serve down: ``serve.shutdown`` leaves a call that fails, about which every driver prints a warning."""
    controller: Any = ray.get_actor(CONTROLLER, namespace=SERVE_NAMESPACE)
    ray.get(controller.graceful_shutdown.remote(wait=False))
    until = time.monotonic() + SERVE_ENDS_WITHIN_S
    while is_serve_running() and time.monotonic() < until:
        time.sleep(0.2)


def janitor_of(app: str, *, started_serve: bool) -> Handle:
    """The janitor of an application; starts it if there is none."""
    actor: Any = ray.remote(num_cpus=0)(ModelJanitor)
    return actor.options(name=app, namespace=NAMESPACE, lifetime="detached", get_if_exists=True, max_restarts=0).remote(
        app, started_serve=started_serve
    )


def found_janitor(app: str) -> Handle:
    """The janitor of an application; ``None`` if there is none."""
    try:
        return ray.get_actor(app, namespace=NAMESPACE)
    except ValueError:
        return None


def new_lifeline() -> Handle:
    """A lifeline of this driver."""
    actor: Any = ray.remote(num_cpus=0)(Lifeline)
    return actor.remote()

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
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.models import serve_marks
from lvqa_ray.engine.ray.models.serve_address import CONTROLLER, HEAD_RESOURCE, SERVE_NAMESPACE, is_serve_running

SERVE_ENDS_WITHIN_S = 30.0
ASK_AGAIN_S = 1.0
DELETE_TRIES = 3
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
    """

    def __init__(self, app: str) -> None:
        self._app = app
        self._users: dict[str, asyncio.Task[None]] = {}
        self._starter = ""
        self._progress: dict[str, str] = {}
        self._fault = ""
        self._faults = 0
        self._is_ending = False
        self._tidying: asyncio.Task[None] | None = None

    async def hold(self, user: str, lifeline: Handle) -> bool:
        """Keep the model until a lifeline ends, or `release`; returns whether it is still there."""
        if self._is_ending:
            return False
        serve_marks.put(serve_marks.IN_USE + self._app)
        if user not in self._users:
            self._users[user] = asyncio.get_running_loop().create_task(self._until_gone(user, lifeline))
        return True

    async def claim(self, user: str) -> bool:
        """Whether a user is to start the servers: the first that asks, or one after it if that has gone."""
        if self._is_ending or self._starter in self._users:
            return False
        self._starter, self._fault, self._faults = user, "", 0
        self._progress.clear()
        serve_marks.remove(serve_marks.STAYS + self._app)
        return True

    async def release(self, user: str) -> bool:
        """Let a user go; returns whether the model stays for others. If not, it is being deleted."""
        self._users.pop(user, None)
        return bool(self._users) or not self._ends()

    async def end_if_sole(self) -> bool:
        """Delete the model if at most one run uses it and it does not stay; returns whether."""
        return len(self._users) <= 1 and self._ends()

    def _ends(self) -> bool:
        if serve_marks.is_set(serve_marks.STAYS + self._app):
            return False
        self._tidying = asyncio.get_running_loop().create_task(self.end())
        return True

    async def stay(self) -> None:
        """Keep the model after its last user, until `end`."""
        serve_marks.put(serve_marks.STAYS + self._app)

    async def report(self, replica: str, progress: str) -> None:
        """Note what a server is doing while it loads."""
        self._progress[replica] = progress

    async def fail(self, fault: str) -> None:
        """Note why a server did not start, or died."""
        self._fault = fault
        self._faults += 1

    async def state(self) -> tuple[str, str, int]:
        """What the servers are doing, the latest fault or an empty text, and the number of faults since `claim`."""
        doing = [text for text in self._progress.values() if text and text != "ready"]
        return max(doing, default=""), self._fault, self._faults

    async def _until_gone(self, user: str, lifeline: Handle) -> None:
        while True:
            try:
                await lifeline.wait.remote()
            except ray.exceptions.ActorUnavailableError:  # a lost connection: the run may go on
                await asyncio.sleep(ASK_AGAIN_S)
            except ray.exceptions.RayActorError:
                break
            except ray.exceptions.RayError:
                await asyncio.sleep(ASK_AGAIN_S)
        if user in self._users:
            await self.release(user)

    async def end(self) -> None:
        """Delete the application, Ray Serve if nothing else uses it, and this actor."""
        if self._is_ending:
            return
        self._is_ending = True
        if not await asyncio.to_thread(self._delete):
            self._is_ending = False  # this actor stays, so that another `end` tries again

    def _delete(self) -> bool:
        if not any(self._deleted() for _ in range(DELETE_TRIES)):
            return False
        serve_marks.remove(serve_marks.STAYS + self._app)
        serve_marks.lock_serve()
        try:
            serve_marks.remove(serve_marks.IN_USE + self._app)
            if (
                serve_marks.is_set(serve_marks.SERVE_IS_OURS)
                and not serve_marks.any_in_use()
                and not _has_applications()
            ):
                _shut_down_serve()
                serve_marks.remove(serve_marks.SERVE_IS_OURS)
        except Exception:
            logger.exception("Ray Serve could not be shut down")
        finally:
            serve_marks.remove(serve_marks.ENDING)
        ray.kill(ray.get_actor(self._app, namespace=serve_marks.NAMESPACE))
        return True

    def _deleted(self) -> bool:
        try:
            if is_serve_running():
                serve.delete(self._app)
        except Exception:
            logger.exception("the model %s could not be deleted", self._app)
            time.sleep(ASK_AGAIN_S)
            return False
        return True


def _has_applications() -> bool:
    return is_serve_running() and bool(serve.status().applications)


def _shut_down_serve() -> None:
    """Shut Ray Serve down: ``serve.shutdown`` leaves a call that fails, about which every driver prints a warning."""
    with suppress(ValueError):  # it does not run
        controller: Any = ray.get_actor(CONTROLLER, namespace=SERVE_NAMESPACE)
        ray.get(controller.graceful_shutdown.remote(wait=False))
    until = time.monotonic() + SERVE_ENDS_WITHIN_S
    while is_serve_running() and time.monotonic() < until:
        time.sleep(0.2)


def janitor_of(app: str) -> Handle:
    """The janitor of an application; starts it on the head node if there is none: other nodes may be taken away."""
    nodes: Any = ray.nodes  # untyped
    heads = [node["NodeID"] for node in nodes() if node["Alive"] and HEAD_RESOURCE in node["Resources"]]
    where = NodeAffinitySchedulingStrategy(heads[0], soft=False) if heads else "DEFAULT"
    actor: Any = ray.remote(num_cpus=0)(ModelJanitor)
    return actor.options(
        name=app,
        namespace=serve_marks.NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=0,
        scheduling_strategy=where,
    ).remote(app)


def found_janitor(app: str) -> Handle:
    """The janitor of an application; ``None`` if there is none."""
    try:
        return ray.get_actor(app, namespace=serve_marks.NAMESPACE)
    except ValueError:
        return None


def new_lifeline() -> Handle:
    """A lifeline of this driver, on its node: the loss of any other must not look like its end."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(num_cpus=0)(Lifeline)
    return actor.options(scheduling_strategy=here).remote()

"""Executors of a run: the interface that `lvqa_ray.engine.run` needs, and the choice between Ray and this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.model_use import ModelUse
from lvqa_ray.engine.waiting import Machine
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from lvqa_ray.records import Video
from lvqa_ray.stage import Role
from lvqa_ray.storage.remote import is_remote

SMALL_VIDEOS = 100
"""Maximum number of videos that ``auto`` processes without Ray."""
SMALL_BYTES = 512 * 2**20
"""Maximum total size of their files (bytes): as 720p about 25 minutes, which take 45 CPU s to decode; Ray takes 7."""
ALONE_BYTES = 64 * 2**20
"""The same for fewer videos than cores with scene detection: Ray spreads the parts of a video over all cores."""
REMOTE_BYTES = 32 * 2**20
"""Assumed size of a remote file: asking for it would be a request per file."""
SMALL_IN_FLIGHT = 256
"""Maximum requests in flight of all endpoints: one process sends them."""

KeysOfRoles = Mapping[Role, Sequence[SecretStr]]
Kind = Literal["ray", "local"]


class ExecutorLost(BaseException):
    """The processes that execute the run are gone, so it ends; the journal is kept.

    Not an `Exception`, like `KeyboardInterrupt`: it is raised inside code that logs exceptions at length.
    """


class Executor(Protocol):
    """Executes the passes of one run; a context manager opens and closes it, see `opened`.

    Opening it must be quick, since the endpoints are checked afterwards.
    """

    def connect(self, keys: KeysOfRoles, on_wait: Callable[[str], object]) -> None:
        """Start the processes of the run, the models that it serves, and what limits and counts requests.

        Args:
            keys: The key of every endpoint of every role.
            on_wait: Called with what is waited for, such as how far a model is loaded.

        Raises:
            ConfigError: Ray or a model does not start, or a machine of the cluster does not see the output or a video.
        """
        ...

    def models(self) -> Sequence[ModelUse]:
        """The time of the models that the run serves, so far. May be called from any thread."""
        ...

    def run_pass(self, videos: Sequence[Video], shard: str, *, in_parts: bool) -> str:
        """Run the whole pipeline on videos and write the tables; returns when all are done or the run has halted.

        Args:
            videos: The videos.
            shard: Prefix of the names of the shards.
            in_parts: Divide long videos where that is worth it.

        Returns:
            Why the pass was aborted, or rows could not be written; else empty.
        """
        ...

    def wait_for_batches(self, stopped: Callable[[], str], on_wait: Callable[[str], object]) -> bool:
        """Send what the last pass collected for file batches, and wait until no batch is open.

        Args:
            stopped: Says why to stop waiting; empty to wait on.
            on_wait: Called with what is waited for.

        Returns:
            Whether requests of the pass had to wait, so that another pass is needed.
        """
        ...

    def halt(self, reason: str) -> None:
        """Stop sending requests; those in flight still complete. May be called from any thread."""
        ...

    def why_halted(self) -> str:
        """Why no more requests can be sent: all endpoints of one role have halted; else empty."""
        ...

    def over_budget(self) -> bool:
        """Whether ``engine.max_cost`` or ``engine.max_requests`` stopped the requests."""
        ...

    def stats(self) -> Mapping[str, EndpointStats]:
        """The request counters of each endpoint by its label. May be called from any thread."""
        ...

    def machine(self) -> Machine:
        """The state of the cores and processes. May be called from any thread.

        Raises:
            RuntimeError: The processes do not respond.
        """
        ...


Opening = Callable[[Job, Videos, str, dict[str, str]], AbstractContextManager[Executor]]
"""Opens an executor for a job, the videos to process, the id of the run, and its provenance columns."""


def opened(kind: Kind) -> Opening:
    """The function that opens an executor; only the module of the chosen one is imported."""
    if kind == "ray":
        from lvqa_ray.engine.ray.ray_run import ray_run  # noqa: PLC0415 - Ray takes seconds to import

        return ray_run
    from lvqa_ray.engine.local.local_run import local_run  # noqa: PLC0415 - imports the clients of the endpoints

    return local_run


def chosen(job: Job, videos: Videos) -> Kind:
    """The executor of a job: the one that it names, or by the estimated work.

    ``auto`` takes this process if no Ray is connected or configured (RAY_ADDRESS), the job sets nothing that only Ray
    has, and the work is small: few videos, small files, few requests in flight.

    Args:
        job: The job.
        videos: The videos to process.
    """
    if job.engine.executor != "auto":
        return job.engine.executor
    return "local" if not _has_ray() and not _needs_ray(job) and _is_small(job, videos) else "ray"


def _has_ray() -> bool:
    """Whether a Ray is configured, or this process is connected to one."""
    ray: Any = sys.modules.get("ray")
    return bool(os.environ.get("RAY_ADDRESS")) or (ray is not None and ray.is_initialized())


def _needs_ray(job: Job) -> bool:
    engine = job.engine
    if job.endpoints.served:
        return True
    return engine.chat_workers is not None or engine.video_memory_gb is not None or (engine.parts or 1) > 1


def _is_small(job: Job, videos: Videos) -> bool:
    own = {job.endpoints.section(role): role for role in job.endpoints.roles}.values()
    in_flight = sum(at.max_concurrency for role in own for at in job.endpoints.endpoints_of(role))
    if len(videos) > SMALL_VIDEOS or in_flight > SMALL_IN_FLIGHT:
        return False
    divides = job.split.mode == "scenes" and job.engine.parts is None and len(videos) < cores_of(job)
    return sum(_bytes_of(video.uri) for video in videos) <= (ALONE_BYTES if divides else SMALL_BYTES)


def cores_of(job: Job) -> int:
    """Cores that a run uses on this machine."""
    return job.engine.num_cpus or os.cpu_count() or 1


def _bytes_of(uri: str) -> int:
    if is_remote(uri):
        return REMOTE_BYTES
    try:
        return Path(uri).stat().st_size
    except (OSError, ValueError):  # the run gives it a failure
        return 0

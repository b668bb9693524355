"""Batch sizes that spread the videos of a pass over the cores of the cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import ray

from lvqa_ray.config import Job
from lvqa_ray.engine.decoding.clip_runs import in_runs
from lvqa_ray.engine.row_codec import Bundling, Packed, batch_by_time
from lvqa_ray.pipeline import Spread

MOST_TOGETHER = 32
"""Maximum number of clips in a batch."""
PARTS_OF_A_CORE = 4
"""Parts per core: a slow or late core then delays the end only a little."""
SHORTEST_PART_S = 60.0
"""Minimum length of a part (s): below it, decoding the overlaps at its borders costs more than another core saves."""
TO_COME = 64.0
"""Assumed number of cores of a cluster whose nodes have not started yet."""


def cores() -> float:
    """Current number of CPU cores of the cluster; 0 if its nodes have not started yet."""
    resources: Any = ray.cluster_resources  # untyped
    return float(resources().get("CPU", 0.0))


def clip_bundles(job: Job, videos: int) -> Callable[[Iterable[Packed]], Iterator[Packed]]:
    """Function that joins the clips of a video into bundles, each of which one task decodes.

    If there are fewer videos than tasks run at once, bundles are small enough for all cores to have work. Fixed clips
    of a video are all known before the first one is decoded. In scene mode the first bundles hold one clip, and later
    ones more.
    """
    share = _tasks_per_video(job, videos)
    if job.split.mode == "fixed":
        return partial(in_runs, workers=share, most=MOST_TOGETHER)
    first = int(max(1, min(MOST_TOGETHER, 1 / share)))
    return partial(batch_by_time, most=Bundling(MOST_TOGETHER, first, PARTS_OF_A_CORE * max(1.0, share)))


def spread(job: Job, videos: int) -> Spread | None:
    """Number of parts for parallel scene detection; ``None`` if there are enough videos for all cores."""
    if job.split.mode != "scenes" or job.engine.parts == 1:
        return None
    if job.engine.parts:
        return Spread(job.engine.parts, 0.0)
    share = _tasks_per_video(job, videos)
    return Spread(math.ceil(PARTS_OF_A_CORE * share), SHORTEST_PART_S) if share > 1 else None


def _tasks_per_video(job: Job, videos: int) -> float:
    """Number of decoding tasks that the cluster runs at once, for each video of a pass."""
    return (cores() or TO_COME) / job.engine.video_cpus / videos

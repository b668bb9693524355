"""Batch sizes that spread the videos of a pass over the cores of the cluster."""

from __future__ import annotations

import math
from typing import Any

import ray

from lvqa_ray.config import Job
from lvqa_ray.engine.row_codec import Bundling
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


def clips_per_task(videos: int) -> Bundling:
    """Batch size of the clips that one task decodes.

    If there are fewer videos than cores, the first batches hold one clip, and later ones more, as long as all cores
    have work.
    """
    share = (cores() or TO_COME) / videos
    return Bundling(MOST_TOGETHER, int(max(1, min(MOST_TOGETHER, 1 / share))), PARTS_OF_A_CORE * max(1.0, share))


def spread(job: Job, videos: int) -> Spread | None:
    """Number of parts for parallel scene detection; ``None`` if there are enough videos for all cores."""
    if job.split.mode != "scenes" or job.engine.parts == 1:
        return None
    if job.engine.parts:
        return Spread(job.engine.parts, 0.0)
    share = (cores() or TO_COME) / job.engine.video_cpus / videos
    return Spread(math.ceil(PARTS_OF_A_CORE * share), SHORTEST_PART_S) if share > 1 else None

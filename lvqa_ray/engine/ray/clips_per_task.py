"""How the videos of a pass are spread over the cores of the cluster."""

from __future__ import annotations

import math
from typing import Any

import ray

from lvqa_ray.config import Job
from lvqa_ray.engine.row_codec import Bundling
from lvqa_ray.pipeline import Spread

MOST_TOGETHER = 16
"""Clips that travel together at most."""
PARTS_OF_A_CORE = 4
"""So that cores which are slower, or come late, hold up little."""
SHORTEST_PART_S = 60.0
"""Below this, what is looked at twice at the borders is worth more than a core's help."""
TO_COME = 64.0
"""Cores that a cluster is taken to have whose nodes are still to come."""


def cores() -> float:
    """CPU cores that the cluster has at this moment; 0 where its nodes are still to come."""
    resources: Any = ray.cluster_resources  # it has no types
    return float(resources().get("CPU", 0.0))


def clips_per_task(videos: int) -> Bundling:
    """How many clips of a video may be looked at by one task: first one, where there are too few videos for all cores.

    Later more, as long as all cores have something to do.
    """
    share = (cores() or TO_COME) / videos
    return Bundling(MOST_TOGETHER, int(max(1, min(MOST_TOGETHER, 1 / share))), PARTS_OF_A_CORE * max(1.0, share))


def spread(job: Job, videos: int) -> Spread | None:
    """In how many parts long videos are looked at for scenes; ``None`` where there are videos enough for all cores."""
    if job.split.mode != "scenes" or job.engine.parts == 1:
        return None
    if job.engine.parts:
        return Spread(job.engine.parts, 0.0)
    share = (cores() or TO_COME) / job.engine.video_cpus / videos
    return Spread(math.ceil(PARTS_OF_A_CORE * share), SHORTEST_PART_S) if share > 1 else None

"""Storage that a job names: its output, how object stores are reached, and the download cache of a node."""

from __future__ import annotations

from pathlib import Path

from lvqa_ray.config.job import Job
from lvqa_ray.config.sections import Storage
from lvqa_ray.storage.download_cache import Scratch
from lvqa_ray.storage.options import Access, is_store
from lvqa_ray.storage.paths import Place, place_of


def access_of(storage: Storage) -> Access:
    """How object stores are reached: what the section ``storage`` says, and the environment of this process.

    Raises:
        ConfigError: The profile is not known here.
    """
    return Access.of(**storage.model_dump())


def output_of(job: Job) -> Place:
    """The output folder of a job.

    Raises:
        ConfigError: How its store is to be reached cannot be found out.
    """
    return place_of(job.output, access_of(job.storage)) if is_store(job.output) else Path(job.output)


def scratch_of(job: Job) -> Scratch:
    """The cache of downloaded videos on this node, bounded by ``engine.scratch_gb``."""
    most_bytes = round(job.engine.scratch_gb * 2**30)
    return Scratch(folder=job.engine.scratch_dir, most_bytes=most_bytes, access=access_of(job.storage))

"""Storage of a job: its output folder, the options of object stores, and the download cache of a node."""

from __future__ import annotations

from pathlib import Path

from lvqa_ray.config.job import Job
from lvqa_ray.config.sections import Storage
from lvqa_ray.storage.download_cache import DownloadCache
from lvqa_ray.storage.options import StorageOptions, is_store
from lvqa_ray.storage.paths import StoragePath, storage_path


def storage_options(storage: Storage) -> StorageOptions:
    """The options of object stores, from the section ``storage`` and the environment of this process.

    Raises:
        ConfigError: The profile does not exist on this machine.
    """
    return StorageOptions.of(**storage.model_dump())


def output_path(job: Job) -> StoragePath:
    """The output folder of a job.

    Raises:
        ConfigError: The options of its store are invalid.
    """
    return storage_path(job.output, storage_options(job.storage)) if is_store(job.output) else Path(job.output)


def download_cache(job: Job) -> DownloadCache:
    """The cache of downloaded videos on this node, bounded by ``engine.scratch_gb``."""
    most_bytes = round(job.engine.scratch_gb * 2**30)
    return DownloadCache(folder=job.engine.scratch_dir, most_bytes=most_bytes, access=storage_options(job.storage))

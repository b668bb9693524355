"""Which output a command is about: that at a path or in a bucket, or that of a job file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray.config import Job

if TYPE_CHECKING:
    from lvqa_ray.storage.paths import StoragePath

JOB_FILES = {".yaml", ".yml"}
WHAT = "Output folder of a run, also of a bucket; or its job file, which also says how the bucket is reached."
Output = Annotated[str, typer.Argument(help=WHAT)]


def place_given(given: str) -> StoragePath:
    """Where an output is.

    Raises:
        ConfigError: What was given is a job file with a mistake in it.
    """
    from lvqa_ray.config.places import output_path  # noqa: PLC0415 - it takes a second to import
    from lvqa_ray.storage.paths import storage_path  # noqa: PLC0415 - it takes a second to import

    return output_path(Job.load(Path(given))) if is_job(given) else storage_path(given)


def is_job(given: str) -> bool:
    """Whether what was given is a job file, and not a folder or a prefix."""
    return Path(given).suffix.lower() in JOB_FILES and "://" not in given and not Path(given).is_dir()


def named(job: Job, given: str | Path | None = None) -> str:
    """What other commands are to be given for a job's output, so that they reach it.

    Args:
        job: The job as it runs.
        given: The job file that it is from, changed or not.
    """
    if given is not None and job.storage != type(job.storage)():
        written = Job.load(Path(given))
        if (written.output, written.storage) == (job.output, job.storage):
            return shlex.quote(str(given))
    return shlex.quote(job.output)

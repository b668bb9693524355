"""Argument OUTPUT of the commands: a folder, a bucket prefix, or a job file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray import config

if TYPE_CHECKING:
    from lvqa_ray.storage.paths import StoragePath

JOB_FILES = {".yaml", ".yml"}
OUTPUT_HELP = (
    "Output folder of a run, on disk or in a bucket; or its job file, whose section storage tells how to reach "
    "the bucket."
)
Output = Annotated[str, typer.Argument(help=OUTPUT_HELP)]


def resolve_output(given: str) -> StoragePath:
    """Resolve an OUTPUT argument to its storage path.

    Raises:
        ConfigError: The argument is an invalid job file.
    """
    from lvqa_ray.storage.paths import storage_path  # noqa: PLC0415 - it takes a second to import

    return config.output_path(config.Job.load(Path(given))) if is_job(given) else storage_path(given)


def is_job(given: str) -> bool:
    """Whether the argument is a job file, and not a folder or a prefix."""
    return Path(given).suffix.lower() in JOB_FILES and "://" not in given and not Path(given).is_dir()


def named(job: config.Job, given: str | Path | None = None) -> str:
    """The shell-quoted OUTPUT argument with which other commands find a job's output.

    Args:
        job: The job as it runs.
        given: The job file that the job was loaded from.
    """
    if given is not None and job.storage != type(job.storage)():
        written = config.Job.load(Path(given))
        if (written.output, written.storage) == (job.output, job.storage):
            return shlex.quote(str(given))
    return shlex.quote(job.output)

"""What a run writes down about itself, beside its tables: its job, its videos, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from lvqa_ray.config import Job
from lvqa_ray.corpus.manifest_files import local
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.identities import Identities
from lvqa_ray.dataset.stored_manifest import store_manifest, update_manifest
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import scheme_of, without_fragment
from lvqa_ray.storage.paths import StoragePath, write_whole

JOB, RUN = "job.yaml", "run.json"
NOT_STORED = "?not-stored"
"""Stands where a signature was, which is a secret."""


def write_job(folder: StoragePath, job: Job, videos: Videos) -> None:
    """Write down what a run is about: a job file that can be run as it is, and the videos.

    Raises:
        ConfigError: It cannot be written.
    """
    said = job.model_dump(mode="json") | {"videos": [_anywhere(source) for source in job.videos]}
    with _writable(folder):
        _write(folder / JOB, yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=120))
        store_manifest(folder, videos, job.job_hash)


def write_rerun(folder: StoragePath, job: Job, videos: Videos) -> None:
    """Write down that some videos of the last run are done again, which may have changed meanwhile; errors as above."""
    with _writable(folder):
        update_manifest(folder, videos, job.job_hash)


def write_identities(folder: StoragePath, identities: Identities) -> None:
    """Write down which content the files have, where that is new; errors as above."""
    with _writable(folder):
        identities.store()


def write_run(
    folder: StoragePath,
    job: Job,
    summary: Mapping[str, Any] | None,
    *,
    run_id: str = "",
    finished: bool = False,
    hashes: Collection[str] | None = None,
) -> None:
    """Write ``run.json``; what each job hash of this folder stands for is carried along.

    Args:
        folder: The output folder.
        job: The job.
        summary: How the run ended; ``None`` for one that begins.
        run_id: The id of the run.
        finished: Whether it came to its end.
        hashes: The hashes of the jobs whose rows are there; ``None`` keeps all jobs.

    Raises:
        ConfigError: It cannot be written.
    """
    this = job.model_dump(mode="json") | {"videos": [redact_url(video) for video in job.videos]}
    jobs = {known: each for known, each in jobs_of(folder).items() if hashes is None or known in hashes}
    said = {
        "job": this,
        "job_hash": job.job_hash,
        "run_id": run_id,
        "finished": finished,
        "summary": summary,
        "settings": settings_of(folder) | {job.job_hash: job.part_hashes},
        "jobs": jobs | {job.job_hash: this},
    }
    with _writable(path := folder / RUN):
        _write(path, json.dumps(said, indent=2, ensure_ascii=False) + "\n")


def is_finished(folder: StoragePath) -> bool:
    """Whether the last run that had something to do came to its end."""
    return _said(folder).get("finished") is True


def jobs_of(folder: StoragePath) -> dict[str, Any]:
    """The job of each job hash whose rows may be in an output."""
    said = _said(folder)
    jobs, last = said.get("jobs"), {said.get("job_hash"): said.get("job")}
    # An earlier release wrote down the last job only.
    return jobs if isinstance(jobs, dict) else {known: job for known, job in last.items() if known and job}


def run_ids_of(folder: StoragePath) -> list[str]:
    """The ids of the last run that began and of the last that ended, as far as they are written down."""
    said = _said(folder)
    summary = said.get("summary")
    known = (said.get("run_id"), summary.get("run_id") if isinstance(summary, dict) else None)
    return [run_id for run_id in known if isinstance(run_id, str)]


def settings_of(folder: StoragePath) -> dict[str, dict[str, str]]:
    """Of every job hash that an output was made with, the hashes of its sections; empty where that is not known."""
    settings = _said(folder).get("settings")
    return settings if isinstance(settings, dict) else {}


def stored_job(folder: StoragePath, given: Path | None, overrides: Iterable[str]) -> Job:
    """The job of the last run in an output folder.

    Args:
        folder: The output folder, which may have been moved.
        given: The job's own file, if what is stored is not to be used.
        overrides: ``section.key=value`` each; none that changes an answer.

    Raises:
        ConfigError: There is none, or it does not hold all that is needed.
    """
    moved = f"output={json.dumps(str(folder.absolute() if isinstance(folder, Path) else folder))}"
    try:
        text = (folder / JOB).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{folder} holds no {JOB}; give the output folder of a run.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder / JOB} cannot be read: {error}.") from None
    stored = Job.read(text, [moved], where=str(folder / JOB))
    overrides = [moved, *overrides]
    job = Job.load(given, overrides) if given else Job.read(text, overrides, where=str(folder / JOB))
    if job.job_hash != stored.job_hash:
        raise ConfigError(
            "that job has other settings than the last run, of a kind that changes answers: run it as a whole with "
            "`lvqa run`; what it asks alike comes from the journal for nothing."
        )
    if given is None and any(source.endswith(NOT_STORED) for source in job.videos):
        raise ConfigError(
            f"some videos were given by signed addresses, which are secrets and not stored in {folder / JOB}: give "
            "--job with the job's own file."
        )
    return job


def _anywhere(source: str) -> str:
    """A source as it may be stored and is found from any folder."""
    if scheme_of(source) in ("", "file"):
        return str(local(source).absolute())
    return source if redact_url(source) == without_fragment(source) else redact_url(source) + NOT_STORED


def _said(folder: StoragePath) -> dict[str, Any]:
    try:
        said = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


@contextmanager
def _writable(path: StoragePath) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None


def _write(path: StoragePath, text: str) -> None:
    write_whole(path, text.encode(errors="replace"))

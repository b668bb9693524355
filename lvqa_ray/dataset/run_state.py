"""Run state: the files with the job, the manifest and the summary of a run, beside its tables."""

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
from lvqa_ray.llm.pricing import price_source
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import scheme_of, without_fragment
from lvqa_ray.storage.paths import StoragePath, write_whole

JOB_FILE, RUN_FILE = "job.yaml", "run.json"
NOT_STORED = "?not-stored"
"""Replaces the signature of a URL, which is a secret."""


def write_job(folder: StoragePath, job: Job, videos: Videos) -> None:
    """Write the job, as a file that can be run as it is, and the manifest.

    Raises:
        ConfigError: It cannot be written.
    """
    content = job.model_dump(mode="json") | {"videos": [_anywhere(source) for source in job.videos]}
    with _writable(folder):
        _write(folder / JOB_FILE, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
        store_manifest(folder, videos, job.job_hash)


def write_rerun(folder: StoragePath, job: Job, videos: Videos) -> None:
    """Update the manifest with videos of the last run that are processed again; errors as above."""
    with _writable(folder):
        update_manifest(folder, videos, job.job_hash)


def write_identities(folder: StoragePath, identities: Identities) -> None:
    """Write new file identities; errors as above."""
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
    """Write ``run.json``, which keeps the jobs of earlier runs by job hash.

    Args:
        folder: The output folder.
        job: The job.
        summary: Summary of the run; ``None`` at its start.
        run_id: The id of the run.
        finished: Whether the run is complete.
        hashes: Hashes of the jobs that have rows; ``None`` keeps all jobs.

    Raises:
        ConfigError: It cannot be written.
    """
    this = job.model_dump(mode="json") | {"videos": [redact_url(video) for video in job.videos]}
    jobs = {known: each for known, each in jobs_of(folder).items() if hashes is None or known in hashes}
    content = {
        "job": this,
        "job_hash": job.job_hash,
        "run_id": run_id,
        "finished": finished,
        "summary": summary,
        "prices": {role: price_source(job.endpoints.of(role)) for role in job.endpoints.roles if role != "speech"},
        "settings": settings_of(folder) | {job.job_hash: job.part_hashes},
        "jobs": jobs | {job.job_hash: this},
    }
    with _writable(path := folder / RUN_FILE):
        _write(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def is_finished(folder: StoragePath) -> bool:
    """Whether the last run that had work to do is complete."""
    return _read_run(folder).get("finished") is True


def jobs_of(folder: StoragePath) -> dict[str, Any]:
    """By job hash, the jobs that may have rows in an output."""
    run = _read_run(folder)
    jobs, last = run.get("jobs"), {run.get("job_hash"): run.get("job")}
    # Earlier releases stored only the last job.
    return jobs if isinstance(jobs, dict) else {known: job for known, job in last.items() if known and job}


def run_ids_of(folder: StoragePath) -> list[str]:
    """The ids of the last started and the last finished run, as far as they are recorded."""
    run = _read_run(folder)
    summary = run.get("summary")
    known = (run.get("run_id"), summary.get("run_id") if isinstance(summary, dict) else None)
    return [run_id for run_id in known if isinstance(run_id, str)]


def settings_of(folder: StoragePath) -> dict[str, dict[str, str]]:
    """By job hash, the hashes of the sections of the job; empty if unknown."""
    settings = _read_run(folder).get("settings")
    return settings if isinstance(settings, dict) else {}


def stored_job(folder: StoragePath, given: Path | None, overrides: Iterable[str]) -> Job:
    """The job of the last run in an output folder.

    Args:
        folder: The output folder, which may have been moved.
        given: A job file to use instead of the stored job.
        overrides: ``section.key=value`` each; none may change a reply.

    Raises:
        ConfigError: There is no job, or it is incomplete.
    """
    moved = f"output={json.dumps(str(folder.absolute() if isinstance(folder, Path) else folder))}"
    try:
        text = (folder / JOB_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{folder} holds no {JOB_FILE}; give the output folder of a run.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder / JOB_FILE} cannot be read: {error}.") from None
    stored = Job.read(text, [moved], where=str(folder / JOB_FILE))
    overrides = [moved, *overrides]
    job = Job.load(given, overrides) if given else Job.read(text, overrides, where=str(folder / JOB_FILE))
    if job.job_hash != stored.job_hash:
        raise ConfigError(
            "that job has other settings than the last run, of a kind that changes answers: run it as a whole with "
            "`lvqa run`; unchanged requests are served from the cache."
        )
    if given is None and any(source.endswith(NOT_STORED) for source in job.videos):
        raise ConfigError(
            f"some videos were given by signed addresses, which are secrets and not stored in {folder / JOB_FILE}: "
            "give --job with the job's own file."
        )
    return job


def _anywhere(source: str) -> str:
    """A source as stored: an absolute path, or a URL without its signature."""
    if scheme_of(source) in ("", "file"):
        return str(local(source).absolute())
    return source if redact_url(source) == without_fragment(source) else redact_url(source) + NOT_STORED


def _read_run(folder: StoragePath) -> dict[str, Any]:
    try:
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return run if isinstance(run, dict) else {}


@contextmanager
def _writable(path: StoragePath) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None


def _write(path: StoragePath, text: str) -> None:
    write_whole(path, text.encode(errors="replace"))

"""Preflight diagnosis (`lvqa check`): tests endpoints, output, disk and videos of a job, one finding each."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path, storage_options
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.engine.preflight.corpus_probe import probed
from lvqa_ray.engine.preflight.readiness import readiness
from lvqa_ray.engine.preflight.trials import smallest, trials
from lvqa_ray.engine.preflight.validation import (
    check_benchmarks,
    check_models,
    check_output,
    check_prices,
    check_prompts,
    check_whisper,
)
from lvqa_ray.errors import ApiError, BadRequest, ConfigError, TruncatedReply
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatRequest
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.llm.transport.transcriptions import wire
from lvqa_ray.records import Failure, Video
from lvqa_ray.stage import Role
from lvqa_ray.storage.remote import is_remote

SAMPLE = 20
"""Maximum number of videos to probe."""
LEAST_FREE = 2**30
"""Recommended free space on the disk of the output (bytes)."""
TRIAL_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        what: The subject.
        ok: Whether it is usable; ``None`` if it was not tried, or the run works without it.
        says: One sentence.
    """

    what: str
    ok: bool | None
    says: str


def check(job: Job, *, paid: bool) -> Iterator[Finding]:
    """Check everything that a run needs.

    Args:
        job: The job.
        paid: Send each endpoint a small request of each kind that the job sends; a few cents at most.

    Yields:
        Findings as they come.
    """
    yield from _places(job)
    yield from _videos(job)
    for role in job.endpoints.roles:
        if job.endpoints.section(role) != role:
            continue  # checked for the role whose endpoint it uses
        for at in job.endpoints.endpoints_of(role):
            yield from _endpoint(job, role, at, paid=paid)


def _places(job: Job) -> Iterator[Finding]:
    try:
        check_output(output_path(job))
        yield Finding("output", True, f"{job.output} is writable.")
    except ConfigError as error:
        yield Finding("output", False, str(error))
        return
    folder = Path(job.output)
    if folder.is_dir():
        free = shutil.disk_usage(folder).free
        yield Finding("disk of the output", free >= LEAST_FREE, f"{free / 2**30:.1f} GB free.")
    for what, look in (("prices", check_prices), ("models", check_models), ("speech", check_whisper)):
        try:
            look(job)
        except ConfigError as error:
            yield Finding(what, False, str(error))


def _videos(job: Job) -> Iterator[Finding]:
    try:
        videos = read_manifest(job.videos, job.limit, without=output_path(job), access=storage_options(job.storage))
        check_prompts(job, videos)
        check_benchmarks(job, videos)
    except ConfigError as error:
        yield Finding("videos", False, str(error))
        return
    step = max(1, len(videos) // SAMPLE)
    sample = videos[::step][:SAMPLE]
    bad = [row for row in probed(job, sample) if isinstance(row, Failure)]
    some = f"{len(sample) - len(bad)} of {len(sample)} tested videos are readable; {len(videos)} videos in total."
    first = f" {bad[0].video.id}: {bad[0].message}" if bad else ""
    # A run turns single bad files into failures; only if all are bad, it makes no sense.
    yield Finding("videos", len(bad) < len(sample), some + first)
    yield from _scratch(job, videos)


def _scratch(job: Job, videos: Sequence[Video]) -> Iterator[Finding]:
    if not any(is_remote(video.uri) for video in videos):
        return
    folder = Path(job.engine.scratch_dir or tempfile.gettempdir())
    there = next((parent for parent in (folder, *folder.parents) if parent.is_dir()), Path("/"))
    free = shutil.disk_usage(there).free / 2**30
    wanted = job.engine.scratch_gb
    says = f"{free:.0f} GB free on this node for engine.scratch_gb = {wanted:g}; other nodes were not checked."
    yield Finding("download cache", free >= wanted, says)


def _endpoint(job: Job, role: Role, at: Endpoint, *, paid: bool) -> Iterator[Finding]:
    name, sound = f"{role}: {at.label}", role == "speech"
    if at.is_served:
        yield Finding(name, None, "The run starts this model itself, and tests it then.")
        return
    try:
        key = at.api_key()
        found = asyncio.run(readiness(at, key, smallest(job, role) if paid else None, sound=sound))
    except ConfigError as error:
        yield Finding(name, False, str(error))
        return
    yield Finding(name, True if found.sure else None, found.says)
    for trial in trials(job, role):
        if not paid:
            yield Finding(f"{role}: {trial.what}", None, "Not tried, because it needs a paid request: give --yes.")
            continue
        refusal = asyncio.run(_refusal(wire(at, key, sound=sound), trial.request))
        if not refusal:
            yield Finding(f"{role}: {trial.what}", True, "Answered.")
        else:
            without = "" if trial.needed else " The run works without it."
            yield Finding(f"{role}: {trial.what}", False if trial.needed else None, refusal + without)


async def _refusal(to: OpenAITransport, request: ChatRequest) -> str:
    """Why a request got no reply; empty if it got one."""
    try:
        async with asyncio.timeout(TRIAL_TIMEOUT_S):
            await to(request)
    except TruncatedReply:
        return ""  # the limit cut off the thinking of a model, which works
    except BadRequest as error:
        return f"Refused: {error}"
    except ApiError as error:
        return str(error)
    except TimeoutError:
        return f"No reply within {TRIAL_TIMEOUT_S:.0f} s."
    finally:
        await to.aclose()
    return ""

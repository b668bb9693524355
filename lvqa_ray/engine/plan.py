"""What a run would do, without doing it: nothing is paid for and nothing is written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lvqa_ray.config import Job
from lvqa_ray.engine.graph import scratch_of
from lvqa_ray.engine.manifest import read_manifest
from lvqa_ray.engine.preflight import check_endpoints, check_prompts
from lvqa_ray.engine.resume import outcomes, remaining
from lvqa_ray.engine.steps import elsewhere
from lvqa_ray.errors import FetchError
from lvqa_ray.records import Clip, ProbedVideo, Video


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        videos: Videos of the manifest.
        already_done: Those that need nothing.
        unusable: Those to do that are not usable as videos; they become failures.
        seconds: Length of those to do, in seconds.
        clips: Clips to caption.
        calls: Calls to make by stage, if every reply is usable at once and none is in the journal.
        exact: Whether ``clips`` is what it will be; scenes are known only after decoding, so then it is a lower bound.
    """

    videos: int
    already_done: int
    unusable: int
    seconds: float
    clips: int
    calls: dict[str, int]
    exact: bool


def plan(job: Job) -> Plan:
    """Look at every video's header and count.

    Raises:
        ConfigError: What would keep the run from starting.
    """
    videos = read_manifest(job.videos, job.limit, without=Path(job.output))
    check_prompts(job, videos)
    check_endpoints(job)
    todo = remaining(videos, outcomes(Path(job.output)), job.job_hash, retry_failures=job.engine.retry_failures)
    with ThreadPoolExecutor() as pool:
        probed = [row for row in pool.map(lambda video: _probed(job, video), todo) if row is not None]
    exact = job.split.mode == "fixed"
    clips = sum(_kept(job, row) if exact else job.split.fewest_clips(row) for row in probed)
    return Plan(
        videos=len(videos),
        already_done=len(videos) - len(todo),
        unusable=len(todo) - len(probed),
        seconds=sum(row.info.duration_sec for row in probed),
        clips=clips,
        calls={job.caption.name: clips, job.ask.name: len(probed), job.reformat.name: len(probed)},
        exact=exact,
    )


def _probed(job: Job, video: Video) -> ProbedVideo | None:
    try:
        with scratch_of(job.engine).local(video) as path:
            row = next(elsewhere(job.probe, video, path))
    except FetchError:
        return None
    return row if isinstance(row, ProbedVideo) else None


def _kept(job: Job, row: ProbedVideo) -> int:
    """Clips of fixed length that no filter rejects."""
    clips = [clip for clip in job.split(row) if isinstance(clip, Clip)]
    return sum(not kept.dropped for clip in clips for kept in job.filter(clip))

"""Dry run: what a run would do, without paid requests and without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path, storage_options
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.dataset.identities import Identities
from lvqa_ray.dataset.outcomes import outcomes
from lvqa_ray.dataset.resume import changed, describe_reasons, remaining
from lvqa_ray.dataset.run_state import settings_of
from lvqa_ray.dataset.stored_manifest import with_stable_ids
from lvqa_ray.engine.preflight.batch_rounds import BatchRounds, batch_rounds
from lvqa_ray.engine.preflight.corpus_probe import probed
from lvqa_ray.engine.preflight.estimate import NOTHING, JobEstimate, VideoWorkload, estimate, seconds
from lvqa_ray.engine.preflight.model_costs import ModelCost, model_costs
from lvqa_ray.engine.preflight.tier_costs import TierCost, tier_costs
from lvqa_ray.engine.preflight.validation import (
    check_addresses,
    check_benchmarks,
    check_endpoints,
    check_models,
    check_prices,
    check_prompts,
)
from lvqa_ray.errors import VideoError
from lvqa_ray.llm.image_tokens import family_of
from lvqa_ray.llm.price_tiers import Tier
from lvqa_ray.records import Clip, ProbedVideo, Span
from lvqa_ray.stage import Role


@dataclass(frozen=True, slots=True)
class DryRun:
    """Result of a dry run.

    Attributes:
        videos: Videos of the manifest.
        already_done: Videos that need no work.
        reasons: Number of videos by the reason why they are processed or not, in words.
        unusable: Videos to process that are unusable; they become failures.
        too_many_clips: Videos to process with more clips than ``split.max_clips``; they become failures as well.
        seconds: Total length of the videos to process (s).
        clips: Clips to caption.
        frames: Frames in the requests for all clips.
        pictures: Name of the formula for the tokens of an image.
        stages: Estimate of the calls by stage.
        tiers: Cost by role and price tier.
        busy_s: Time that the busiest endpoint needs at its limits (s); decoding may take longer.
        batches: Rounds of file batches, for endpoints with tier ``batch``.
        models: Estimated GPU hours and cost of the models that the run serves itself.
        exact: Whether ``clips`` is exact; scenes are known only after decoding, so it is a lower bound then.
    """

    videos: int
    already_done: int
    reasons: dict[str, int]
    unusable: int
    too_many_clips: int
    seconds: float
    clips: int
    frames: int
    pictures: str
    stages: dict[str, JobEstimate]
    tiers: dict[Role, dict[Tier, TierCost]]
    busy_s: float
    exact: bool
    batches: BatchRounds
    models: tuple[ModelCost, ...] = ()

    @property
    def cost_usd(self) -> float | None:
        """US dollars for all stages and served models; ``None`` if a price or the time of a model is unknown."""
        costs = [*(stage.cost_usd for stage in self.stages.values()), *(model.cost_usd for model in self.models)]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


def plan(job: Job, *, ask_endpoints: bool = True) -> DryRun:
    """Probe every video and estimate the run.

    Args:
        job: The job.
        ask_endpoints: Also request the model lists, if there are videos to process; that needs the keys.

    Raises:
        ConfigError: The run would not start.
    """
    videos = read_manifest(job.videos, job.limit, without=output_path(job), access=storage_options(job.storage))
    check_prompts(job, videos)
    done, settings, now = outcomes(output_path(job)), settings_of(output_path(job)), job.part_hashes
    videos = Identities(output_path(job), done).identify(videos, storage_options(job.storage))
    videos = with_stable_ids(videos, done, output_path(job))
    todo = remaining(videos, done, job.job_hash, retry_failures=job.engine.retry_failures)
    check_benchmarks(job, todo.videos)
    if ask_endpoints and todo.videos:
        check_prices(job)
        check_models(job)
        check_addresses(job, todo.videos)
        check_endpoints(job, ask=False)
    rows = probed(job, todo.videos)
    stages_of = {reason: changed(reason, settings, now) for reason in todo.counts}
    found = [
        (row, stages_of[reason]) for row, reason in zip(rows, todo.reasons, strict=True) if isinstance(row, ProbedVideo)
    ]
    usable = len(found)
    found = [each for each in found if not _is_too_long(job, each[0])]
    exact = job.split.mode == "fixed"
    loads = [_load(job, row, stages) for row, stages in found]
    stages = estimate(job, loads)
    return DryRun(
        videos=len(videos),
        already_done=len(videos) - len(todo.videos),
        reasons=describe_reasons(todo.counts, settings, now),
        unusable=len(todo.videos) - usable,
        too_many_clips=usable - len(found),
        seconds=sum(row.info.duration_sec for row, _ in found),
        clips=sum(load.clips for load in loads),
        frames=sum(load.frames for load in loads),
        pictures=family_of(job.endpoints.of("vlm").model).name,
        stages=stages,
        tiers=tier_costs(job, stages),
        busy_s=seconds(job, stages),
        exact=exact,
        models=model_costs(job, stages),
        batches=batch_rounds(job, stages, max((row.info.duration_sec for row, _ in found), default=0.0)),
    )


def _first_asked(stages: Sequence[str]) -> str:
    """The first stage whose requests change with the settings of ``stages``; the first of all if that is unknown."""
    if list(stages) == ["analysis"]:
        return NOTHING
    stages = [stage for stage in stages if stage != "analysis"]
    if stages and set(stages) <= {"checks", "reformat"}:
        return "checks" if "checks" in stages else "reformat"
    return (
        "ask" if stages and set(stages) <= {"probe", "merge", "summarize", "ask", "checks", "reformat"} else "caption"
    )


def _tasks_asked(stages: Sequence[str]) -> bool:
    """Whether the results about whole videos are made again: not if only settings of the questions changed."""
    return not stages or not set(stages) <= {"probe", "merge", "ask", "checks", "reformat"}


def _is_too_long(job: Job, row: ProbedVideo) -> bool:
    try:
        job.split.check_length(row)
    except VideoError:
        return True
    return False


def _load(job: Job, row: ProbedVideo, changes: Sequence[str]) -> VideoWorkload:
    """Workload of a video: exact for clips of fixed length, the minimum for scenes."""
    if job.split.mode == "fixed":
        clips = [clip for clip in job.split(row) if isinstance(clip, Clip)]
        spans = [kept.span for clip in clips for kept in job.filter(clip) if not kept.dropped]
    else:
        count = job.split.fewest_clips(row)
        length_s = row.info.duration_sec / max(1, count)
        spans = [Span(start_s=index * length_s, end_s=(index + 1) * length_s) for index in range(count)]
    first, tasks = _first_asked(changes), _tasks_asked(changes)
    times = (job.sample.sampling.times(span) for span in spans)
    return VideoWorkload(row, len(spans), 0 if job.caption.media == "video" else sum(map(len, times)), first, tasks)

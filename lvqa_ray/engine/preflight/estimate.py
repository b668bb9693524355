"""Cost estimate of a run: tokens, dollars and the time of the endpoints, with its assumptions."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvqa_ray.config import Job
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.image_tokens import family_of
from lvqa_ray.llm.messages import CHARS_PER_TOKEN
from lvqa_ray.llm.pricing import PER_MILLION, rates_of, sound_usd
from lvqa_ray.llm.shared_prefix import LEAST_PREFIX_TOKENS
from lvqa_ray.qa.context_windows import DETAIL, OVERVIEW, WINDOW_SHARE
from lvqa_ray.records import ProbedVideo
from lvqa_ray.stage import Prompted
from lvqa_ray.stage.shown_frames import STEPS_SHOWN
from lvqa_ray.stages.analysis.summary import WriteSummary
from lvqa_ray.stages.transcribe import TranscribeSpeech
from lvqa_ray.video.frames.frame_encoder import fit

LABEL_TOKENS = 10
"""Tokens of the time label before each frame or caption."""
VIDEO_TOKENS_PER_S = 300
"""Assumed tokens per second of a clip that is sent as video."""
REWRITTEN = 0.25
"""Assumed share of questions that each check with policy repair rewrites and checks again."""
REPLY_S = 10.0
"""Assumed time of a reply, if no limit per minute is tighter (s)."""


@dataclass(frozen=True, slots=True)
class JobEstimate:
    """Estimate of the calls of one stage, if no reply is unusable and none is cached.

    Attributes:
        calls: Number of requests.
        input_tokens: Prompt tokens.
        output_tokens: Reply tokens.
        cost_usd: US dollars on the endpoint's tier without hits of its prompt cache; ``None`` if no price is known.
        model: The model.
        cached_tokens: Prompt tokens that the endpoint's prompt cache can give if leaders go first.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    model: str
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class VideoWorkload:
    """Calls that one video needs.

    Attributes:
        row: The video.
        clips: Clips to caption.
        frames: Frames in the requests for all clips.
        first: The first of `CALL_GROUPS` whose calls must still be paid for; those of earlier groups are cached.
        tasks: Whether the calls of tasks about the whole video must still be paid for.
    """

    row: ProbedVideo
    clips: int
    frames: int
    first: str = "caption"
    tasks: bool = True

    def asks(self, stage: str) -> bool:
        """Whether the calls of a group are paid."""
        return CALL_GROUPS.index(self.first) <= CALL_GROUPS.index(stage)


NOTHING = "nothing"
CALL_GROUPS = ("caption", "ask", "checks", "reformat", NOTHING)
"""Groups of calls in order; each depends on those before it, and the last one is empty."""


def estimate(job: Job, loads: Iterable[VideoWorkload]) -> dict[str, JobEstimate]:
    """The calls of every stage that asks an endpoint, by its name."""
    loads = list(loads)
    caption_in = caption_calls = ask_in = ask_calls = ask_cached = questions = written = 0
    caption_out = _reply_tokens(job, job.caption)
    for load in loads:
        info = load.row.info
        parts = job.ask.batches(info.duration_sec)
        asked = sum(len(part.categories) for part in parts)
        questions += asked if load.asks("reformat") else 0
        if load.asks("ask"):
            parts = [part for part in parts if part.kind != "order"]  # written without a call
            calls = len(parts)
            ask_in += calls * (_prompt_tokens(job.ask) + _shown(job, load, caption_out))
            ask_in += calls * job.ask.frames * _picture_tokens(job, load)
            ask_calls += calls
            ask_cached += _repeated(job, load, caption_out, calls)
            written += sum(len(part.categories) for part in parts)
        if load.asks("caption"):
            shown = load.frames * _picture_tokens(job, load)
            if job.caption.media == "video":
                shown = _film_tokens(load)
            caption_calls += load.clips
            caption_in += load.clips * _prompt_tokens(job.caption) + shown
    reformat_in = questions * (_prompt_tokens(job.reformat) + _reply_tokens(job, job.ask))
    ask_out = min(written * job.ask.usual_reply_tokens, ask_calls * (_longest_reply(job, job.ask) or sys.maxsize))
    about_videos = {
        **_transcripts(job, [load for load in loads if load.asks("caption")]),
        job.caption.name: _of(job, job.caption, caption_calls, caption_in),
        **_summaries(job, [load for load in loads if load.asks("ask") or load.tasks], caption_out),
        **_tasks(job, [load for load in loads if load.tasks], caption_out),
    }
    if not job.ask.wanted:
        return about_videos
    return {
        **about_videos,
        job.ask.name: _of(job, job.ask, ask_calls, ask_in, ask_out, cached=ask_cached),
        **_checks(job, loads, caption_out),
        job.reformat.name: _of(job, job.reformat, questions, reformat_in),
        **_prose(job, questions),
    }


def _transcripts(job: Job, loads: Sequence[VideoWorkload]) -> dict[str, JobEstimate]:
    """Speech-to-text calls for all videos without a sidecar file; embedded subtitles may save more."""
    if job.endpoints.speech is None or "endpoint" not in job.speech.sources:
        return {}
    at = job.endpoints.of("speech")
    asked = [load.row for load in loads if load.row.info.has_audio and not job.speech.told_beside(load.row.video)]
    minutes = [row.info.duration_sec / 60 for row in asked]
    calls = sum(math.ceil(each / job.speech.part_minutes) for each in minutes)
    return {TranscribeSpeech.name: JobEstimate(calls, 0, 0, sound_usd(at, 60 * sum(minutes)), at.model)}


def _shown(job: Job, load: VideoWorkload, caption_tokens: int) -> int:
    """Tokens of captions in a prompt; a long video gives an overview and some windows."""
    tokens, budget = load.clips * (caption_tokens + LABEL_TOKENS), job.summarize.budget
    return tokens if tokens <= budget else budget // OVERVIEW + budget // DETAIL


def _repeated(job: Job, load: VideoWorkload, caption_tokens: int, calls: int) -> int:
    """Tokens of captions that requests about a video repeat after the first; those of a long video differ."""
    tokens = load.clips * (caption_tokens + LABEL_TOKENS)
    shared = LEAST_PREFIX_TOKENS <= tokens <= job.summarize.budget
    return max(0, calls - 1) * tokens if shared else 0


def _summaries(job: Job, loads: Sequence[VideoWorkload], caption_tokens: int) -> dict[str, JobEstimate]:
    """Calls that summarize long videos, and summarize the summaries."""
    stage, calls, tokens_in = job.summarize, 0, 0
    for load in loads:
        tokens = load.clips * (caption_tokens + LABEL_TOKENS)
        while tokens > stage.budget // OVERVIEW and load.clips * (caption_tokens + LABEL_TOKENS) > stage.budget:
            runs = -(-tokens * WINDOW_SHARE // stage.budget)
            calls, tokens_in = calls + runs, tokens_in + tokens + runs * _prompt_tokens(stage)
            tokens = min(runs * _reply_tokens(job, stage), tokens // 2)
    return {stage.name: _of(job, stage, calls, tokens_in)} if calls else {}


def _tasks(job: Job, loads: Sequence[VideoWorkload], caption_tokens: int) -> dict[str, JobEstimate]:
    """Calls of the tasks about whole videos; the length of their transcripts is unknown before."""
    stages: dict[str, JobEstimate] = {}
    captions = sum(min(load.clips * (caption_tokens + LABEL_TOKENS), job.summarize.budget) for load in loads)
    for task in job.analysis.stages:
        if isinstance(task, WriteSummary):
            prompts = [task.prompt_of(style) for style in task.styles]
            tokens = len(prompts) * captions
        else:
            prompts, tokens = [task.prompt], len(loads) * job.analysis.summary.usual_reply_tokens
        tokens += len(loads) * sum(-(-len(task.system + prompt) // CHARS_PER_TOKEN) for prompt in prompts)
        stages[task.name] = _of(job, task, len(prompts) * len(loads), tokens)
    return stages


def _checks(job: Job, loads: Sequence[VideoWorkload], caption_tokens: int) -> dict[str, JobEstimate]:
    """Calls of the checks, if no check drops a question."""
    checked = [(load, len(job.ask.plan(load.row.info.duration_sec))) for load in loads if load.asks("checks")]
    questions = sum(asked for _, asked in checked)
    captions = sum(asked * _shown(job, load, caption_tokens) for load, asked in checked)
    of_videos = sum(_shown(job, load, caption_tokens) for load, _ in checked)
    question_tokens = job.ask.usual_reply_tokens // 3  # without its reasoning
    stages: dict[str, JobEstimate] = {}
    repairs = 0
    for check in job.checks.calling:
        tokens = check.calls * questions * (_prompt_tokens(check) + question_tokens)
        tokens += check.reads * captions if "{captions}" in check.prompt else 0
        again = REWRITTEN if check.policy == "repair" else 0
        repairs += check.policy == "repair"
        calls = round(check.calls * questions * (1 + again)) + check.video_calls * len(checked)
        tokens = round(tokens * (1 + again)) + check.video_calls * (of_videos + len(checked) * _prompt_tokens(check))
        each = check.reads * (1 + again)
        cached = sum(_repeated(job, load, caption_tokens, round(each * asked)) for load, asked in checked)
        cached = cached if "{captions}" in check.prompt else 0
        stages[check.name] = _of(job, check, calls, tokens, cached=cached)
    if repairs:
        rewrite, share = job.checks.rewrite, repairs * REWRITTEN
        tokens = round(share * (questions * (_prompt_tokens(rewrite) + job.ask.usual_reply_tokens) + captions))
        stages[rewrite.name] = _of(job, rewrite, round(share * questions), tokens)
    for seeing in job.checks.seeing:
        once = sum(
            asked * seeing.media_tokens(_picture_tokens(job, load), _film_tokens(load)) for load, asked in checked
        )
        tokens = seeing.calls * (once + questions * (_prompt_tokens(seeing) + question_tokens // STEPS_SHOWN))
        stages[seeing.name] = _of(job, seeing, seeing.calls * questions, tokens)
    return stages


def _prose(job: Job, questions: int) -> dict[str, JobEstimate]:
    """Calls that check the rewritten reasoning."""
    prose = job.checks.prose
    if prose.policy == "off" or not prose.implied:
        return {}
    shown = job.ask.usual_reply_tokens // 3 + job.reformat.usual_reply_tokens
    return {prose.name: _of(job, prose, questions, questions * (_prompt_tokens(prose) + shown))}


def _film_tokens(load: VideoWorkload) -> int:
    """Tokens of the whole film as a video."""
    return round(VIDEO_TOKENS_PER_S * load.row.info.duration_sec)


def _picture_tokens(job: Job, load: VideoWorkload) -> int:
    """Tokens of a frame with its time label."""
    width, height = fit(load.row.info.width, load.row.info.height, short_side=job.sample.short_side)
    return family_of(job.endpoints.of("vlm").model).tokens(width, height) + LABEL_TOKENS


def seconds(job: Job, stages: dict[str, JobEstimate]) -> float:
    """The time that the busiest endpoint needs at its limits (s); stages on the same endpoint add up."""
    busy: dict[tuple[str, str | None, str], tuple[Sequence[Endpoint], list[JobEstimate]]] = {}
    for stage in (TranscribeSpeech(), *job.asking):
        if stage.name not in stages:
            continue
        replicas = job.endpoints.endpoints_of(stage.role)
        first = replicas[0]
        busy.setdefault((first.server, first.api_key_env, first.model), (replicas, []))[1].append(stages[stage.name])
    return max(_busy_s(replicas, parts) for replicas, parts in busy.values())


def _busy_s(replicas: Sequence[Endpoint], parts: Sequence[JobEstimate]) -> float:
    calls = sum(part.calls for part in parts)
    tokens_in, tokens_out = sum(part.input_tokens for part in parts), sum(part.output_tokens for part in parts)
    if not calls:
        return 0.0
    return calls / sum(_calls_per_s(at, calls, tokens_in / calls, tokens_out / calls) for at in replicas)


def _calls_per_s(at: Endpoint, calls: int, tokens_in: float, tokens_out: float) -> float:
    """Calls per second that the limits of an endpoint allow, for calls of this size."""
    per_minute = [
        (at.requests_per_minute, 1.0),
        (at.tokens_per_minute, tokens_in + tokens_out),
        (at.input_tokens_per_minute, tokens_in),
        (at.output_tokens_per_minute, tokens_out),
    ]
    rates = [limit / 60 / taken for limit, taken in per_minute if limit and taken]
    rates += [at.requests_per_day / 86400] if at.requests_per_day and calls > at.requests_per_day else []
    return min([at.max_concurrency / REPLY_S, *rates])


def _of(
    job: Job, stage: Prompted, calls: int, tokens_in: int, tokens_out: int | None = None, *, cached: int = 0
) -> JobEstimate:
    at = job.endpoints.of(stage.role)
    tokens_out = calls * _reply_tokens(job, stage) if tokens_out is None else tokens_out
    rates = rates_of(at, tokens_in // max(1, calls), at.tier)  # prices may depend on the length of a prompt
    cost = None if rates is None else (tokens_in * rates.input + tokens_out * rates.output) / PER_MILLION
    return JobEstimate(calls, tokens_in, tokens_out, cost, at.model, cached)


def _prompt_tokens(stage: Prompted) -> int:
    return -(-len(stage.system + stage.prompt) // CHARS_PER_TOKEN)


def _reply_tokens(job: Job, stage: Prompted) -> int:
    return min(stage.usual_reply_tokens, _longest_reply(job, stage) or sys.maxsize)


def _longest_reply(job: Job, stage: Prompted) -> int | None:
    return stage.max_tokens or job.endpoints.of(stage.role).max_tokens

"""The pipeline: the order of the stages, and the arguments of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvqa_ray.records import (
    AnalyzedVideo,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    ProbedVideo,
    QuestionedVideo,
    Row,
    Video,
    VideoPart,
)
from lvqa_ray.stage import CallCheck, SeeingCheck
from lvqa_ray.stage.clips import expected_clip
from lvqa_ray.stage.steps import (
    ChatStep,
    PlainStep,
    VideoStep,
    has_questions,
    is_kept,
    lacks_frames,
    never,
)
from lvqa_ray.stages.analysis.analyze_video import AnalyzeVideo
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.speech import FindSpeech
from lvqa_ray.stages.split import JoiningClips
from lvqa_ray.stages.transcribe import TranscribeSpeech

if TYPE_CHECKING:  # it imports every stage, and decode tasks need few of them
    from lvqa_ray.config import Job

Work = Sequence[ChatStep | PlainStep]
Group = Work | Sequence[VideoStep]


@dataclass(frozen=True, slots=True)
class FrameScoring:
    """Steps that decode frames of a video, for later steps that show them to a model.

    Attributes:
        takes: The type of the rows.
        expected: Predicts the row that the steps make of a row, without image data.
        asks: The later steps, which ask about the frames; if all their replies are cached, nothing is decoded.
    """

    steps: Sequence[VideoStep]
    takes: type
    expected: Callable[[Row], Row]
    asks: Work


@dataclass(frozen=True, slots=True)
class Spread:
    """Number of parts of a long video, approximately, and the minimum length of a part (s)."""

    parts: int
    least_s: float


@dataclass(frozen=True, slots=True)
class Parts:
    """Parallel scene detection in the parts of long videos.

    Attributes:
        look: Steps for one part.
        joining: Makes the joiner of the parts of one video into its clips.
    """

    look: Sequence[VideoStep]
    joining: Callable[[ProbedVideo], JoiningClips]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Groups of steps in order; each group runs as one operator of the graph, with a queue between groups.

    Attributes:
        hear: Groups before the split, which transcribe speech by an endpoint; empty without one.
        ask: Groups for whole videos.
        expected: Predicts a clip after ``look``, without image data; ``None`` if its file is not cut yet. An optional
            argument ``noted`` looks up files in an index.
        recipe: All settings that decide the clips of a video and their transcripts, as text.
        beside: Names the sidecar file of a video, in each form that a key may hold; empty for none.
        parts: Steps between split and look, if long videos are divided.
    """

    hear: Sequence[Group]
    split: Sequence[VideoStep]
    look: Sequence[VideoStep]
    caption: Sequence[ChatStep]
    merge: Callable[[Sequence[CaptionedClip]], Iterable[Row]]
    ask: Sequence[Work | FrameScoring]
    expected: Callable[..., Clip | None]
    recipe: str
    beside: Callable[[Video], tuple[str, ...]]
    parts: Parts | None


def build(job: Job, media: Path | None = None, spread: Spread | None = None) -> Pipeline:
    """Build the pipeline of a job: video -> clips -> captions -> captioned video -> questions -> records.

    Args:
        job: The job.
        media: Folder into which clips are cut; by default in the output.
        spread: Number of parts for scene detection of long videos; ``None`` for one.
    """
    show_clip = job.caption.media == "video"
    cut = partial(job.cut, folder=media or Path(job.output) / "media", attach=show_clip)
    times = job.sample.times if job.sample.reader == "pyav" else None
    sample = [] if show_clip else [VideoStep("sample", Clip, job.sample, reads=lacks_frames, times=times)]
    judge_damage = VideoStep("probe", Clip, job.probe.judge_damage, reads=never)
    split: Callable[[ProbedVideo], Iterable[Row]] = job.split
    parts = None
    if job.split.mode == "scenes":
        # Scene detection decodes every frame anyway, so it samples too; `sample` then has nothing to do.
        sampler = job.sample if sample and job.sample.reader == "pyav" else None
        judge = job.filter.judge
        split = partial(job.split, judge=judge, sampler=sampler)
        if spread:
            split = partial(job.split.divide, parts=spread.parts, least_s=spread.least_s, judge=judge, sampler=sampler)
            parts = Parts(
                [VideoStep("split", VideoPart, partial(job.split.look, sampler=sampler))],
                partial(job.split.joining, judge=judge, sampler=sampler),
            )
    asks = job.endpoints.speech is not None and "endpoint" in job.speech.sources
    first = [VideoStep("probe", Video, job.probe), VideoStep("speech", ProbedVideo, partial(job.speech, asks=asks))]
    transcribe = TranscribeSpeech(prompt=job.speech.prompt.replace("{", "{{").replace("}", "}}"))
    split_steps = [VideoStep("split", ProbedVideo, split), VideoStep("filter", Clip, job.filter)]
    return Pipeline(
        hear=[first, [ChatStep(transcribe, ProbedVideo, transcribe)]] if asks else [],
        split=split_steps if asks else [*first, *split_steps],
        # Sampling shows which clips are damaged; the cut re-encodes those instead of copying packets.
        look=[*sample, judge_damage, VideoStep("cut", Clip, cut, reads=never if job.cut.mode == "off" else is_kept)],
        caption=[ChatStep(job.caption, Clip, job.caption)],
        merge=partial(job.merge, heard=job.speech.merged, max_lost_share=job.probe.bearable),
        ask=_video_groups(job),
        expected=partial(
            expected_clip,
            cut=partial(job.cut.made, folder=media or Path(job.output) / "media", attach=show_clip),
            sample=None if show_clip else job.sample.expected,
        ),
        recipe=_recipe(job),
        beside=job.speech.beside,
        parts=parts,
    )


def _recipe(job: Job) -> str:
    deciding: dict[str, Any] = {
        "probe": {"truncated", "damaged"},
        "split": True,
        "filter": True,
        "sample": True,
        "caption": {"media"},
    }
    if job.listens_otherwise:
        deciding["speech"] = set(FindSpeech.__dataclass_fields__) - {"merged"}
    endpoint = json.dumps(job.endpoints.of("speech").answering, sort_keys=True) if job.endpoints.speech else ""
    return job.model_dump_json(include=deciding, exclude={"split": job.silent_in_split}) + endpoint


def _video_groups(job: Job) -> Sequence[Work | FrameScoring]:
    """The groups for whole videos: tasks about the whole, questions, checks, and at the end the reasoning.

    Steps that decode frames come before questions or checks that see some.
    """
    about_video: list[ChatStep | PlainStep] = [ChatStep(job.summarize, CaptionedVideo, job.summarize), *analyzing(job)]
    if not job.ask.wanted:
        return [about_video]
    questions = [*about_video, ChatStep(job.ask, CaptionedVideo, job.ask)]
    first: list[ChatStep | PlainStep] = [
        *questions,
        *(PlainStep(check.name, QuestionedVideo, check) for check in job.checks.wanted),
        *(_checked(job, check) for check in job.checks.calling),
    ]
    prose = job.checks.prose
    rewritten = partial(job.reformat, check=prose)
    last: list[ChatStep | PlainStep] = [
        ChatStep(job.reformat, QuestionedVideo, rewritten, helpers=() if prose.policy == "off" else (prose,))
    ]
    groups: list[Work | FrameScoring] = []
    before = first
    for check in job.checks.seeing:  # each decodes the frames of its own questions
        seen: list[ChatStep | PlainStep] = [ChatStep(check, QuestionedVideo, check)]
        groups += [before, _decoding(job, check, QuestionedVideo, seen, reads=has_questions)]
        before = seen
    groups.append([*before, *last])
    if job.ask.frames:
        groups.insert(0, _decoding(job, job.ask, CaptionedVideo, questions))
    return groups


def analyzing(job: Job) -> Sequence[ChatStep | PlainStep]:
    """The tasks about a whole video, one step each; empty if the job has none."""
    if not job.analysis.tasks:
        return []
    analyze = AnalyzeVideo(
        tasks=job.analysis.wanted,
        shorten=job.summarize.shortened,
        budget=job.summarize.budget,
        alone=not job.ask.wanted,
    )
    return [
        ChatStep(job.summarize, CaptionedVideo, analyze.begin),
        *(ChatStep(task, AnalyzedVideo, partial(task, wish=job.analysis.wish)) for task in job.analysis.stages),
        PlainStep(analyze.name, AnalyzedVideo, analyze.finish),
    ]


def _decoding(
    job: Job, stage: AskQuestions | SeeingCheck, takes: type, asks: Work, *, reads: Callable[[Any], bool] = bool
) -> FrameScoring:
    """The step that decodes the frames that a stage shows, with the sampling settings of the job."""
    sample = replace(job.sample, count=stage.frames, per_second=None)
    show: Callable[..., Iterable[Row]] = stage.show
    step = VideoStep(stage.name, takes, partial(show, sample=sample), reads=reads)
    expected = partial(show, sample=partial(_expected_clips, sample.expected))
    return FrameScoring([step], takes, partial(_first, make=expected), asks)


def _first(row: Row, *, make: Callable[[Row], Iterable[Row]]) -> Row:
    return next(iter(make(row)))


def _expected_clips(expected: Callable[[Clip], Clip], clip: Clip) -> Iterable[Clip]:
    return [expected(clip)]


def _checked(job: Job, check: CallCheck) -> ChatStep:
    if check.policy != "repair":
        return ChatStep(check, QuestionedVideo, check)
    rewrite = job.checks.rewrite
    return ChatStep(
        check, QuestionedVideo, partial(check, repairer=rewrite.with_checks(job.checks.wanted)), helpers=(rewrite,)
    )

"""The whole pipeline on one screen: which stage follows which, and what they are handed."""

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
from lvqa_ray.stage.steps import ChatStep, PlainStep, VideoStep
from lvqa_ray.stages.analysis.analyze_video import AnalyzeVideo
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.speech import FindSpeech
from lvqa_ray.stages.split import JoiningClips
from lvqa_ray.stages.transcribe import TranscribeSpeech

if TYPE_CHECKING:  # it knows every stage: who loads this to decode needs few of them
    from lvqa_ray.config import Job

Work = Sequence[ChatStep | PlainStep]
Group = Work | Sequence[VideoStep]


@dataclass(frozen=True, slots=True)
class FrameScoring:
    """Steps that read a film's file, so that those after them can show it to a model.

    Attributes:
        takes: The rows that they work on.
        expected: Tells what they will make of a row, without the pictures.
        asks: The steps that then ask about it: once all their answers are paid for, nothing has to be read.
    """

    steps: Sequence[VideoStep]
    takes: type
    expected: Callable[[Row], Row]
    asks: Work


@dataclass(frozen=True, slots=True)
class Spread:
    """Into about how many parts a long video is divided, and how long each has to be at least (s)."""

    parts: int
    least_s: float


@dataclass(frozen=True, slots=True)
class Parts:
    """How long videos are looked at in parts, by many at once.

    Attributes:
        look: Steps for one part.
        joining: Makes what joins the parts of a video to its clips.
    """

    look: Sequence[VideoStep]
    joining: Callable[[ProbedVideo], JoiningClips]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps in order; each group runs as one operator of the graph, with a queue between groups.

    Attributes:
        hear: What videos go through before they are split, where somebody is asked what is said in them.
        ask: The groups that films go through.
        expected: Tells what will be made of a clip, without its pictures; ``None`` where its file is still to be cut,
            which is told by ``noted``, a function that may be given too.
        recipe: All that decides which clips a video has and what is said in them, as a text.
        beside: Names the file beside a video that is read with it, in each form that a key may hold; empty for none.
        parts: What comes between splitting and looking where videos are divided.
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
    """The pipeline of a job: video -> clips -> captions -> film -> questions -> records.

    Args:
        job: The job.
        media: The folder that clips are cut into; in the output, if not given.
        spread: In how many parts long videos are looked at for scenes; ``None`` for one.
    """
    show_clip = job.caption.media == "video"
    cut = partial(job.cut, folder=media or Path(job.output) / "media", attach=show_clip)
    sample = [] if show_clip else [VideoStep("sample", Clip, job.sample, reads=_lacks_pictures)]
    judge_damage = VideoStep("probe", Clip, job.probe.judge_damage, reads=_never)
    split: Callable[[ProbedVideo], Iterable[Row]] = job.split
    parts = None
    if job.split.mode == "scenes":
        # The pass that finds the scenes decodes every frame anyway: `sample` then finds its work done.
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
    then = [VideoStep("split", ProbedVideo, split), VideoStep("filter", Clip, job.filter)]
    return Pipeline(
        hear=[first, [ChatStep(transcribe, ProbedVideo, transcribe)]] if asks else [],
        split=then if asks else [*first, *then],
        # Whoever takes pictures learns what is damaged, and a damaged clip is not copied.
        look=[*sample, judge_damage, VideoStep("cut", Clip, cut, reads=_never if job.cut.mode == "off" else _is_kept)],
        caption=[ChatStep(job.caption, Clip, job.caption)],
        merge=partial(job.merge, heard=job.speech.merged, max_lost_share=job.probe.bearable),
        ask=_asking(job),
        expected=partial(
            _expected,
            cut=partial(job.cut.made, folder=media or Path(job.output) / "media", attach=show_clip),
            sample=None if show_clip else job.sample.expected,
        ),
        recipe=_recipe(job),
        beside=job.speech.beside,
        parts=parts,
    )


def _recipe(job: Job) -> str:
    decides: dict[str, Any] = {
        "probe": {"truncated", "damaged"},
        "split": True,
        "filter": True,
        "sample": True,
        "caption": {"media"},
    }
    if job.listens_otherwise:
        decides["speech"] = set(FindSpeech.__dataclass_fields__) - {"merged"}
    told = json.dumps(job.endpoints.of("speech").answering, sort_keys=True) if job.endpoints.speech else ""
    return job.model_dump_json(include=decides, exclude={"split": job.silent_in_split}) + told


def _asking(job: Job) -> Sequence[Work | FrameScoring]:
    """What films go through: tasks about the whole, then questions, checks, and at the end prose.

    Pictures are read where a check sees some.
    """
    told: list[ChatStep | PlainStep] = [ChatStep(job.summarize, CaptionedVideo, job.summarize), *analyzing(job)]
    if not job.ask.wanted:
        return [told]
    questions = [*told, ChatStep(job.ask, CaptionedVideo, job.ask)]
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
    groups: list[Work | FrameScoring] = [[*first, *last]]
    for evidence in job.checks.seeing:
        seen = ChatStep(evidence, QuestionedVideo, evidence)
        groups = [first, _showing(job, evidence, QuestionedVideo, [seen], reads=_has_questions), [seen, *last]]
    if job.ask.frames:
        groups.insert(0, _showing(job, job.ask, CaptionedVideo, questions))
    return groups


def analyzing(job: Job) -> Sequence[ChatStep | PlainStep]:
    """The tasks about a film as a whole, each a step; none, if the job names none."""
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


def _showing(
    job: Job, stage: AskQuestions | SeeingCheck, takes: type, asks: Work, *, reads: Callable[[Any], bool] = bool
) -> FrameScoring:
    """Has a stage show its pictures of spans, taken as the job samples clips otherwise."""
    sample = replace(job.sample, count=stage.frames, per_second=None)
    show: Callable[..., Iterable[Row]] = stage.show
    step = VideoStep(stage.name, takes, partial(show, sample=sample), reads=reads)
    return FrameScoring(
        [step], takes, partial(_told, show=partial(show, sample=partial(_as_told, sample.expected))), asks
    )


def _told(row: Row, *, show: Callable[[Row], Iterable[Row]]) -> Row:
    return next(iter(show(row)))


def _as_told(expected: Callable[[Clip], Clip], clip: Clip) -> Iterable[Clip]:
    return [expected(clip)]


def _has_questions(row: QuestionedVideo) -> bool:
    return bool(row.questions)


def _checked(job: Job, check: CallCheck) -> ChatStep:
    if check.policy != "repair":
        return ChatStep(check, QuestionedVideo, check)
    rewrite = job.checks.rewrite
    return ChatStep(
        check, QuestionedVideo, partial(check, repairer=rewrite.with_checks(job.checks.wanted)), helpers=(rewrite,)
    )


def _expected(
    clip: Clip, *, cut: Callable[..., Clip | None], sample: Callable[[Clip], Clip] | None, **noted: object
) -> Clip | None:
    made = cut(clip, **noted)
    return made if made is None or made.frames or sample is None else sample(made)


def _never(_: Clip) -> bool:
    return False


def _is_kept(clip: Clip) -> bool:
    return not clip.dropped


def _lacks_pictures(clip: Clip) -> bool:
    return not clip.dropped and not any(frame.jpeg for frame in clip.frames)

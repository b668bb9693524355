"""Frozen dataclasses of questions and their keys, the verdicts of checks on them, and the finished records.

All questions of a video are in one row, from the first reply to the shard: a video is finished with all of them or
none, so progress is counted by video, however many records it has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from lvqa_ray.records.answers.answer_keys import Key, Kind, joined_spans
from lvqa_ray.records.rows import CaptionedVideo, Clip, Failure, Span, Video, VideoInfo
from lvqa_ray.records.usage import NO_USAGE, Usage

Letter = Literal["A", "B", "C", "D"]
LETTERS: tuple[Letter, ...] = ("A", "B", "C", "D")

Action = Literal["", "marked", "repaired", "dropped"]
"""What the policy of a check did about a fault; empty for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningStep:
    """One step of reasoning: the time that it cites, and what is visible there.

    Attributes:
        timestamp: The cited time as the reply writes it, with the labels of the merged captions.
        start_s: Its start in seconds; labels may be truncated to whole seconds.
        end_s: Its end, likewise.
        clip_ids: The cited clips, in time order; empty if not known yet.
        exact: The times of these clips, if the label names them.
    """

    timestamp: str
    start_s: float
    end_s: float
    reasons: tuple[str, ...]
    clip_ids: tuple[str, ...] = field(default=(), compare=False)
    exact: Span | None = field(default=None, compare=False)

    @property
    def span(self) -> Span:
        """The exact time of the cited clips; the cited time if that is not known."""
        return self.exact or Span(start_s=self.start_s, end_s=self.end_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A multiple-choice question with its key and its reasoning.

    Attributes:
        options: Texts of the options A to D.
        answer: Letter of the right option.
    """

    question: str
    options: dict[Letter, str]
    answer: Letter
    steps: tuple[ReasoningStep, ...]

    @property
    def kind(self) -> Kind:
        """Always ``choice``."""
        return "choice"

    @property
    def key_text(self) -> str:
        """The answer as a reply gives it: the letter."""
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedQuestion:
    """A question without options: its key is a span, a number, an order or a short text."""

    question: str
    key: Key
    steps: tuple[ReasoningStep, ...]

    @property
    def kind(self) -> Kind:
        """Kind of the key."""
        return self.key.kind

    @property
    def key_text(self) -> str:
        """The answer as a reply gives it."""
        return self.key.text


AnyQuestion = Question | KeyedQuestion


def hops(question: AnyQuestion) -> list[Span]:
    """The separate moments that a question cites: its steps' spans in time order, joined where they touch."""
    return joined_spans(step.span for step in question.steps)


TraceMedia = Literal["frames", "video", "captions", "reasons"]
"""What the model was given for a trace: frames of the film, the film, captions, or reasons to rewrite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One sampled answer to a question, with the reasoning that led to it, in the option letters of the record.

    Attributes:
        check: Name of the check that asked.
        attempt: Index of the attempt.
        question: Question and options as one text.
        model: The model; empty if there is no reply.
        times: Times of the frames shown (s).
        order: The letter in the record of the options shown as A, B, C and D, such as ``CDAB``; empty without options.
        thoughts: Thoughts that the model returned beside its answer; empty for none.
        text: The answer.
        answer: The chosen option, or the answer to a question without options, or ``None``.
        read: Whether the answer is readable.
        correct: Whether it is the key; ``None`` if it counts as right and is not exactly the key.
        letters_unclear: Whether the texts still have the letters of the prompt, since some may name an option or not.
        error: Kind of the error if there is no answer.
        usage: Tokens and cost of the attempt.
    """

    check: str
    attempt: int
    question: str
    media: TraceMedia
    model: str = ""
    times: tuple[float, ...] = ()
    order: str = "ABCD"
    thoughts: str = field(default="", repr=False)
    text: str = field(default="", repr=False)
    answer: str | None = None
    read: bool = True
    correct: bool | None = False
    letters_unclear: bool = False
    error: str = ""
    usage: Usage = NO_USAGE

    @property
    def rationale(self) -> str:
        """The text before the line with the answer."""
        return before_answer(self.text)

    @property
    def reasoning(self) -> str:
        """The thoughts; without any, the text before the line with the answer."""
        return self.thoughts or self.rationale


def before_answer(reply: str) -> str:
    """The text of a reply before its line ``ANSWER: B``."""
    return _ANSWER_LINE.split(reply)[0].strip()


_ANSWER_LINE = re.compile(r"^\W*(?:final\s+)?answer\W*[:：].*\Z", re.IGNORECASE | re.MULTILINE | re.DOTALL)  # noqa: RUF001


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Verdict of one check on one question.

    Attributes:
        check: Name of the check.
        passed: Whether the question passed, before any repair.
        action: What was done about it if it failed.
        reason: What is wrong, in one sentence; empty if it passed.
        score: The check's measurement, such as a pass rate; each check defines it, ``None`` if it measures nothing.
        tries: Number of answers behind the score.
        usage: Cost of the check.
        traces: The sampled answers behind the score, if the check keeps them.
    """

    check: str
    passed: bool
    action: Action = ""
    reason: str = ""
    score: float | None = None
    tries: int = 0
    usage: Usage = NO_USAGE
    traces: tuple[Trace, ...] = field(default=(), compare=False, repr=False)


def score_of(verdicts: Sequence[Verdict], check: str) -> float | None:
    """The score of a check; ``None`` if it did not run or measured nothing."""
    return next((verdict.score for verdict in verdicts if verdict.check == check), None)


def best_trace(verdicts: Sequence[Verdict]) -> Trace | None:
    """The correct trace of the check ``watch`` whose reasoning has the median length; ``None`` if there is none.

    It must be exactly the key, and have reasoning and clear option letters: an answer that only counts as right, such
    as "red bicycle" for "red car", would support another key. The shortest correct answer is often a guess, and the
    longest one often wanders; of two in the middle it is the shorter, and of equal ones the earlier.
    """
    traces = [trace for verdict in verdicts if verdict.check == WATCH for trace in verdict.traces]
    usable = [trace for trace in traces if trace.correct and trace.reasoning and not trace.letters_unclear]
    usable.sort(key=lambda trace: (len(trace.reasoning), trace.attempt))
    return usable[(len(usable) - 1) // 2] if usable else None


def caption_fault(verdicts: Sequence[Verdict]) -> bool | None:
    """Whether most answers from the captions are the key and none from the film is; ``None`` if one was not measured.

    Then the captions that the question rests on probably say what the film does not show.
    """
    told, seen = score_of(verdicts, SOLVE), score_of(verdicts, WATCH)
    return None if told is None or seen is None else told > MOSTLY and seen == 0


WATCH, SOLVE = "watch", "solve"
MOSTLY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """A question while the checks run.

    Attributes:
        id: Id of its future record: ``{video id}_q{n}``, n counted from 0 in the order of the plan.
        category: Its category.
        reasoning: The reply that it was parsed from, in the QA text format.
        verdicts: Verdicts of the checks so far, in order.
        requested: The category requested for this position; the reply may have swapped categories between questions.
        group_id: Id of the first question of the video that rests on the same facts; its own id if it is the first.
    """

    id: str
    category: str
    question: AnyQuestion
    reasoning: str
    verdicts: tuple[Verdict, ...] = ()
    requested: str = ""
    group_id: str = ""

    @property
    def choice(self) -> Question:
        """The question with its options; a `TypeError` if it is of another kind."""
        if not isinstance(self.question, Question):
            raise TypeError(f"{self.id} is of the kind {self.question.kind} and has no options")
        return self.question


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A requested question that became no record: which check it failed, and why.

    Attributes:
        check: Name of the check, or of the stage that failed.
        kind: A value of `ParseFault` or of an `ApiError` if there is no question, else the name of the check.
        question: The question as it was when it was dropped; ``None`` for a reply that could not be parsed.
        raw: That reply.
        usage: Cost of the failed attempt to rewrite its reasoning.
        requested: The category requested for this position.
    """

    id: str
    category: str
    check: str
    kind: str
    reason: str
    question: AnyQuestion | None = None
    verdicts: tuple[Verdict, ...] = ()
    raw: str = ""
    usage: Usage = NO_USAGE
    requested: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionedVideo:
    """A video with its generated questions.

    Attributes:
        questions: Questions that no check has dropped.
        drops: The dropped ones.
        usage: Total cost of writing them.
        note: How the result differs from what was requested, or empty.
        shown: The spans that the questions cite, with their frames, while a check needs them.
        summary: A short summary of the video, while a check needs it.
    """

    film: CaptionedVideo
    questions: tuple[AskedQuestion, ...]
    drops: tuple[Drop, ...] = ()
    usage: Usage = NO_USAGE
    note: str = ""
    shown: tuple[Clip, ...] = ()
    summary: str = ""

    @property
    def info(self) -> VideoInfo:
        """Properties of the video."""
        return self.film.info

    @property
    def requested(self) -> tuple[str, ...]:
        """The category of each requested question."""
        asked = [(one.requested, one.category) for one in self.questions]
        lost = [(one.requested, one.category) for one in self.drops]
        return tuple(requested or category for requested, category in (*asked, *lost))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A finished record: one question.

    Attributes:
        prompt: The reformat prompt as sent.
        full_question: Question and options as one text.
        reformatted_reasoning: The reasoning as prose, to train on.
        usage: Usage by stage name; shared costs are split among the records of the video.
        note: How the result differs from what was requested, or empty.
        requested: The category requested for this position.
        group_id: Id of the first question of the video that rests on the same facts.
    """

    film: CaptionedVideo
    id: str
    category: str
    reasoning: str
    question: AnyQuestion
    prompt: str
    full_question: str
    reformatted_reasoning: str
    usage: dict[str, Usage]
    verdicts: tuple[Verdict, ...] = ()
    note: str = ""
    requested: str = ""
    group_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedVideo:
    """Outcome of a video whose captions are complete.

    Attributes:
        records: The questions that were kept.
        drops: The dropped ones.
        failure: Why there is no record.
    """

    video: Video
    records: tuple[Record, ...]
    drops: tuple[Drop, ...] = ()
    failure: Failure | None = None

"""The frozen rows of questions: what is asked about a video, what the checks say of it, and what becomes of it.

All questions of a video travel in one row, from the first reply to the shard: a video is done with all of them or with
none, so what is done is told by video, however many records it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lvqa_ray.records.rows import CaptionedVideo, Clip, Failure, Span, Usage, Video, VideoInfo

Letter = Literal["A", "B", "C", "D"]
LETTERS: tuple[Letter, ...] = ("A", "B", "C", "D")

NO_USAGE = Usage()
Action = Literal["", "marked", "repaired", "dropped"]
"""What came of a verdict: nothing, or what the policy of the check has done about the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of reasoning: the time it is about, as written and in seconds, and what is seen there.

    Attributes:
        timestamp: The cited time as the reply writes it, with the labels of the merged captions.
        start_s: Its start in seconds; a label may be cut to whole seconds.
        end_s: Its end, likewise.
        clip_ids: The clips that it is about, in time order; empty where that is not known yet.
        exact: The times of these clips, where the label names them.
    """

    timestamp: str
    start_s: float
    end_s: float
    reasons: tuple[str, ...]
    clip_ids: tuple[str, ...] = field(default=(), compare=False)
    exact: Span | None = field(default=None, compare=False)

    @property
    def span(self) -> Span:
        """The exact time that the step is about; the cited one where nothing more exact is known."""
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
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check says of one question.

    Attributes:
        check: Name of the check.
        passed: Whether the question was found sound, before any repair.
        action: What was done about it, if it was not.
        reason: What is wrong, in one sentence; empty where it passed.
        score: What the check measured, such as a pass rate; each check says what, ``None`` where it measures nothing.
        tries: Answers that the score rests on.
        usage: What the check cost.
    """

    check: str
    passed: bool
    action: Action = ""
    reason: str = ""
    score: float | None = None
    tries: int = 0
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """A question on its way through the checks.

    Attributes:
        id: Of the record that it is to become: ``{video id}_q{n}``, n counted from 0 in the order of the plan.
        category: What kind of question it is.
        reasoning: The reply that it was read from, in the QA text format.
        verdicts: Of the checks so far, in order.
        requested: The category that was requested at its place, which the reply may have changed with another's.
    """

    id: str
    category: str
    question: Question
    reasoning: str
    verdicts: tuple[Verdict, ...] = ()
    requested: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A question that was asked for and is no record: which check it failed, and why.

    Attributes:
        check: Name of the check, or of the stage that failed.
        kind: A value of `ParseFault` or of an `ApiError` where there is no question, else the check's name.
        question: The question as it was when it was dropped; ``None`` for a reply that could not be read.
        raw: That reply.
        usage: What was paid in vain to have its reasoning rewritten.
        requested: The category that was requested at its place.
    """

    id: str
    category: str
    check: str
    kind: str
    reason: str
    question: Question | None = None
    verdicts: tuple[Verdict, ...] = ()
    raw: str = ""
    usage: Usage = NO_USAGE
    requested: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionedVideo:
    """A film with the questions that were written about it.

    Attributes:
        questions: Those that no check has dropped.
        drops: The others.
        usage: What all of them cost together.
        note: What was done otherwise than asked for, or empty.
        shown: The spans that the questions cite, with pictures, while a check needs them.
    """

    film: CaptionedVideo
    questions: tuple[AskedQuestion, ...]
    drops: tuple[Drop, ...] = ()
    usage: Usage = NO_USAGE
    note: str = ""
    shown: tuple[Clip, ...] = ()

    @property
    def info(self) -> VideoInfo:
        """What the video is."""
        return self.film.info

    @property
    def requested(self) -> tuple[str, ...]:
        """The category of each question that was requested."""
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
        usage: Usage by stage name; of what several records of a video share, each bears a part.
        note: What was done otherwise than asked for, or empty.
        requested: The category that was requested at its place.
    """

    film: CaptionedVideo
    id: str
    category: str
    reasoning: str
    question: Question
    prompt: str
    full_question: str
    reformatted_reasoning: str
    usage: dict[str, Usage]
    verdicts: tuple[Verdict, ...] = ()
    note: str = ""
    requested: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedVideo:
    """All that became of a video whose captions are complete.

    Attributes:
        records: The questions that are left.
        drops: The others.
        failure: Why there is no record, if there is none.
    """

    video: Video
    records: tuple[Record, ...]
    drops: tuple[Drop, ...] = ()
    failure: Failure | None = None

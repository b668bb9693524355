"""Training samples: what the trainer formats need of a record, in the style that the user chose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from lvqa_ray.errors import ConfigError

if TYPE_CHECKING:  # a help page loads no rows
    from lvqa_ray.records.row import TableRow

AnswerStyle = Literal["letter", "tagged", "think_tagged"]
ANSWER_STYLES: tuple[AnswerStyle, ...] = get_args(AnswerStyle)
ReasoningStyle = Literal["prose", "timed"]
REASONING_STYLES: tuple[ReasoningStyle, ...] = get_args(ReasoningStyle)

USED = (
    "id",
    "video",
    "video_id",
    "category",
    "kind",
    "typed_answer",
    "parsed_reasoning",
    "full_question",
    "reformatted_reasoning",
)
"""Columns of `data/` that `sample_of` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleStyle:
    """How records are written for a trainer.

    Attributes:
        answer: ``letter``: the reasoning, then ``Answer: B``. ``tagged``: the reasoning, then ``<answer>B</answer>``.
            ``think_tagged``: ``<think>``, the reasoning, ``</think>``, then ``<answer>B</answer>``.
        reasoning: ``prose``: the rewritten reasoning. ``timed``: one line per step, with the time that it cites.
        video_root: Folder or URL prefix that video paths are written relative to; empty to write them unchanged.
    """

    answer: AnswerStyle = "letter"
    reasoning: ReasoningStyle = "prose"
    video_root: str = ""

    def place(self, video: str) -> str:
        """Path of a video as a trainer reads it.

        Raises:
            ConfigError: The video is not below `video_root`.
        """
        root = self.video_root.rstrip("/")
        if not root:
            return video
        if not video.startswith(f"{root}/"):
            raise ConfigError(f"{video} is not below {self.video_root}: name a --video-root that all videos are in.")
        return video[len(root) + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A question with its answer, as text for a trainer.

    No text has a media placeholder (``<video>``, ``<image>``, ``<audio>``): trainers count them.

    Attributes:
        id: Id of the record.
        video: Path of the video.
        kind: Kind of answer: ``choice``, ``span``, ``number``, ``order`` or ``open``.
        category: Category of the question.
        question: The question without options.
        options: Lines such as ``A. The park``; empty unless the kind is ``choice``.
        prompt: Question and options as one text.
        answer: The right answer as a reply states it.
        typed: The columns ``kind`` and ``typed_answer`` of the record, which `lvqa_ray.rewards` grades by.
        reasoning: The reasoning to train on.
        reply: Reasoning and answer, in the chosen style.
    """

    id: str
    video: str
    kind: str
    category: str
    question: str
    options: tuple[str, ...]
    prompt: str
    answer: str
    typed: Mapping[str, Any]
    reasoning: str
    reply: str


def sample_of(record: TableRow, style: SampleStyle) -> Sample:
    """The sample of a record.

    Args:
        record: A row of `data/` with the columns `USED`; ``kind`` and ``typed_answer`` may be missing or null, as in
            shards of earlier releases, whose questions are all multiple choice.
        style: How to write it.
    """
    parsed, kind = record["parsed_reasoning"], record.get("kind") or "choice"
    choice = kind == "choice"
    typed = record.get("typed_answer") or {"letter": parsed["ANSWER"]}
    answer = answer_text(kind, typed)
    prose = without_media(_reasoning(record, style))
    return Sample(
        id=record["id"],
        video=style.place(record["video"]),
        kind=kind,
        category=record["category"] or "general",
        question=without_media(parsed["QUESTION"]),
        options=tuple(f"{letter}. {without_media(text)}" for letter, text in parsed["OPTIONS"].items())
        if choice
        else (),
        prompt=without_media(record["full_question"]),
        answer=answer,
        typed={"kind": kind, "typed_answer": dict(typed)},
        reasoning=prose,
        reply=reply_of(prose, answer, style.answer),
    )


def answer_text(kind: str, typed: Mapping[str, Any]) -> str:
    """The right answer of a record as a reply states it; `lvqa_ray.rewards.reward` gives it 1.0.

    Args:
        kind: Kind of answer.
        typed: The column ``typed_answer``.
    """
    if kind == "span":
        return ", ".join(f"{_seconds(span['start_s'])}-{_seconds(span['end_s'])}" for span in typed["spans"])
    if kind == "number":
        return _seconds(typed["number"])
    if kind == "order":
        return ", ".join(map(str, typed["order"]))
    if kind == "open":
        return without_media(typed["text"])
    return str(typed["letter"])


def reply_of(reasoning: str, answer: str, style: AnswerStyle) -> str:
    """Reasoning and answer as the assistant's reply; the answer is stated once."""
    from lvqa_ray.records.question_columns import without_closing  # noqa: PLC0415 - Arrow takes a second to import

    thoughts = without_closing(reasoning, answer)
    if style == "letter":
        return f"{thoughts}\n\nAnswer: {answer}"
    if style == "tagged":
        return f"{thoughts}\n\n<answer>{answer}</answer>"
    return f"<think>\n{thoughts}\n</think>\n<answer>{answer}</answer>"


def _reasoning(record: TableRow, style: SampleStyle) -> str:
    if style.reasoning == "prose":
        return str(record["reformatted_reasoning"])
    from lvqa_ray.records.rows import Span  # noqa: PLC0415 - as above
    from lvqa_ray.records.timecodes import clocks  # noqa: PLC0415

    lines = []
    for step in record["parsed_reasoning"]["REASONS"]:
        span = Span(start_s=step["start_s"], end_s=step["end_s"])
        lines.append(f"[{clocks(span)}] {' '.join(' '.join(step['reasons']).split())}")
    return "\n".join(lines)


def without_media(text: str) -> str:
    """A text in which no trainer finds a media placeholder or a tag of the reply: ``<video>`` becomes ``< video>``."""
    return _PLACEHOLDER.sub("< ", text)


def _seconds(number: float) -> str:
    """A number without an exponent or trailing zeros."""
    return f"{number:.3f}".rstrip("0").rstrip(".")


_PLACEHOLDER = re.compile(r"<(?=/?(?:image|video|audio|think|answer)>)", re.IGNORECASE)

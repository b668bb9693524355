"""Question repair: question with a fault -> rewritten question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.llm.messages import Text
from lvqa_ray.qa.context_windows import captions_for_question
from lvqa_ray.qa.formats.reply_format import TEXT
from lvqa_ray.qa.formats.text_format import render_question
from lvqa_ray.qa.time_labels import located
from lvqa_ray.records import AskedQuestion, KeyedQuestion, Question, QuestionedVideo
from lvqa_ray.stage import Chat, Check, Prompted, RepairResult, Role, answer


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RewriteQuestion(Prompted):
    """Have the writer model rewrite a question that can be answered without the video."""

    name: ClassVar[str] = "rewrite"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "rewrite/1"
    usual_reply_tokens: ClassVar[int] = 700
    known: ClassVar[tuple[str, ...]] = ("captions", "question", "fault", "format", "video_id")
    required: ClassVar[tuple[str, ...]] = ("captions", "question", "fault")

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {captions}, {question} (with key and reasoning) and {fault} (what is "
        "wrong), all required; {format}, {video_id}.",
    )
    rounds: int = Field(default=2, ge=1, le=5, description="How often a question is rewritten before it is dropped.")

    def with_checks(self, checks: Sequence[Check]) -> Rewriting:
        """Combine the stage with the checks without API calls that a new question must pass."""
        return Rewriting(self, checks)

    async def written(
        self, asked: AskedQuestion, row: QuestionedVideo, fault: str, attempt: int, chat: Chat
    ) -> RepairResult:
        """Rewrite the question; the result has no verdicts yet.

        Raises:
            ApiError: The call failed.
        """
        if isinstance(asked.question, KeyedQuestion):
            return RepairResult(None, "only multiple-choice questions are rewritten")
        values = {
            "captions": captions_for_question(row.film, asked.question.steps),
            "question": asked.reasoning,
            "fault": fault,
            "format": TEXT.one.words,
            "video_id": row.film.video.id,
        }
        request = self.asks(Text(text=self.filled(values)), attempt=attempt, facts=values)
        reply = await answer(chat, request, TEXT.one.reads)
        try:
            (reading,) = TEXT.one.read(reply.text)
            if not isinstance(reading.question, Question):
                raise ParseError(ParseFault.NO_OPTIONS, "The question has no options.")
            question = located(reading.question, row.film)
            text = render_question(question)
        except (ParseError, ValueError) as error:
            return RepairResult(None, f"the reply cannot be read: {error}", reply.usage)
        if _content(question) == _content(asked.question):
            return RepairResult(None, "the reply is the same question", reply.usage)
        return RepairResult(replace(asked, question=question, reasoning=text, verdicts=()), "", reply.usage)


@plain_dataclass(frozen=True, slots=True)
class Rewriting:
    """Rewrites questions and runs the checks that make no API call; a `Repairer`."""

    stage: RewriteQuestion
    checks: Sequence[Check]

    @property
    def rounds(self) -> int:
        """Maximum number of rewrites before a question is dropped."""
        return self.stage.rounds

    async def __call__(
        self, asked: AskedQuestion, row: QuestionedVideo, fault: str, attempt: int, chat: Chat
    ) -> RepairResult:
        """The new question with the verdicts of the checks; see `Repairer`."""
        made = await self.stage.written(asked, row, fault, attempt, chat)
        if made.asked is None:
            return made
        # Put last among the questions of its video, since the first of two duplicates stays.
        others = tuple(other for other in row.questions if other.id != asked.id)
        checked = QuestionedVideo(film=row.film, questions=(*others, made.asked), drops=row.drops)
        for check in self.checks:
            (checked,) = check(checked)
        passed = next((one for one in checked.questions if one.id == asked.id), None)
        if passed is None:
            reason = next(drop.reason for drop in checked.drops if drop.id == asked.id)
            return replace(made, asked=None, reason=reason)
        return replace(made, asked=passed)


def _content(question: Question) -> tuple[str, frozenset[str], str]:
    return question.question, frozenset(question.options.values()), question.options[question.answer]


PROMPT = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

This multiple-choice question about the video was written from them:

{question}

It cannot be used as it is: {fault}

Write it anew, in the same language, so that only somebody who has watched the video can tell the right option. Keep \
what it is about, as far as it can be kept. Take away what gives the answer away: hints in the question, a right \
option that is longer, more precise or more likely than the others, wrong options that nobody would believe. Make \
the wrong options out of what the video shows at another time, of somebody else, or in another order. Give four \
options, exactly one of them right, all of about the same length. Speak of the video, never of descriptions, and \
name no times in the question. Every step of the reasoning names the seconds that it rests on.

{format}"""

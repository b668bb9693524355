"""Prose check: whether rewritten reasoning keeps its facts and still leads to the key."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.messages import Text
from lvqa_ray.qa.fact_consistency import prose_fault
from lvqa_ray.qa.formats.answer_choice import read_choice, read_graded
from lvqa_ray.qa.formats.conclusion import without_answer, without_conclusion
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.grading import RIGHT
from lvqa_ray.records import AnyQuestion, AskedQuestion, KeyedQuestion, Usage
from lvqa_ray.stage import Chat, Prompted, Role, yaml_off


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckProse(Prompted):
    """Compare numbers, names and letters with the original, then have the question answered from the prose alone."""

    name: ClassVar[str] = "prose"
    role: ClassVar[Role] = "checker"
    version: ClassVar[str] = "prose/1"
    usual_reply_tokens: ClassVar[int] = 150
    known: ClassVar[tuple[str, ...]] = ("question", "prose", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question", "prose")

    policy: Literal["off", "mark", "repair"] = Field(
        default="repair",
        description="Action on a fault of the rewritten reasoning: off, mark, or repair (it is rewritten once "
        "more; if that fails too, the original reasoning is kept and marked).",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {question} and {prose} (required), {video_id}.",
    )
    implied: bool = Field(
        default=True,
        description="Also ask the model, in one call, whether the key follows from the rewritten reasoning.",
    )

    _off = field_validator("policy", mode="before")(yaml_off)

    async def fault(self, asked: AskedQuestion, prose: str, video_id: str, chat: Chat) -> tuple[str, Usage]:
        """The fault of the prose (empty for none) and the usage of the check.

        Raises:
            ApiError: A retryable error.
        """
        fault = prose_fault(asked.question, prose)
        if fault or not self.implied or asked.question.kind == "span":  # prose names no times
            return fault, Usage()
        values = {
            "question": full_question(asked.question),
            "prose": without_conclusion(prose) if asked.question.kind == "choice" else without_answer(prose),
            "video_id": video_id,
        }
        prompt = self.prompt if asked.question.kind == "choice" else PROSE_KEYED
        try:
            reply = await chat(self.asks(Text(text=self.filled(values, prompt)), facts=values))
        except ApiError as error:
            if error.retryable:
                raise
            return f"it could not be checked: {error}", Usage.of(error)
        return _reply_fault(reply.text, asked.question), reply.usage


def _reply_fault(reply: str, question: AnyQuestion) -> str:
    """Why a reply that goes by the prose alone does not give the key; empty if it does."""
    if isinstance(question, KeyedQuestion):
        graded = read_graded(reply, question)
        if not graded.read:
            return "it could not be checked: the reply has no answer on a line 'ANSWER: '"
        right = graded.score >= RIGHT[question.kind]
        return "" if right else f"it leads to another answer than {question.key_text}"
    choice = read_choice(reply, question)
    found = choice.letter
    if found == question.answer:
        return ""
    if not choice.read:
        return "it could not be checked: the reply names no option on a line 'ANSWER: B'"
    return f"it leads to {f'option {found}' if found else 'no option'}, and the key is {question.answer}"


PROMPT = """\
Below is a multiple-choice question about a video that you cannot see, and what somebody thought who watched it.

{question}

What was thought:

{prose}

Which option follows from these thoughts? Go by them alone, and not by what is likely. End with the line "ANSWER: " \
followed by the letter of that option, or by "none" where none follows."""

PROSE_KEYED = """\
Below is a question about a video that you cannot see, and what somebody thought who watched it.

{question}

What was thought:

{prose}

Which answer follows from these thoughts? Go by them alone, and not by what is likely. End with the line "ANSWER: " \
followed by the answer alone, or by "none" where none follows."""

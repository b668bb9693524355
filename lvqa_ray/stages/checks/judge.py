"""Rubric check (LLM as a judge): whether a question has any fault of a rubric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.llm.messages import Text
from lvqa_ray.qa.context_windows import captions_for_question
from lvqa_ray.qa.rubric import read_points
from lvqa_ray.records import AskedQuestion, QuestionedVideo, Verdict
from lvqa_ray.stage import CallCheck, Chat, Role


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckJudge(CallCheck):
    """Ask in one call which faults of a rubric a question has.

    The verdict's score is the share of faults that it does not have.
    """

    name: ClassVar[str] = "judge"
    role: ClassVar[Role] = "checker"
    version: ClassVar[str] = "judge/1"
    usual_reply_tokens: ClassVar[int] = 120
    known: ClassVar[tuple[str, ...]] = ("captions", "question", "rubric", "lines", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question", "rubric", "lines")

    policy: Literal["off", "mark", "drop"] = Field(
        default="off",
        description="Action on a question that has a fault of the rubric: off, mark or drop.",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {question} (with key and reasoning), {rubric} and {lines} (the reply "
        "format), all required; {captions}, {video_id}.",
    )
    rubric: dict[str, str] = Field(
        default_factory=lambda: dict(RUBRIC), description="Faults to look for: name and definition of each."
    )

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Judge by the faults in the reply; see `CallCheck`."""
        # A fixed order, so that equivalent jobs send the same requests.
        points = [*(name for name in RUBRIC if name in self.rubric), *sorted(set(self.rubric) - set(RUBRIC))]
        values = {
            "captions": captions_for_question(row.film, asked.question.steps),
            "question": asked.reasoning,
            "rubric": "\n".join(f"{_shown(name)}: {self.rubric[name]}" for name in points),
            "lines": "\n".join(f"{_shown(name)}: <yes or no> - <why, in one sentence>" for name in points),
            "video_id": row.film.video.id,
        }
        # Shown with its key, a question without options needs no other words.
        prompt = self.prompt if asked.question.kind == "choice" else self.prompt.replace("multiple-choice ", "")
        parts = [Text(text=self.filled(values, prompt))]
        reply = await self.read(chat, parts, lambda text: read_points(text, self.rubric), values)
        if reply.value is None:
            return Verdict(check=self.name, passed=False, reason=reply.fault, usage=reply.usage)
        found = reply.value
        reason = "; ".join(f"{name}: {why}" if why else name for name, why in found.items())
        score = round(1 - len(found) / max(1, len(self.rubric)), 3)
        return Verdict(check=self.name, passed=not found, reason=reason, score=score, tries=1, usage=reply.usage)


def _shown(name: str) -> str:
    return name.replace("_", " ").upper()


RUBRIC: Mapping[str, str] = {
    "ambiguous": "two options could be defended, none is right, or it is not clear which moment or whom it is about",
    "common_sense_only": "somebody who never saw the video would pick the right option, as it is what usually is so",
    "subjective": "the answer is a matter of taste or opinion, or guesses at feelings that cannot be seen or heard",
    "outside_knowledge": "the answer needs a fact that the video does not give, such as who made it",
}

PROMPT = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

This multiple-choice question was written for people who watch the video and have never seen the descriptions:

{question}

Say of each of these faults whether the question has it. Be strict, and name a fault only where you can say what is \
wrong.

{rubric}

Reply with these lines and with nothing else:

{lines}"""

"""Whether a question is worth asking, by a rubric."""

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
    """Ask once whether any point of a rubric holds of a question: each of them is a fault.

    The verdict's score is the share of the points that do not hold.
    """

    name: ClassVar[str] = "judge"
    role: ClassVar[Role] = "checker"
    version: ClassVar[str] = "judge/1"
    known: ClassVar[tuple[str, ...]] = ("captions", "question", "rubric", "lines", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question", "rubric", "lines")

    policy: Literal["off", "mark", "drop"] = Field(
        default="off",
        description="What is done about a question of which a point of the rubric holds: off, mark, drop.",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="What to ask. Placeholders: {question} (with its key and reasons), {rubric} and {lines} (how to "
        "reply), all needed; {captions}, {video_id}.",
    )
    rubric: dict[str, str] = Field(
        default_factory=lambda: dict(RUBRIC), description="The faults to look for: a name and what it means, each."
    )

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Which points hold; see `CallCheck`."""
        # In one order, however the job is written: jobs that say the same ask the same.
        points = [*(name for name in RUBRIC if name in self.rubric), *sorted(set(self.rubric) - set(RUBRIC))]
        values = {
            "captions": captions_for_question(row.film, asked.question.steps),
            "question": asked.reasoning,
            "rubric": "\n".join(f"{_shown(name)}: {self.rubric[name]}" for name in points),
            "lines": "\n".join(f"{_shown(name)}: <yes or no> - <why, in one sentence>" for name in points),
            "video_id": row.film.video.id,
        }
        said = await self.read(chat, [Text(text=self.filled(values))], lambda text: read_points(text, self.rubric))
        if said.value is None:
            return Verdict(check=self.name, passed=False, reason=said.fault, usage=said.usage)
        found = said.value
        told = "; ".join(f"{name}: {why}" if why else name for name, why in found.items())
        score = round(1 - len(found) / max(1, len(self.rubric)), 3)
        return Verdict(check=self.name, passed=not found, reason=told, score=score, tries=1, usage=said.usage)


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

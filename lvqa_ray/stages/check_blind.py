"""Whether a question can be answered without the video."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.llm.messages import ChatReply, Text
from lvqa_ray.llm.tally import tally
from lvqa_ray.records import AskedQuestion, Film, Verdict
from lvqa_ray.stage import CallCheck, Chat, Role


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckBlind(CallCheck):
    """Ask for the answer with nothing but the question, over several orders of the options.

    The verdict's score is the share of tries that found the key; a quarter is chance. Three of five are too many, as
    in CinePile 2.0.
    """

    name: ClassVar[str] = "blind"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "blind/1"
    known: ClassVar[tuple[str, ...]] = ("question", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question",)

    policy: Literal["off", "mark", "drop"] = Field(
        default="off", description="What is done about a question that can be guessed: off, mark or drop."
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT, description="What to ask. Placeholders: {question} (needed), {video_id}."
    )
    tries: int = Field(default=5, ge=1, le=20, description="How often it is asked, each time in another order.")
    threshold: float = Field(
        default=0.6, gt=0, le=1, description="The share of right guesses at which a question can be guessed."
    )

    async def judge(self, asked: AskedQuestion, film: Film, chat: Chat) -> Verdict:
        """Whether too many guesses are right."""

        async def ask(question: str, attempt: int) -> ChatReply:
            prompt = self.filled({"question": question, "video_id": film.video.id})
            return await chat(self.asks(Text(text=prompt), attempt=attempt))

        found = await tally(asked.question, self.tries, ask)
        guessed = found.rate >= self.threshold
        return Verdict(
            check=self.name,
            passed=not guessed,
            reason=f"{found.right} of {found.tries} guesses without the video are right" if guessed else "",
            score=found.rate,
            tries=found.tries,
            usage=found.usage,
        )


PROMPT = """\
Below is a multiple-choice question about a video that you cannot see. Use what the question and its options let \
you guess, and what is likely in general.

{question}

Exactly one option is right. Reply with the line "ANSWER: " followed by the letter of your best guess, and with \
nothing else."""

"""Solve check: whether the captions lead to the key, and how difficult the question is."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.llm.messages import ChatReply, Text
from lvqa_ray.qa.context_windows import captions_for_question, captions_without_key
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.repeated_answers import ask_repeatedly
from lvqa_ray.qa.traces import traces_of
from lvqa_ray.records import AskedQuestion, CaptionedVideo, QuestionedVideo, Verdict
from lvqa_ray.stage import CallCheck, Chat, Role


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckSolve(CallCheck):
    """Ask for the answer from the captions, without the key, over several orders of the options.

    The verdict's score is the share of readable replies that chose the key: the difficulty. At `least` or below, the
    key is probably wrong or needs facts without captions; above `most`, the question is too easy. If fewer than half of
    the replies are readable, the verdict has no score and does not pass.
    """

    name: ClassVar[str] = "solve"
    role: ClassVar[Role] = "checker"
    version: ClassVar[str] = "solve/1"
    usual_reply_tokens: ClassVar[int] = 200
    known: ClassVar[tuple[str, ...]] = ("question", "captions", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question", "captions")

    policy: Literal["off", "mark", "drop"] = Field(
        default="drop",
        description="Action on a question whose answers are not its key: off, mark or drop.",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {question} and {captions} (required), {video_id}.",
    )
    tries: int = Field(
        default=3,
        ge=1,
        le=20,
        description="How often the question is answered, each time with another order of the options.",
    )
    least: float = Field(
        default=0.5, ge=0, lt=1, description="The share of answers that are the key must be greater than this."
    )
    most: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Maximum share of answers that are the key; less than 1 drops easy questions.",
    )

    @property
    def calls(self) -> int:
        """See `CallCheck`."""
        return self.tries

    def shown(self, asked: AskedQuestion, film: CaptionedVideo) -> str:
        """The captions that the model sees."""
        return captions_for_question(film, asked.question.steps)

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Judge by the share of correct answers."""

        async def ask(question: str, attempt: int) -> ChatReply:
            values = {
                "question": question,
                "captions": self.shown(asked, row.film),
                "video_id": row.film.video.id,
            }
            prompt = self.prompt if asked.question.kind == "choice" else SOLVE_KEYED
            return await chat(self.asks(Text(text=self.filled(values, prompt)), attempt=attempt, facts=values))

        found = await ask_repeatedly(asked.question, self.tries, ask)
        if found.unread:
            return self.unchecked(found.unread, found.usage)
        passed = self.least < found.rate <= self.most
        return Verdict(
            check=self.name,
            passed=passed,
            reason="" if passed else f"{found.right} of {found.tries} answers from the captions are its key",
            score=found.rate,
            tries=found.tries,
            usage=found.usage,
            traces=traces_of(self.name, asked.question, found.attempts, "captions"),
        )


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckUnaided(CheckSolve):
    """Have questions about long videos answered from windows that are chosen by their words, without the key.

    `CheckSolve` shows the windows that the reasoning cites, which makes a question easier than it is. The verdict's
    score is the share of right answers; every question passes. Questions about videos whose captions fit into one
    prompt are not asked: the verdict has no score.
    """

    name: ClassVar[str] = "unaided"
    version: ClassVar[str] = "unaided/1"

    policy: Literal["off", "mark"] = Field(
        default="off", description="mark: measure the share of right answers; off: do not."
    )

    def shown(self, asked: AskedQuestion, film: CaptionedVideo) -> str:
        """See `CheckSolve`."""
        return captions_without_key(film, full_question(asked.question))

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Measure the share of right answers."""
        if not row.film.overview:
            return self.passed()
        return replace(await super().judge(asked, row, chat), passed=True, reason="")


PROMPT = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

Answer this multiple-choice question about the video, going by these descriptions alone:

{question}

Exactly one option is right. Think it through, then end with the line "ANSWER: " followed by its letter."""

SOLVE_KEYED = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

Answer this question about the video, going by these descriptions alone:

{question}

Think it through, then end with the line "ANSWER: " followed by the answer alone."""

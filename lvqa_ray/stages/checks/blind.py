"""Whether a question can be answered without the video."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.llm.messages import ChatReply, Text
from lvqa_ray.qa.repeated_answers import RepeatedAnswers, ask_repeatedly
from lvqa_ray.records import AskedQuestion, QuestionedVideo, Verdict
from lvqa_ray.stage import CallCheck, Chat, Policy, Role


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckBlind(CallCheck):
    """Ask for the answer with nothing but the question, over several orders of the options.

    The verdict's score is the share of readable replies that found the key; a quarter is chance. Four tries bring
    every option to every place, so that a liking for a letter is right once; three of them are too many. (CinePile 2.0
    takes three of five.) With ``repair``, what the guesses rest on goes back to who wrote the question. Where fewer
    than half of the replies can be read, nothing was measured: there is no score, and it is no pass.
    """

    name: ClassVar[str] = "blind"
    role: ClassVar[Role] = "checker"
    version: ClassVar[str] = "blind/2"
    known: ClassVar[tuple[str, ...]] = ("question", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question",)

    policy: Policy = Field(
        default="drop",
        description="What is done about a question that can be guessed: off, mark, repair (write it anew) or drop.",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT, description="What to ask. Placeholders: {question} (needed), {video_id}."
    )
    tries: int = Field(default=4, ge=1, le=20, description="How often it is asked, each time in another order.")
    threshold: float = Field(
        default=0.75, gt=0, le=1, description="The share of right guesses at which a question can be guessed."
    )

    @property
    def calls(self) -> int:
        """See `CallCheck`."""
        return self.tries

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Whether too many guesses are right."""

        async def ask(question: str, attempt: int) -> ChatReply:
            prompt = self.filled({"question": question, "video_id": row.film.video.id})
            return await chat(self.asks(Text(text=prompt), attempt=attempt))

        found = await ask_repeatedly(asked.question, self.tries, ask)
        if found.unread:
            return self.unchecked(found.unread, found.usage)
        guessed = found.rate >= self.threshold
        return Verdict(
            check=self.name,
            passed=not guessed,
            reason=_told(found) if guessed else "",
            score=found.rate,
            tries=found.tries,
            usage=found.usage,
        )


def _told(found: RepeatedAnswers) -> str:
    """What can be guessed, and how: in the words of the shortest right guess that gives a reason."""
    said = min((text for text in found.rationales if text), key=len, default="")
    why = f"; one says: {said}" if said else ""
    return f"{found.right} of {found.tries} guesses without the video are right{why}"


PROMPT = """\
Below is a multiple-choice question about a video that you cannot see. Use what the question and its options let \
you guess, and what is likely in general.

{question}

Exactly one option is right. Say in one sentence what your best guess rests on, without naming an option by its \
letter. Then end with the line "ANSWER: " followed by the letter of that option."""

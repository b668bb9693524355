"""Blind check: whether a model can answer a question without the video."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.llm.messages import ChatReply, Text
from lvqa_ray.qa.grading import RIGHT, middle_of, temporal_iou
from lvqa_ray.qa.repeated_answers import RepeatedAnswers, ask_repeatedly
from lvqa_ray.records import AskedQuestion, KeyedQuestion, QuestionedVideo, SpanKey, Verdict
from lvqa_ray.stage import CallCheck, Chat, Policy, Role


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckBlind(CallCheck):
    """Ask for the answer with only the question, over several orders of the options.

    The verdict's score is the share of readable replies that chose the key; chance is 0.25. Four tries put every option
    in every position, so a preference for a letter is correct once; three correct replies are a fault (CinePile 2.0
    uses three of five). With ``repair``, the writer of the question gets the rationale of a guess. If fewer than half
    of the replies are readable, the verdict has no score and does not pass. Time spans that a guess of the middle half,
    or of all of the video, meets are a fault without a call.
    """

    name: ClassVar[str] = "blind"
    role: ClassVar[Role] = "checker"
    version: ClassVar[str] = "blind/2"
    usual_reply_tokens: ClassVar[int] = 50
    known: ClassVar[tuple[str, ...]] = ("question", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question",)

    policy: Policy = Field(
        default="drop",
        description="Action on a question that can be guessed: off, mark, repair (rewrite it) or drop.",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT, description="Prompt. Placeholders: {question} (required), {video_id}."
    )
    tries: int = Field(
        default=4,
        ge=1,
        le=20,
        description="How often the question is answered, each time with another order of the options.",
    )
    threshold: float = Field(
        default=0.75, gt=0, le=1, description="Share of correct guesses from which a question counts as guessable."
    )

    @property
    def calls(self) -> int:
        """See `CallCheck`."""
        return self.tries

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Judge by the share of correct guesses."""

        async def ask(question: str, attempt: int) -> ChatReply:
            values = {"question": question, "video_id": row.film.video.id}
            prompt = self.prompt if asked.question.kind == "choice" else BLIND_KEYED
            return await chat(self.asks(Text(text=self.filled(values, prompt)), attempt=attempt, facts=values))

        if by_length := _middle_fault(asked, row.film.info.duration_sec):
            return self.failed(by_length)
        found = await ask_repeatedly(asked.question, self.tries, ask)
        if found.unread:
            return self.unchecked(found.unread, found.usage)
        guessed = found.rate >= self.threshold
        return Verdict(
            check=self.name,
            passed=not guessed,
            reason=_reason(found) if guessed else "",
            score=found.rate,
            tries=found.tries,
            usage=found.usage,
        )


def _middle_fault(asked: AskedQuestion, duration_s: float) -> str:
    """Why time spans need no look at the video: a guess of its middle half, or of all of it, is right."""
    question = asked.question
    if not isinstance(question, KeyedQuestion) or not isinstance(question.key, SpanKey):
        return ""
    for share, what in ((0.5, "the middle half of the video"), (1.0, "the whole video")):
        if (score := temporal_iou([middle_of(duration_s, share)], question.key.spans)) >= RIGHT["span"]:
            return f"{what} overlaps its answer by {score:.2f}, so a guess is right"
    return ""


def _reason(found: RepeatedAnswers) -> str:
    """Number of correct guesses, with the shortest rationale of one."""
    rationale = min((text for text in found.rationales if text), key=len, default="")
    why = f"; one says: {rationale}" if rationale else ""
    return f"{found.right} of {found.tries} guesses without the video are right{why}"


PROMPT = """\
Below is a multiple-choice question about a video that you cannot see. Use what the question and its options let \
you guess, and what is likely in general.

{question}

Exactly one option is right. Say in one sentence what your best guess rests on, without naming an option by its \
letter. Then end with the line "ANSWER: " followed by the letter of that option."""

BLIND_KEYED = """\
Below is a question about a video that you cannot see. Use what the question lets you guess, and what is likely in \
general.

{question}

Say in one sentence what your best guess rests on. Then end with the line "ANSWER: " followed by the answer alone."""

"""Multi-hop check: whether a question needs several moments of the video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.messages import ChatReply, Text
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.context_windows import captions_of_steps, captions_without_steps
from lvqa_ray.qa.repeated_answers import RepeatedAnswers, ask_repeatedly
from lvqa_ray.records import (
    AskedQuestion,
    CaptionedVideo,
    Failure,
    Question,
    QuestionedVideo,
    ReasoningStep,
    Usage,
    Verdict,
    hops,
)
from lvqa_ray.stage import CallCheck, Chat, Check, CostMeter, Repairer, Role

Probe = Literal["single_span", "leave_out", "summary_only", "options_only"]
HopsPolicy = Literal["off", "mark", "drop"]


def _few(asked: AskedQuestion, least: int) -> str:
    """The fault of a question that cites too few moments; empty for none."""
    count = len(hops(asked.question))
    moments = "one moment" if count == 1 else f"{count} separate moments"
    return "" if count >= least else f"its reasoning cites {moments}, and {least} are needed"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CountHops(Check):
    """Count the separate moments that the reasoning cites; the verdict's score is their number."""

    name: ClassVar[str] = "hops"

    policy: HopsPolicy = Field(default="mark", description="Action on a fault.")
    least: int = Field(default=2, ge=1, description="Least number of moments.")

    def judge(self, asked: AskedQuestion, video: CaptionedVideo) -> Verdict:  # noqa: ARG002 - only spans count
        """Compare the number of moments."""
        fault, count = _few(asked, self.least), float(len(hops(asked.question)))
        return self.failed(fault, count) if fault else self.passed(count)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckHops(CallCheck):
    """Require several cited moments, and that a checker cannot answer from less than all of them.

    Each probe shows the checker only a part: one cited moment at a time, everything but the cited moments, a short
    summary, or the options alone. A question that the checker answers from such a part is no multi-hop question. The
    checker may say that the part does not tell, so that it need not guess. The verdict's score is the highest share of
    right answers of all probes; without probes, the number of moments.
    """

    name: ClassVar[str] = "hops"
    role: ClassVar[Role] = "checker"
    version: ClassVar[str] = "hops/1"
    usual_reply_tokens: ClassVar[int] = 120
    known: ClassVar[tuple[str, ...]] = ("question", "captions", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question", "captions")

    policy: HopsPolicy = Field(
        default="mark", description="Action on a question that does not need several moments: off, mark or drop."
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt of the probes. Placeholders: {question} and {captions} (required), {video_id}.",
    )
    least: int = Field(
        default=2,
        ge=1,
        description="Least number of separate moments that the reasoning cites; spans that touch are one moment.",
    )
    probes: tuple[Probe, ...] = Field(
        default=(),
        description="Parts of the video from which the checker must not find the answer: single_span (one cited moment "
        "at a time), leave_out (all but the cited moments), summary_only, options_only. Empty to count moments only.",
    )
    tries: int = Field(
        default=3, ge=1, le=20, description="How often a question is answered per probe, with rotated options."
    )
    threshold: float = Field(
        default=0.75, gt=0, le=1, description="Share of right answers at which a part counts as sufficient."
    )

    @property
    def counting(self) -> CountHops:
        """The check without probes, which makes no call."""
        return CountHops(policy=self.policy, least=self.least)

    @property
    def calls(self) -> int:
        """See `CallCheck`."""
        return self.tries * sum(USUAL_HOPS if probe == "single_span" else 1 for probe in self.probes)

    @property
    def reads(self) -> int:
        """See `CallCheck`; the other probes show few captions."""
        return self.tries * ("leave_out" in self.probes)

    @property
    def video_calls(self) -> int:
        """See `CallCheck`: the summary."""
        return int("summary_only" in self.probes)

    async def __call__(
        self, row: QuestionedVideo, chat: Chat, repairer: Repairer | None = None
    ) -> list[QuestionedVideo | Failure]:
        """See `CallCheck`; the summary is written once per video, and the first verdict carries its cost."""
        if not row.questions or "summary_only" not in self.probes:
            return await super().__call__(row, chat, repairer)
        paid = CostMeter(chat)
        try:
            summary = row.film.overview or await self._summary(row, paid)
        except ApiError as error:
            if error.retryable:
                failure = Failure.of(error, video=row.film.video, stage=self.name)
                return [replace(failure, usage=row.usage + paid.by(error), requested=row.requested)]
            summary = ""
        (judged,) = await super().__call__(replace(row, summary=summary), chat, repairer)
        if isinstance(judged, Failure):
            return [replace(judged, usage=judged.usage + paid.usage)]
        return [_with_usage(replace(judged, summary=""), row.questions[0].id, paid.usage)]

    async def _summary(self, row: QuestionedVideo, chat: Chat) -> str:
        request = self.asks(
            Text(text=SUMMARY_OF_CAPTIONS.replace("{captions}", row.film.captions)), facts={"summary": True}
        )
        return strip_thinking((await chat(request)).text).strip()

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Count the moments, then probe, the cheapest probe first, until one suffices."""
        if few := _few(asked, self.least):
            return self.failed(few, float(len(hops(asked.question))))
        usage, best, tries, unread = Usage(), None, 0, ""
        for what, captions, question in self._shown(asked, row):
            found = await self._answered(question, captions, row, chat)
            usage, tries = usage + found.usage, tries + found.tries
            if found.unread:
                unread = found.unread
                continue
            best = max(best or 0.0, found.rate)
            if found.rate >= self.threshold:
                reason = f"{what} suffices: {found.right} of {found.tries} answers are right"
                return Verdict(check=self.name, passed=False, reason=reason, score=best, tries=tries, usage=usage)
        if best is None and unread:
            return self.unchecked(unread, usage)
        return Verdict(check=self.name, passed=True, score=best, tries=tries, usage=usage)

    def _shown(self, asked: AskedQuestion, row: QuestionedVideo) -> Iterator[tuple[str, str, AskedQuestion]]:
        """What each probe shows: in words, the captions, and the question."""
        film, steps = row.film, asked.question.steps
        if "options_only" in self.probes and isinstance(asked.question, Question):
            bare = replace(asked.question, question=WITHOUT_STEM)
            yield "what the options say", NO_CAPTIONS, replace(asked, question=bare)
        if "summary_only" in self.probes and row.summary:
            yield "a summary of the video", row.summary, asked
        if "leave_out" in self.probes:
            yield "what is outside of the cited moments", captions_without_steps(film, steps) or NO_CAPTIONS, asked
        if "single_span" in self.probes:
            for group in _by_hop(asked):
                where = (
                    f"the moment {group[0].timestamp}" if len(group) == 1 else f"the moment from {group[0].start_s:g} s"
                )
                yield where, captions_of_steps(film, group) or NO_CAPTIONS, asked

    async def _answered(self, asked: AskedQuestion, captions: str, row: QuestionedVideo, chat: Chat) -> RepeatedAnswers:
        async def ask(question: str, attempt: int) -> ChatReply:
            values = {"question": question, "captions": captions, "video_id": row.film.video.id}
            return await chat(self.asks(Text(text=self.filled(values)), attempt=attempt, facts=values))

        return await ask_repeatedly(asked.question, self.tries, ask)


def _by_hop(asked: AskedQuestion) -> list[list[ReasoningStep]]:
    """The steps of a question, grouped by the moment that they cite."""
    groups: list[list[ReasoningStep]] = []
    for moment in hops(asked.question):
        groups.append([step for step in asked.question.steps if moment.start_s <= step.span.start_s <= moment.end_s])
    return groups


def _with_usage(row: QuestionedVideo, row_id: str, usage: Usage) -> QuestionedVideo:
    """Add the cost of the summary to the last verdict of a question, kept or dropped."""

    def added(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
        return (*verdicts[:-1], replace(verdicts[-1], usage=verdicts[-1].usage + usage))

    questions = tuple(replace(one, verdicts=added(one.verdicts)) if one.id == row_id else one for one in row.questions)
    drops = tuple(replace(one, verdicts=added(one.verdicts)) if one.id == row_id else one for one in row.drops)
    return replace(row, questions=questions, drops=drops)


USUAL_HOPS = 3
"""Usual number of moments that a question cites."""
NO_CAPTIONS = "(none)"
WITHOUT_STEM = "(The question is not shown. Which of these is its right answer?)"

PROMPT = """\
Below are descriptions of some parts of a video, in the order of time; what happens in the rest is not known.

{captions}

A question about the whole video:

{question}

Answer it only if these descriptions tell the answer. Think it through, then end with the line "ANSWER: " followed by \
the letter of the right option, or by the answer alone where there are no options, or by "none" where the \
descriptions do not tell."""

SUMMARY_OF_CAPTIONS = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

Sum up in at most five sentences what the video is about and how it goes on, as the text on its cover would. Reply \
with these sentences alone."""

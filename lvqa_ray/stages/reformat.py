"""Reformat stage: video with questions -> finished records."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import ClassVar, Literal, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.messages import ChatRequest, Text
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.rewording import reason_text, replace_caption_mentions
from lvqa_ray.records import (
    AskedQuestion,
    Drop,
    Failure,
    FinishedVideo,
    QuestionedVideo,
    ReasoningStep,
    Record,
    Trace,
    Usage,
    Verdict,
    Video,
)
from lvqa_ray.records.questions import best_trace
from lvqa_ray.stage import Chat, CostMeter, Prompted, Role, answer, reask


class ProseCheck(Protocol):
    """Check of rewritten reasoning; its policy is off, mark or repair."""

    @property
    def name(self) -> str:
        """Name of the check, in verdicts."""
        ...

    @property
    def policy(self) -> str:
        """Action on a fault."""
        ...

    async def fault(self, asked: AskedQuestion, prose: str, video_id: str, chat: Chat) -> tuple[str, Usage]:
        """The fault of the prose (empty for none) and the usage of the check."""
        ...


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ReformatReasoning(Prompted):
    """Have the listed reasons rewritten as prose for training."""

    name: ClassVar[str] = "reformat"
    role: ClassVar[Role] = "reformat"
    version: ClassVar[str] = "reformat/2"
    usual_reply_tokens: ClassVar[int] = 400
    known: ClassVar[tuple[str, ...]] = ("question", "answer", "reason", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question", "answer", "reason")

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {question}, {answer}, {reason} (required), {video_id}, and those in "
        "`values`.",
    )
    source: Literal["steps", "trace", "both"] = Field(
        default="steps",
        description="What is rewritten: the steps of the question's writer, the best trace of checks.watch, or both. A "
        "question without such a trace is rewritten from its steps, and its note says so.",
    )

    async def __call__(
        self, row: QuestionedVideo, chat: Chat, check: ProseCheck | None = None
    ) -> list[FinishedVideo | Failure]:
        """Finish the video: one record per question, or the failure if none is left.

        With a check, faulty prose is rewritten once or marked, as its policy says. A retryable error fails the video,
        so that a rerun can finish it; a permanent one drops only its question.
        """
        video = row.film.video
        results = await asyncio.gather(*(self._rewritten(row, asked, chat, check) for asked in row.questions))
        failures = [result for result in results if isinstance(result, Failure)]
        if waiting := next((failure for failure in failures if failure.retryable), None):
            return [replace(waiting, usage=row.usage, requested=row.requested)]
        drops = [*row.drops]
        rewritten: list[_Rewritten] = []
        for asked, result in zip(row.questions, results, strict=True):
            if isinstance(result, Failure):
                drops.append(_lost(asked, result))
            else:
                rewritten.append(result)
        captions = sum((clip.usage for clip in row.film.clips), Usage())
        records = tuple(
            Record(
                film=row.film,
                id=one.asked.id,
                category=one.asked.category,
                requested=one.asked.requested,
                group_id=one.asked.group_id,
                reasoning=one.asked.reasoning,
                question=one.asked.question,
                prompt=self.prompt_for(one.asked, video.id),
                full_question=full_question(one.asked.question),
                reformatted_reasoning=one.prose,
                verdicts=one.asked.verdicts,
                note="; ".join(note for note in (row.note, self._note(one.asked)) if note),
                usage={
                    CAPTION: captions.share(index, len(rewritten)),
                    ASK: row.usage.share(index, len(rewritten)),
                    self.name: one.usage,
                },
            )
            for index, one in enumerate(rewritten)
        )
        failure = next(iter(failures), None) or _nothing_left(video, drops) if not records else None
        if failure:  # the drops carry all other usage
            failure = replace(failure, usage=row.usage)
        return [FinishedVideo(video=video, records=records, drops=tuple(drops), failure=failure)]

    async def _rewritten(
        self, row: QuestionedVideo, asked: AskedQuestion, chat: Chat, check: ProseCheck | None
    ) -> _Rewritten | Failure:
        video = row.film.video
        facts = {"answer": asked.question.key_text, "reason": self._reason(asked)}
        source = self._with_trace(asked)
        request = self.asks(Text(text=self.prompt_for(asked, video.id)), facts=facts)
        paid = CostMeter(chat)
        try:
            prose, usage = await self._prose(request, paid)
            if not prose:
                message = "the reply has only reasoning and no answer"
                return Failure(video=video, stage=self.name, kind="empty_reply", message=message, usage=usage)
            if check is None or check.policy == "off":
                return _Rewritten(asked, prose, usage)
            fault, cost = await check.fault(source, prose, video.id, paid)
            verdict = Verdict(check=check.name, passed=not fault, reason=fault, usage=cost)
            if not fault:
                return _Rewritten(_judged(asked, verdict), prose, usage)
            if check.policy == "mark":
                return _Rewritten(_judged(asked, replace(verdict, action="marked")), prose, usage)
            again, more, still = await self._again(reask(request, prose, PROSE_REASK.format(fault=fault)), paid)
            still, cost = (still, Usage()) if still else await check.fault(source, again, video.id, paid)
        except ApiError as error:
            return replace(Failure.of(error, video=video, stage=self.name), usage=paid.by(error))
        verdict = replace(verdict, usage=verdict.usage + cost, action="marked" if still else "repaired")
        if still:  # keep the original reasoning, which passed all other checks
            verdict = replace(verdict, reason=f"{fault}; after being rewritten once more: {still}")
            again = reason_text(asked.question)
        else:
            verdict = replace(verdict, traces=_versions(check.name, asked, (prose, usage), (again, more)))
        return _Rewritten(_judged(asked, verdict), again, usage + more)

    async def _again(self, request: ChatRequest, chat: Chat) -> tuple[str, Usage, str]:
        """The second version, its usage, and its fault if there is none (a permanent error or an empty reply).

        Raises:
            ApiError: A retryable error.
        """
        try:
            prose, usage = await self._prose(request, chat)
        except ApiError as error:
            if error.retryable:
                raise
            return "", Usage.of(error), str(error)
        return prose, usage, "" if prose else "it is empty"

    async def _prose(self, request: ChatRequest, chat: Chat) -> tuple[str, Usage]:
        reply = await answer(chat, request, lambda text: bool(strip_thinking(text)))
        return strip_thinking(reply.text), reply.usage

    def prompt_for(self, asked: AskedQuestion, video_id: str) -> str:
        """The prompt for a question, as sent and stored."""
        values = {
            "question": replace_caption_mentions(full_question(asked.question)),
            "answer": asked.question.key_text,
            "reason": self._reason(asked),
            "video_id": video_id,
        }
        prompt = self.prompt
        if asked.question.kind != "choice":  # a prompt of the job's own is kept
            prompt = prompt.replace("the letter of the right option", "the answer")
        return self.filled(values, prompt)

    def _trace(self, asked: AskedQuestion) -> str:
        """The reasoning of the best trace, if the stage rewrites it; else empty."""
        best = None if self.source == "steps" else best_trace(asked.verdicts)
        return best.reasoning if best else ""

    def _reason(self, asked: AskedQuestion) -> str:
        """The reasoning to rewrite."""
        trace, steps = self._trace(asked), reason_text(asked.question)
        if not trace:
            return steps
        return f"{steps}\n\n{TRACE}\n{trace}" if self.source == "both" else f"Start thinking.\n{trace}"

    def _with_trace(self, asked: AskedQuestion) -> AskedQuestion:
        """The question with the trace as a step, which the rewritten text must agree with."""
        if not (trace := self._trace(asked)):
            return asked
        end_s = max((step.end_s for step in asked.question.steps), default=0.0)
        step = ReasoningStep(timestamp="", start_s=0.0, end_s=end_s, reasons=(trace,))
        steps = (*asked.question.steps, step) if self.source == "both" else (step,)
        return replace(asked, question=replace(asked.question, steps=steps))

    def _note(self, asked: AskedQuestion) -> str:
        return NO_TRACE if self.source != "steps" and not self._trace(asked) else ""


@plain_dataclass(frozen=True, slots=True)
class _Rewritten:
    """A question, its prose and the usage of the rewrite."""

    asked: AskedQuestion
    prose: str
    usage: Usage


def _versions(check: str, asked: AskedQuestion, *versions: tuple[str, Usage]) -> tuple[Trace, ...]:
    """A faulty rewritten text and its repaired version, as traces: a pair for preference training."""
    question, last = full_question(asked.question), len(versions) - 1
    return tuple(
        Trace(
            check=check,
            attempt=number,
            question=question,
            media="reasons",
            text=text,
            answer=asked.question.key_text,
            correct=number == last,
            usage=usage,
        )
        for number, (text, usage) in enumerate(versions)
    )


def _judged(asked: AskedQuestion, verdict: Verdict) -> AskedQuestion:
    return replace(asked, verdicts=(*asked.verdicts, verdict))


def _lost(asked: AskedQuestion, failure: Failure) -> Drop:
    return Drop(
        id=asked.id,
        category=asked.category,
        requested=asked.requested,
        check=failure.stage,
        kind=failure.kind,
        reason=failure.message,
        question=asked.question,
        verdicts=asked.verdicts,
        raw=failure.raw,
        usage=failure.usage,
    )


def _nothing_left(video: Video, drops: Sequence[Drop]) -> Failure:
    """Failure of a video whose questions were all dropped; a rerun of the same job does not help."""
    counts = ", ".join(f"{count} by {check}" for check, count in Counter(drop.check for drop in drops).most_common())
    message = f"none of {len(drops)} questions is left: {counts}; the first: {drops[0].reason}"
    return Failure(video=video, stage=drops[-1].check, kind=NOTHING_LEFT, message=message, attempts=len(drops))


CAPTION, ASK = "caption", "ask"
NO_TRACE = "its reasoning is from the steps, since no answer of checks.watch is correct, clear and explained"
TRACE = "These are the thoughts of somebody who watched the video:"
NOTHING_LEFT = "no_question_left"

PROMPT = """\
Rewrite the reasoning below so that it reads as the thoughts of one person who watches the video and works out the \
answer: looking for the moments that matter, saying what is seen there, and drawing one conclusion after another.

- Keep every fact that the reasoning rests on, and add none.
- Write flowing prose in the order of the argument. No headings, no lists, no "Step 1", no times such as \
"from 10 to 20" or "(0:10-0:20)".
- Speak of the video and what it shows; never of captions, descriptions or given reasons.
- Write in the language of the question.
- End with the conclusion and the letter of the right option.

"question": "{question}"

"answer": "{answer}"

"reason": "{reason}"

Reply with the rewritten reasoning alone, as plain text."""

PROSE_REASK = """\
That cannot be used: {fault}.

Send the whole text again without that fault: every fact of the reasoning, and no other, with nothing before or after \
it."""

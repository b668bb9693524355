"""Base classes of checks: verdicts on the questions of a video, and the policy applied to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field, JsonValue, field_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError, ParseError
from lvqa_ray.llm.messages import Chat, Part
from lvqa_ray.records import (
    NO_USAGE,
    Action,
    AskedQuestion,
    CaptionedVideo,
    Clip,
    Drop,
    Failure,
    QuestionedVideo,
    Usage,
    Verdict,
)
from lvqa_ray.stage.cost_meter import CostMeter
from lvqa_ray.stage.prompted import Prompted

T = TypeVar("T")
Sample = Callable[[Clip], Iterable[Any]]
"""Samples the frames of a clip, as the stage `sample` does."""
Policy = Literal["off", "mark", "repair", "drop"]
"""Action of a check on a fault. off: the check does not run. mark: the fault is noted on the record. repair: the fault
is fixed if that is certain to be right, else the question is dropped. drop: the question is dropped."""


def yaml_off(given: object) -> object:
    """Undo YAML's reading of a bare ``off`` as false."""
    return "off" if given is False else given


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PolicyMixin:
    """Policy of a check, and how it is applied to verdicts.

    Attributes:
        name: Name of the check, in verdicts, drops and counts.
    """

    name: ClassVar[str]

    policy: Policy = Field(
        default="drop", description="Action on a fault: off (the check does not run), mark, repair or drop."
    )

    _off = field_validator("policy", mode="before")(yaml_off)

    def decided(
        self, row: QuestionedVideo, verdicts: Sequence[Verdict], repaired: Sequence[AskedQuestion | None] = ()
    ) -> QuestionedVideo:
        """Apply the policy to each verdict.

        Args:
            row: The video with its questions.
            verdicts: One verdict per question, in order.
            repaired: With the policy ``repair``, the repaired version of each question, or ``None``.
        """
        kept: list[AskedQuestion] = []
        drops = list(row.drops)
        without = [None] * len(verdicts)
        for asked, verdict, new in zip(row.questions, verdicts, repaired or without, strict=True):
            if verdict.passed:
                action: Action = ""
            elif self.policy == "mark":
                action = "marked"
            else:
                action = "repaired" if new else "dropped"
            asked = new or asked  # noqa: PLW2901 - the verdict applies to the repaired version
            judged = (*asked.verdicts, replace(verdict, action=action))
            if action == "dropped":
                drops.append(dropped(replace(asked, verdicts=judged), verdict.reason))
            else:
                kept.append(replace(asked, verdicts=judged))
        return replace(row, questions=tuple(kept), drops=tuple(drops))

    def passed(self, score: float | None = None) -> Verdict:
        """Verdict on a question without a fault."""
        return Verdict(check=self.name, passed=True, score=score)

    def failed(self, reason: str, score: float | None = None) -> Verdict:
        """Verdict on a question with a fault."""
        return Verdict(check=self.name, passed=False, reason=reason, score=score)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Check(PolicyMixin):
    """A check that makes no API call."""

    def __call__(self, row: QuestionedVideo) -> list[QuestionedVideo]:
        """Add the verdicts to the questions of a video, and drop questions as the policy says."""
        verdicts = self.verdicts(row)
        if self.policy != "repair":
            return [self.decided(row, verdicts)]
        faulty = zip(row.questions, verdicts, strict=True)
        repaired = [None if verdict.passed else self.checked_repair(asked, row.film) for asked, verdict in faulty]
        return [self.decided(row, verdicts, repaired)]

    def verdicts(self, row: QuestionedVideo) -> Sequence[Verdict]:
        """One verdict per question, in order. A check that compares questions overrides this."""
        return [self.judge(asked, row.film) for asked in row.questions]

    def judge(self, asked: AskedQuestion, video: CaptionedVideo) -> Verdict:
        """Judge one question."""
        raise NotImplementedError(f"{type(self).__name__} must define judge or verdicts")

    def checked_repair(self, asked: AskedQuestion, video: CaptionedVideo) -> AskedQuestion | None:
        """The repaired question if it passes the check, else ``None``."""
        found = self.repaired(asked, video)
        return found if found is not None and self.judge(found, video).passed else None

    def repaired(self, asked: AskedQuestion, video: CaptionedVideo) -> AskedQuestion | None:  # noqa: ARG002 - for those that can
        """The question without its fault, or ``None`` if no repair is certain to be right."""
        return None


@plain_dataclass(frozen=True, slots=True)
class RepairResult:
    """Result of rewriting a question.

    Attributes:
        asked: The new question with the verdicts of the checks that make no API call; ``None`` if it is unusable.
        reason: Why it is unusable.
        usage: Tokens and cost.
    """

    asked: AskedQuestion | None
    reason: str = ""
    usage: Usage = NO_USAGE


@plain_dataclass(frozen=True, slots=True)
class ParsedReply(Generic[T]):
    """A parsed reply.

    Attributes:
        value: ``None`` if the reply cannot be parsed.
        usage: Tokens and cost.
        fault: Why it cannot be parsed.
    """

    value: T | None
    usage: Usage
    fault: str = ""


class Repairer(Protocol):
    """Rewrites a question that has a fault.

    Raises:
        ApiError: The call failed.
    """

    @property
    def rounds(self) -> int:
        """Maximum number of attempts per question."""
        ...

    async def __call__(
        self, asked: AskedQuestion, row: QuestionedVideo, fault: str, attempt: int, chat: Chat
    ) -> RepairResult:
        """The new question, or why there is none; `attempt` counts from 0."""
        ...


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CallCheck(Prompted, PolicyMixin):
    """A check that asks an endpoint about each question.

    A retryable error fails the video, so that a rerun can finish it. A permanent error becomes a fault of the question
    ("it could not be checked").
    """

    @property
    def calls(self) -> int:
        """Usual number of API calls per question."""
        return 1

    @property
    def reads(self) -> int:
        """How many of these calls send all captions, if the prompt has ``{captions}``."""
        return self.calls

    @property
    def video_calls(self) -> int:
        """Number of further calls per video, each with all captions."""
        return 0

    async def __call__(
        self, row: QuestionedVideo, chat: Chat, repairer: Repairer | None = None
    ) -> list[QuestionedVideo | Failure]:
        """Add the verdicts to the questions of a video, and drop questions as the policy says."""
        verdicts: list[Verdict] = []
        repaired: list[AskedQuestion | None] = []
        for answer in await asyncio.gather(*(self._ruled(asked, row, chat, repairer) for asked in row.questions)):
            if isinstance(answer, Failure):
                return [answer]
            verdicts.append(answer[0])
            repaired.append(answer[1])
        return [self.decided(row, verdicts, repaired)]

    async def _ruled(
        self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat, repairer: Repairer | None
    ) -> tuple[Verdict, AskedQuestion | None] | Failure:
        """The verdict on a question and, if its fault was repaired, the repaired question."""
        paid = CostMeter(chat)
        try:
            verdict = await self.judge(asked, row, paid)
            if verdict.passed or self.policy != "repair" or repairer is None or verdict.reason.startswith(UNCHECKED):
                return verdict, None  # a question that could not be checked has no known fault to repair
            return await self._repaired(asked, row, verdict, chat, repairer)
        except ApiError as error:
            if error.retryable:
                failure = Failure.of(error, video=row.film.video, stage=self.name)
                return replace(failure, usage=row.usage, requested=row.requested)
            reason = f"{UNCHECKED}: {error}"
            return Verdict(check=self.name, passed=False, reason=reason, usage=paid.by(error)), None

    async def _repaired(
        self, asked: AskedQuestion, row: QuestionedVideo, first: Verdict, chat: Chat, repairer: Repairer
    ) -> tuple[Verdict, AskedQuestion | None]:
        """Rewrite a question until it passes or `repairer.rounds` is reached.

        The verdict has the first version's fault, the last version's score and the cost of all rounds. A version that
        could not be judged is skipped: the next is written from the latest judged version and its fault.
        """
        usage, last, latest, reason = first.usage, first, asked, first.reason
        for attempt in range(repairer.rounds):
            try:
                made = await repairer(latest, row, last.reason, attempt, chat)
            except ApiError as error:
                if error.retryable:
                    raise
                made = RepairResult(None, str(error), Usage.of(error))
            usage += made.usage
            if made.asked is None:
                reason = made.reason
                continue
            paid = CostMeter(chat)
            try:
                last = await self.judge(made.asked, row, paid)
            except ApiError as error:
                if error.retryable:
                    raise
                usage += paid.by(error)
                reason = f"it could not be checked: {error}"
                continue
            latest, reason = made.asked, last.reason
            usage += last.usage
            if last.passed:
                return replace(first, score=last.score, tries=last.tries, usage=usage), latest
            if reason.startswith(UNCHECKED):
                break
        reason = f"{first.reason}; after being rewritten: {reason}"
        return replace(first, reason=reason, score=last.score, tries=last.tries, usage=usage), None

    def unchecked(self, why: str, usage: Usage) -> Verdict:
        """Verdict on a question that could not be checked; it does not pass."""
        return Verdict(check=self.name, passed=False, reason=f"{UNCHECKED}: {why}", usage=usage)

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Judge one question of a video.

        Raises:
            ApiError: The call failed.
        """
        raise NotImplementedError(f"{type(self).__name__} must define judge")

    async def read(
        self, chat: Chat, parts: Sequence[Part], reads: Callable[[str], T], facts: Mapping[str, JsonValue] | None = None
    ) -> ParsedReply[T]:
        """Ask and parse the reply; an unparsable reply is requested once more.

        Args:
            chat: The client.
            parts: The user message.
            reads: Parses a reply, or raises a `ParseError`.
            facts: Values in the prompt, for the demo endpoint.

        Raises:
            ApiError: The call failed.
        """
        usage, fault = Usage(), ""
        for attempt in range(2):
            reply = await chat(self.asks(*parts, attempt=attempt, facts=facts))
            usage += reply.usage
            try:
                return ParsedReply(reads(reply.text), usage)
            except ParseError as error:
                fault = f"{UNCHECKED}: {error}"
        return ParsedReply(None, usage, fault)


class SeeingCheck(CallCheck):
    """A check that sends frames, which are decoded from the video file after all other checks.

    Attributes:
        frames: Number of frames per span; a field of the derived class.
    """

    frames: int

    def media_tokens(self, picture: int, film: int) -> int:  # noqa: ARG002 - for checks that send the film
        """Tokens of the media in one request, for estimates.

        Args:
            picture: Tokens of a frame.
            film: Tokens of the whole film as a video.
        """
        return self.frames * picture

    def show(self, row: QuestionedVideo, sample: Sample) -> Iterator[QuestionedVideo | Failure]:
        """The video with frames of the spans that its questions cite, in `QuestionedVideo.shown`, or a failure."""
        raise NotImplementedError(f"{type(self).__name__} must define show")

    def decided(
        self, row: QuestionedVideo, verdicts: Sequence[Verdict], repaired: Sequence[AskedQuestion | None] = ()
    ) -> QuestionedVideo:
        """See `PolicyMixin`; the result has no frames."""
        return replace(super().decided(row, verdicts, repaired), shown=())


UNCHECKED = "it could not be checked"
"""Prefix of the reason of a verdict on a question that could not be checked."""


def dropped(asked: AskedQuestion, reason: str) -> Drop:
    """Row for a question that its last verdict drops."""
    check = asked.verdicts[-1].check
    return Drop(
        id=asked.id,
        category=asked.category,
        requested=asked.requested,
        check=check,
        kind=check,
        reason=reason,
        question=asked.question,
        verdicts=asked.verdicts,
    )

"""What checks have in common: a policy, verdicts on the questions of a film, and what is done about faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError, ParseError
from lvqa_ray.llm.messages import Chat, Part
from lvqa_ray.records import Action, AskedQuestion, CaptionedVideo, Drop, Failure, QuestionedVideo, Usage, Verdict
from lvqa_ray.records.questions import NO_USAGE
from lvqa_ray.stage.cost_meter import CostMeter
from lvqa_ray.stage.prompted import Prompted

T = TypeVar("T")
Policy = Literal["off", "mark", "repair", "drop"]
"""What a check does about a fault: it is not run; the fault is noted on the record; it is mended where that can be done
with certainty, and the question dropped where not; or the question is dropped."""


def yaml_off(given: object) -> object:
    """The word off, where YAML has made a truth value of it."""
    return "off" if given is False else given


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PolicyMixin:
    """What all checks have in common: a policy, and what it makes of their verdicts.

    Attributes:
        name: Name of the check, in verdicts, drops and counts.
    """

    name: ClassVar[str]

    policy: Policy = Field(default="drop", description="What is done about a fault: off, mark, repair or drop.")

    _off = field_validator("policy", mode="before")(yaml_off)

    def decided(
        self, row: QuestionedVideo, verdicts: Sequence[Verdict], mended: Sequence[AskedQuestion | None] = ()
    ) -> QuestionedVideo:
        """Do what the policy says about each verdict.

        Args:
            row: The film with the questions.
            verdicts: One for each of them, in order.
            mended: With the policy ``repair``, each question as it was mended, or nothing where it was not.
        """
        kept: list[AskedQuestion] = []
        drops = list(row.drops)
        without = [None] * len(verdicts)
        for asked, verdict, mend in zip(row.questions, verdicts, mended or without, strict=True):
            if verdict.passed:
                action: Action = ""
            elif self.policy == "mark":
                action = "marked"
            else:
                action = "repaired" if mend else "dropped"
            asked = mend or asked  # noqa: PLW2901 - what is judged from here on
            judged = (*asked.verdicts, replace(verdict, action=action))
            if action == "dropped":
                drops.append(dropped(replace(asked, verdicts=judged), verdict.reason))
            else:
                kept.append(replace(asked, verdicts=judged))
        return replace(row, questions=tuple(kept), drops=tuple(drops))

    def passed(self, score: float | None = None) -> Verdict:
        """The verdict on a sound question."""
        return Verdict(check=self.name, passed=True, score=score)

    def failed(self, reason: str, score: float | None = None) -> Verdict:
        """The verdict on one with a fault."""
        return Verdict(check=self.name, passed=False, reason=reason, score=score)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Check(PolicyMixin):
    """A check that makes no call."""

    def __call__(self, row: QuestionedVideo) -> list[QuestionedVideo]:
        """The film with the verdicts on its questions, and without those that this drops."""
        verdicts = self.verdicts(row)
        if self.policy != "repair":
            return [self.decided(row, verdicts)]
        faulty = zip(row.questions, verdicts, strict=True)
        mended = [None if verdict.passed else self.mended(asked, row.film) for asked, verdict in faulty]
        return [self.decided(row, verdicts, mended)]

    def verdicts(self, row: QuestionedVideo) -> Sequence[Verdict]:
        """A verdict for each question, in order; a check that compares questions overrides this."""
        return [self.judge(asked, row.film) for asked in row.questions]

    def judge(self, asked: AskedQuestion, film: CaptionedVideo) -> Verdict:
        """Say whether one question is sound."""
        raise NotImplementedError(f"{type(self).__name__} must define judge or verdicts")

    def mended(self, asked: AskedQuestion, film: CaptionedVideo) -> AskedQuestion | None:
        """The question without its fault, if `repaired` finds one that passes."""
        found = self.repaired(asked, film)
        return found if found is not None and self.judge(found, film).passed else None

    def repaired(self, asked: AskedQuestion, film: CaptionedVideo) -> AskedQuestion | None:  # noqa: ARG002 - for those that can
        """What the question is like with its fault taken away, or nothing where that cannot be done with certainty."""
        return None


@plain_dataclass(frozen=True, slots=True)
class RepairResult:
    """What came of having a question written anew.

    Attributes:
        asked: The new one with the verdicts of the checks that make no call; ``None`` where it is of no use.
        reason: Why it is of no use.
        usage: What it cost.
    """

    asked: AskedQuestion | None
    reason: str = ""
    usage: Usage = NO_USAGE


@plain_dataclass(frozen=True, slots=True)
class ParsedReply(Generic[T]):
    """What a reply says.

    Attributes:
        value: ``None`` where it cannot be read.
        usage: What it cost.
        fault: Why it cannot be read.
    """

    value: T | None
    usage: Usage
    fault: str = ""


class Repairer(Protocol):
    """Has a question written anew, so that it is rid of a fault.

    Raises:
        ApiError: There is no answer.
    """

    @property
    def rounds(self) -> int:
        """How often it may be tried for one question."""
        ...

    async def __call__(
        self, asked: AskedQuestion, row: QuestionedVideo, fault: str, attempt: int, chat: Chat
    ) -> RepairResult:
        """The new question, or why there is none; the attempts on one question are counted from 0."""
        ...


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CallCheck(Prompted, PolicyMixin):
    """A check that asks an endpoint about each question.

    A call that may yet succeed fails the video for now, so that a rerun can finish it; one that never will is a fault
    of its question, which could not be checked.
    """

    @property
    def calls(self) -> int:
        """How many calls a question usually takes."""
        return 1

    async def __call__(
        self, row: QuestionedVideo, chat: Chat, mend: Repairer | None = None
    ) -> list[QuestionedVideo | Failure]:
        """The film with the verdicts on its questions, and without those that this drops."""
        verdicts: list[Verdict] = []
        mended: list[AskedQuestion | None] = []
        for answer in await asyncio.gather(*(self._ruled(asked, row, chat, mend) for asked in row.questions)):
            if isinstance(answer, Failure):
                return [answer]
            verdicts.append(answer[0])
            mended.append(answer[1])
        return [self.decided(row, verdicts, mended)]

    async def _ruled(
        self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat, mend: Repairer | None
    ) -> tuple[Verdict, AskedQuestion | None] | Failure:
        """The verdict on a question and, if it has a fault that could be mended, the question without it."""
        paid = CostMeter(chat)
        try:
            verdict = await self.judge(asked, row, paid)
            if verdict.passed or self.policy != "repair" or mend is None or verdict.reason.startswith(UNCHECKED):
                return verdict, None  # what could not be checked has no fault that a writer could mend
            return await self._repaired(asked, row, verdict, chat, mend)
        except ApiError as error:
            if error.retryable:
                failure = Failure.of(error, video=row.film.video, stage=self.name)
                return replace(failure, usage=row.usage, requested=row.requested)
            reason = f"{UNCHECKED}: {error}"
            return Verdict(check=self.name, passed=False, reason=reason, usage=paid.by(error)), None

    async def _repaired(
        self, asked: AskedQuestion, row: QuestionedVideo, first: Verdict, chat: Chat, mend: Repairer
    ) -> tuple[Verdict, AskedQuestion | None]:
        """Have a question written anew until it passes, for so many rounds; its verdict bears the cost of all of them.

        The verdict says what was wrong at first, and has the score of the question as it is at last. A new version that
        could not be judged is passed over: the next is written from the latest that was, and told what is wrong there.
        """
        usage, last, latest, reason = first.usage, first, asked, first.reason
        for attempt in range(mend.rounds):
            try:
                made = await mend(latest, row, last.reason, attempt, chat)
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
        """The verdict on a question about which nothing could be found out; as where a call fails, it is no pass."""
        return Verdict(check=self.name, passed=False, reason=f"{UNCHECKED}: {why}", usage=usage)

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Say whether one question of a film is sound.

        Raises:
            ApiError: There is no answer, or none that can be read.
        """
        raise NotImplementedError(f"{type(self).__name__} must define judge")

    async def read(self, chat: Chat, parts: Sequence[Part], reads: Callable[[str], T]) -> ParsedReply[T]:
        """What a reply says; one that cannot be read is asked for once more.

        Args:
            chat: Who is asked.
            parts: The user's message.
            reads: Reads a reply; raises a `ParseError` where it cannot.

        Raises:
            ApiError: There is no answer.
        """
        usage, fault = Usage(), ""
        for attempt in range(2):
            reply = await chat(self.asks(*parts, attempt=attempt))
            usage += reply.usage
            try:
                return ParsedReply(reads(reply.text), usage)
            except ParseError as error:
                fault = f"{UNCHECKED}: {error}"
        return ParsedReply(None, usage, fault)


UNCHECKED = "it could not be checked"
"""How the reason of a verdict begins that measured nothing."""


def dropped(asked: AskedQuestion, reason: str) -> Drop:
    """What is left of a question that its last verdict drops."""
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

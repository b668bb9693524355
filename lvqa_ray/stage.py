"""What a stage is.

A stage is a frozen dataclass: its fields are its configuration and its call is its work. It takes one row and gives
0, 1 or more rows, so one shape covers drop, map and flat-map. It never raises for a row: what goes wrong with a row is
a `Failure`, which is a row like any other. What it needs from the world beyond its row, it is handed.

A video stage is called with a row and answers with rows. A chat stage is awaited with a row and a `Chat`, and takes its
prompt handling from `Prompted`. A check looks at the questions of a film, has a policy, and leaves its verdicts on
them: what is done with these is in `Check`, so that a check of one's own is a class with a name and a `judge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Protocol, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError
from lvqa_ray.llm import template
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message, Part
from lvqa_ray.records import Action, AskedFilm, AskedQuestion, Drop, Failure, Film, Usage, Verdict

Role = Literal["vlm", "llm", "reformat"]
Policy = Literal["off", "mark", "repair", "drop"]
"""What a check does about a fault: it is not run; the fault is noted on the record; it is mended where that can be done
with certainty, and the question dropped where not; or the question is dropped."""


class Chat(Protocol):
    """One answered request: cache, limits and retries lie behind this call.

    Raises:
        ApiError: There is no answer, and asking again now will not help.
    """

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Ask and wait for the answer."""
        ...


async def answer(chat: Chat, request: ChatRequest, usable: Callable[[str], bool]) -> ChatReply:
    """The reply to a request. One from the journal that is of no use is asked for anew, if the run does failures again.

    Raises:
        ApiError: There is no answer.
    """
    reply = await chat(request)
    if reply.usage.cached and not usable(reply.text):
        return await chat(replace(request, stale=True))
    return reply


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Prompted:
    """What the stages that ask an endpoint have in common.

    Attributes:
        name: Name of the stage, in the ledger and in failures.
        role: Which endpoint of the job it asks.
        version: Version of the default prompt; part of the cache key.
        known: Placeholders that the stage gives values to.
        required: Placeholders that a prompt must hold to be of use.
    """

    name: ClassVar[str]
    role: ClassVar[Role]
    version: ClassVar[str]
    known: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[tuple[str, ...]] = ()

    prompt: str = Field(default="", description="What to ask.")
    system: str = Field(default="", description="System message; none if empty.")
    values: dict[str, str] = Field(default_factory=dict, description="Values of the prompt's own placeholders.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sampling temperature; the endpoint's default if not set."
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Longest reply (tokens); the endpoint's default if not set."
    )

    @model_validator(mode="after")
    def _fillable(self) -> Self:
        self.check(self.prompt)
        return self

    def check(self, prompt: str) -> None:
        """Refuse a prompt that could not be filled, or that leaves out what it is for.

        Raises:
            ValueError: One sentence that names the placeholder and the mend.
        """
        template.check(prompt, known={*self.known, *self.values}, required=self.required)

    def filled(self, values: Mapping[str, str], prompt: str | None = None) -> str:
        """A prompt, the stage's own if none is given, with its placeholders replaced."""
        return template.fill(self.prompt if prompt is None else prompt, {**values, **self.values})

    def asks(self, *parts: Part, attempt: int = 0) -> ChatRequest:
        """The request that these parts of a user message make."""
        system = (Message.of("system", self.system),) if self.system else ()
        return ChatRequest(
            stage=self.name,
            version=self.version,
            messages=(*system, Message(role="user", parts=parts)),
            attempt=attempt,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Judging:
    """What all checks have in common: a policy, and what it makes of their verdicts.

    Attributes:
        name: Name of the check, in verdicts, drops and counts.
    """

    name: ClassVar[str]

    policy: Policy = Field(default="drop", description="What is done about a fault: off, mark, repair or drop.")

    def decided(self, row: AskedFilm, verdicts: Sequence[Verdict]) -> AskedFilm:
        """Do what the policy says about each verdict."""
        kept: list[AskedQuestion] = []
        drops = list(row.drops)
        for asked, verdict in zip(row.questions, verdicts, strict=True):
            mended = None
            if verdict.passed:
                action: Action = ""
            elif self.policy == "mark":
                action = "marked"
            else:
                mended = self.mended(asked, row.film) if self.policy == "repair" else None
                action = "repaired" if mended else "dropped"
            judged = (*asked.verdicts, replace(verdict, action=action))
            if action == "dropped":
                drops.append(dropped(replace(asked, verdicts=judged), verdict.reason))
            else:
                kept.append(replace(mended or asked, verdicts=judged))
        return replace(row, questions=tuple(kept), drops=tuple(drops))

    def mended(self, asked: AskedQuestion, film: Film) -> AskedQuestion | None:  # noqa: ARG002 - for those that can
        """The question without its fault, or nothing where that cannot be done with certainty."""
        return None

    def passed(self, score: float | None = None) -> Verdict:
        """The verdict on a sound question."""
        return Verdict(check=self.name, passed=True, score=score)

    def failed(self, reason: str, score: float | None = None) -> Verdict:
        """The verdict on one with a fault."""
        return Verdict(check=self.name, passed=False, reason=reason, score=score)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Check(Judging):
    """A check that makes no call."""

    def __call__(self, row: AskedFilm) -> list[AskedFilm]:
        """The film with the verdicts on its questions, and without those that this drops."""
        return [self.decided(row, self.verdicts(row))]

    def verdicts(self, row: AskedFilm) -> Sequence[Verdict]:
        """A verdict for each question, in order; a check that compares questions overrides this."""
        return [self.judge(asked, row.film) for asked in row.questions]

    def judge(self, asked: AskedQuestion, film: Film) -> Verdict:
        """Say whether one question is sound."""
        raise NotImplementedError(f"{type(self).__name__} must define judge or verdicts")

    def mended(self, asked: AskedQuestion, film: Film) -> AskedQuestion | None:
        """The question without its fault, if `repaired` finds one that passes."""
        found = self.repaired(asked, film)
        return found if found is not None and self.judge(found, film).passed else None

    def repaired(self, asked: AskedQuestion, film: Film) -> AskedQuestion | None:  # noqa: ARG002 - for those that can
        """What the question is like with its fault taken away, or nothing where that cannot be done with certainty."""
        return None


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CallCheck(Prompted, Judging):
    """A check that asks an endpoint about each question, `tries` times.

    A call that may yet succeed fails the video for now, so that a rerun can finish it; one that never will is a fault
    of its question, which could not be checked.
    """

    tries: int = Field(default=1, ge=1, le=20, description="How often it is asked.")

    async def __call__(self, row: AskedFilm, chat: Chat) -> list[AskedFilm | Failure]:
        """The film with the verdicts on its questions, and without those that this drops."""
        verdicts: list[Verdict] = []
        for answer in await asyncio.gather(*(self._asked(asked, row.film, chat) for asked in row.questions)):
            if isinstance(answer, Failure):
                return [answer]
            verdicts.append(answer)
        return [self.decided(row, verdicts)]

    async def _asked(self, asked: AskedQuestion, film: Film, chat: Chat) -> Verdict | Failure:
        try:
            return await self.judge(asked, film, chat)
        except ApiError as error:
            if error.retryable:
                return Failure.of(error, video=film.video, stage=self.name)
            reason = f"it could not be checked: {error}"
            return Verdict(check=self.name, passed=False, reason=reason, usage=Usage.of(error))

    async def judge(self, asked: AskedQuestion, film: Film, chat: Chat) -> Verdict:
        """Say whether one question is sound.

        Raises:
            ApiError: There is no answer.
        """
        raise NotImplementedError(f"{type(self).__name__} must define judge")


def dropped(asked: AskedQuestion, reason: str) -> Drop:
    """What is left of a question that its last verdict drops."""
    check = asked.verdicts[-1].check
    return Drop(
        id=asked.id,
        category=asked.category,
        check=check,
        kind=check,
        reason=reason,
        question=asked.question,
        verdicts=asked.verdicts,
    )

"""Repeated answers: asks a model several times with reordered options, and counts the correct replies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lvqa_ray.errors import ApiError, BadRequest, EmptyReply, StopRun
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.qa.formats.answer_choice import Choice, read_choice, read_graded
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.grading import RIGHT
from lvqa_ray.records import LETTERS, NO_USAGE, AnyQuestion, KeyedQuestion, Letter, Question, Usage

T = TypeVar("T")
Order = tuple[Letter, ...]
"""The letter in the question of each option, in the order in which a prompt shows them."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer to a question.

    Attributes:
        number: Index of the attempt.
        order: Order of the options in the prompt; empty for a question without options.
        choice: The answer read from the reply, with the letters of the prompt.
        right: Whether it is the key, or scores at least `RIGHT`; the rate of correct answers counts it.
        exact: Whether it is the key: a right answer to a question without options may differ from it.
        reply: The reply; ``None`` if the call failed.
        error: Kind of the error of a failed call.
        usage: Its usage.
        text: The answer to a question without options; empty for none.
    """

    number: int
    order: Order
    choice: Choice
    right: bool
    exact: bool
    reply: ChatReply | None
    error: str = ""
    usage: Usage = NO_USAGE
    text: str = ""


@dataclass(frozen=True, slots=True)
class RepeatedAnswers:
    """How often the model chose the key.

    Attributes:
        asked: Number of calls.
        tries: Readable answers: they name one option, or decline to choose.
        right: Answers that name the key, or score at least `RIGHT`.
        usage: Total usage.
        rationales: Text before each correct answer, without line breaks; may be empty.
        attempts: All answers in order.
    """

    asked: int
    tries: int
    right: int
    usage: Usage
    rationales: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @classmethod
    def of(cls, attempts: Sequence[Attempt]) -> RepeatedAnswers:
        """Count attempts."""
        right = [one.choice for one in attempts if one.right]
        return cls(
            len(attempts),
            sum(one.choice.read for one in attempts),
            len(right),
            sum((one.usage for one in attempts), Usage()),
            tuple(choice.rationale[:MAX_RATIONALE_CHARS] for choice in right),
            tuple(attempts),
        )

    @property
    def rate(self) -> float:
        """Share of correct answers among the readable ones; valid only if `unread` is empty."""
        return self.right / self.tries

    @property
    def unread(self) -> str:
        """Why the rate is invalid: fewer than half of the answers are readable. Empty if it is valid."""
        if 2 * self.tries >= self.asked and self.tries:
            return ""
        return f"only {self.tries} of {self.asked} replies name an option on a line 'ANSWER: B'"

    def bounds(self, more: int) -> tuple[float, float]:
        """The lowest and the highest rate after some more answers."""
        total = self.tries + more
        return (self.right / total, (self.right + more) / total) if total else (0.0, 1.0)


def grade(reply: str, shown: Question) -> tuple[Choice, bool]:
    """Read the answer in a reply, and whether it is the key of the question as shown."""
    choice = read_choice(reply, shown)
    return choice, choice.letter == shown.answer


def rotation(turns: int) -> Order:
    """The order of the options after a rotation by `turns` positions."""
    return tuple(LETTERS[(place - turns) % len(LETTERS)] for place in range(len(LETTERS)))


def shuffled(q: Question, number: int) -> Order:
    """The order of the options in an attempt: drawn once for the question, then rotated with each attempt.

    Four attempts in a row have the key in all four positions, which cancels a model's preference for a letter.
    """
    text = full_question(q)
    drawn = sorted(LETTERS, key=lambda letter: hashlib.sha256(f"{letter}\n{text}".encode(errors="replace")).digest())
    return tuple(drawn[LETTERS.index(letter)] for letter in rotation(number))


def reorder(q: Question, order: Order) -> Question:
    """The question with its options in another order; the steps are removed."""
    to = dict(zip(order, LETTERS, strict=True))
    return Question(
        question=q.question,
        options={letter: q.options[old] for letter, old in zip(LETTERS, order, strict=True)},
        answer=to[q.answer],
        steps=(),
    )


def rotate_options(q: Question, turns: int) -> Question:
    """Rotate the options by `turns` positions; the steps are removed."""
    return reorder(q, rotation(turns))


async def all_of(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await calls concurrently. If one fails, the others still finish, since they are paid for.

    Raises:
        ApiError: The first failed call, in input order.
    """
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


async def ask_repeatedly(
    q: AnyQuestion, tries: int, ask: Callable[[str, int], Awaitable[ChatReply]]
) -> RepeatedAnswers:
    """Ask several times with rotated options, which cancels a model's preference for a letter.

    A question without options is asked with the same text each time.

    Args:
        q: The question.
        tries: Number of calls.
        ask: Takes the question with its options as one text, and how often this text was asked before.

    Raises:
        ApiError: One of the calls failed.
    """

    async def one(number: int) -> Attempt:
        if isinstance(q, KeyedQuestion):
            return _graded(number, q, await ask(full_question(q), number))
        order = rotation(number)
        shown = reorder(q, order)
        return _answered(number, order, shown, await ask(full_question(shown), number // len(LETTERS)))

    return RepeatedAnswers.of(await all_of(one(number) for number in range(tries)))


async def sample_answers(
    q: AnyQuestion,
    tries: int,
    ask: Callable[[str, int], Awaitable[ChatReply]],
    decided: Callable[[float, float], bool] | None = None,
) -> RepeatedAnswers:
    """Sample answers with shuffled options; one that was cut off, refused or only thought about counts as unreadable.

    Args:
        q: The question.
        tries: Maximum number of calls.
        ask: Takes the question with its options as one text, and the number of the attempt.
        decided: Whether the outcome is certain, given the lowest and the highest possible rate. With it, no more
            answers are requested at once than may be needed.

    Raises:
        ApiError: A call failed, and another attempt would fail in the same way or is worth a retry; or no reply has an
            answer beside its thoughts.
    """
    empty: list[EmptyReply] = []

    async def one(number: int) -> Attempt:
        order: Order = () if isinstance(q, KeyedQuestion) else shuffled(q, number)
        try:
            if isinstance(q, KeyedQuestion):
                return _graded(number, q, await ask(full_question(q), number))
            shown = reorder(q, order)
            return _answered(number, order, shown, await ask(full_question(shown), number))
        except ApiError as error:
            if isinstance(error, EmptyReply):
                empty.append(error)
            elif error.retryable or isinstance(error, BadRequest | StopRun):
                raise
            return Attempt(number, order, Choice(None, read=False), right=False, exact=False, reply=None,
                           error=error.kind, usage=Usage.of(error))  # fmt: skip

    attempts: list[Attempt] = []
    while len(attempts) < tries:
        left = tries - len(attempts)
        wanted = left if decided is None else _needed(RepeatedAnswers.of(attempts), left, decided)
        if not wanted:
            break
        start = len(attempts)
        attempts += await all_of(one(number) for number in range(start, start + wanted))
    if empty and len(empty) == len(attempts):
        raise empty[0]
    return RepeatedAnswers.of(attempts)


def _answered(number: int, order: Order, shown: Question, reply: ChatReply) -> Attempt:
    choice, right = grade(reply.text, shown)
    return Attempt(number, order, choice, right, right, reply, usage=reply.usage)


def _graded(number: int, q: KeyedQuestion, reply: ChatReply) -> Attempt:
    graded = read_graded(reply.text, q)
    choice = Choice(None, graded.read, graded.rationale)
    right = graded.score >= RIGHT[q.kind]
    return Attempt(number, (), choice, right, graded.score >= 1, reply, usage=reply.usage, text=graded.answer)


def _needed(found: RepeatedAnswers, left: int, decided: Callable[[float, float], bool]) -> int:
    """The fewest further answers that may decide the outcome; 0 if it is decided."""
    for more in range(left + 1):
        for right in (0, more):
            then = RepeatedAnswers(found.asked + more, found.tries + more, found.right + right, Usage())
            if decided(*then.bounds(left - more)):
                return more
    return left


MAX_RATIONALE_CHARS = 300
"""Maximum number of characters of a rationale."""

"""Repeated answers: asks a model several times with rotated options, and counts the correct replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.qa.formats.answer_choice import read_choice, read_graded
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.grading import RIGHT
from lvqa_ray.records import LETTERS, AnyQuestion, KeyedQuestion, Letter, Question, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RepeatedAnswers:
    """How often the model chose the key.

    Attributes:
        asked: Number of calls.
        tries: Readable answers: they name one option, or decline to choose.
        right: Answers that name the key, or score at least `RIGHT`.
        usage: Total usage.
        rationales: Text before each correct answer, without line breaks; may be empty.
    """

    asked: int
    tries: int
    right: int
    usage: Usage
    rationales: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Share of correct answers among the readable ones; valid only if `unread` is empty."""
        return self.right / self.tries

    @property
    def unread(self) -> str:
        """Why the rate is invalid: fewer than half of the answers are readable. Empty if it is valid."""
        if 2 * self.tries >= self.asked:
            return ""
        return f"only {self.tries} of {self.asked} replies name an option on a line 'ANSWER: B'"


def rotate_options(q: Question, turns: int) -> Question:
    """Rotate the options by `turns` positions; the steps are removed."""
    to = {letter: LETTERS[(place + turns) % len(LETTERS)] for place, letter in enumerate(LETTERS)}
    options: dict[Letter, str] = {to[letter]: text for letter, text in q.options.items()}
    return Question(
        question=q.question,
        options={letter: options[letter] for letter in LETTERS},
        answer=to[q.answer],
        steps=(),
    )


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
    if isinstance(q, KeyedQuestion):
        return await _ask_keyed(q, tries, ask)
    asked = [rotate_options(q, number) for number in range(tries)]
    replies = await all_of(ask(full_question(one), number // len(LETTERS)) for number, one in enumerate(asked))
    read = [(read_choice(reply.text, one), one) for reply, one in zip(replies, asked, strict=True)]
    right = [choice for choice, one in read if choice.letter == one.answer]
    rationales = tuple(choice.rationale[:MAX_RATIONALE_CHARS] for choice in right)
    return RepeatedAnswers(
        tries,
        sum(choice.read for choice, _ in read),
        len(right),
        sum((reply.usage for reply in replies), Usage()),
        rationales,
    )


async def _ask_keyed(q: KeyedQuestion, tries: int, ask: Callable[[str, int], Awaitable[ChatReply]]) -> RepeatedAnswers:
    replies = await all_of(ask(full_question(q), number) for number in range(tries))
    graded = [read_graded(reply.text, q) for reply in replies]
    right = [one for one in graded if one.score >= RIGHT[q.kind]]
    return RepeatedAnswers(
        tries,
        sum(one.read for one in graded),
        len(right),
        sum((reply.usage for reply in replies), Usage()),
        tuple(one.rationale[:MAX_RATIONALE_CHARS] for one in right),
    )


MAX_RATIONALE_CHARS = 300
"""Maximum number of characters of a rationale."""

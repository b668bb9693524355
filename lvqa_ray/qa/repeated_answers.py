"""Putting a question to a model several times, with its options turned round, and counting how often it is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.qa.formats.answer_choice import read_choice
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.records import LETTERS, Letter, Question, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RepeatedAnswers:
    """How often the key was found.

    Attributes:
        asked: How often it was asked.
        tries: Answers that could be read: they name one option, or say that they choose none.
        right: Those that name the key.
        usage: What they cost.
        rationales: What was said before each right answer, without line breaks; empty where nothing was.
    """

    asked: int
    tries: int
    right: int
    usage: Usage
    rationales: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """The share of right answers among those that could be read; only where `unread` is empty."""
        return self.right / self.tries

    @property
    def unread(self) -> str:
        """Why the rate measures nothing: fewer than half of the answers could be read; empty where it does."""
        if 2 * self.tries >= self.asked:
            return ""
        return f"only {self.tries} of {self.asked} replies name an option on a line 'ANSWER: B'"


def rotate_options(q: Question, turns: int) -> Question:
    """The question with its options moved on by so many places; its steps are left out."""
    to = {letter: LETTERS[(place + turns) % len(LETTERS)] for place, letter in enumerate(LETTERS)}
    options: dict[Letter, str] = {to[letter]: text for letter, text in q.options.items()}
    return Question(
        question=q.question,
        options={letter: options[letter] for letter in LETTERS},
        answer=to[q.answer],
        steps=(),
    )


async def all_of(calls: Iterable[Awaitable[T]]) -> list[T]:
    """What calls come to that are made at once. Should one fail, the others are waited for: they are paid for as well.

    Raises:
        ApiError: The first that failed, in their order.
    """
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


async def ask_repeatedly(q: Question, tries: int, ask: Callable[[str, int], Awaitable[ChatReply]]) -> RepeatedAnswers:
    """Ask several times, each with the options in other places, so that a liking for a letter gains nothing.

    Args:
        q: The question.
        tries: How often to ask.
        ask: Takes question and options as one text, and how often this very text was asked before.

    Raises:
        ApiError: One of the calls gave no answer.
    """
    asked = [rotate_options(q, number) for number in range(tries)]
    replies = await all_of(ask(full_question(one), number // len(LETTERS)) for number, one in enumerate(asked))
    read = [(read_choice(reply.text, one), one) for reply, one in zip(replies, asked, strict=True)]
    right = [choice for choice, one in read if choice.letter == one.answer]
    rationales = tuple(choice.said[:MOST_SAID] for choice in right)
    return RepeatedAnswers(
        tries,
        sum(choice.read for choice, _ in read),
        len(right),
        sum((reply.usage for reply in replies), Usage()),
        rationales,
    )


MOST_SAID = 300
"""Letters of what was said before an answer, which are kept."""


def named_option(reply: str, q: Question) -> Letter | None:
    """The option that a reply names after its last ``ANSWER:``, or alone; nothing where it names none or several."""
    return read_choice(reply, q).letter

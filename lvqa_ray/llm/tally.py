"""Putting a question to a model several times, with its options turned round, and counting how often it is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lvqa_ray.errors import ParseError
from lvqa_ray.llm.draft import without_draft
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.llm.parse import full_question, read_answer, read_label
from lvqa_ray.records import LETTERS, Letter, Question, Usage


@dataclass(frozen=True, slots=True)
class Tally:
    """How often the key was found.

    Attributes:
        tries: Answers that came.
        right: Those that name the key.
        usage: What they cost.
        why: What was said before each right answer, without line breaks; empty where nothing was.
    """

    tries: int
    right: int
    usage: Usage
    why: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """The share of right answers."""
        return self.right / self.tries


def turned(q: Question, turns: int) -> Question:
    """The question with its options moved on by so many places; its steps are left out."""
    to = {letter: LETTERS[(place + turns) % len(LETTERS)] for place, letter in enumerate(LETTERS)}
    options: dict[Letter, str] = {to[letter]: text for letter, text in q.options.items()}
    return Question(
        question=q.question,
        options={letter: options[letter] for letter in LETTERS},
        answer=to[q.answer],
        steps=(),
    )


async def tally(q: Question, tries: int, ask: Callable[[str, int], Awaitable[ChatReply]]) -> Tally:
    """Ask several times, each with the options in other places, so that a liking for a letter gains nothing.

    Args:
        q: The question.
        tries: How often to ask.
        ask: Takes question and options as one text, and how often this very text was asked before.

    Raises:
        ApiError: One of the calls gave no answer.
    """
    asked = [turned(q, number) for number in range(tries)]
    replies = await asyncio.gather(
        *(ask(full_question(one), number // len(LETTERS)) for number, one in enumerate(asked))
    )
    right = [
        reply.text for reply, one in zip(replies, asked, strict=True) if named_option(reply.text, one) == one.answer
    ]
    why = tuple(said_before(text)[:MOST_SAID] for text in right)
    return Tally(tries, len(right), sum((reply.usage for reply in replies), Usage()), why)


MOST_SAID = 300
"""Letters of what was said before an answer, which are kept."""


def said_before(reply: str) -> str:
    """What a reply says before its last ``ANSWER:`` line, on one line; nothing where it has no such line."""
    lines = [line for line in without_draft(reply).splitlines() if line.strip()]
    for place in range(len(lines) - 1, -1, -1):
        label = read_label(lines[place])
        if label is not None and label[0] == "ANSWER":
            return " ".join(" ".join(lines[:place]).split())
    return ""


def named_option(reply: str, q: Question) -> Letter | None:
    """The option that a reply names after its last ``ANSWER:``, or alone; nothing where it names none or several."""
    lines = [line for line in without_draft(reply).splitlines() if line.strip()]
    for place in range(len(lines) - 1, -1, -1):
        label = read_label(lines[place])
        if label is not None and label[0] == "ANSWER":
            lines = [label[1], *lines[place + 1 :]]
            break
    try:
        return read_answer(lines, q.options)
    except ParseError:
        return None

"""Text format of replies with several questions.

Each question begins with ``CATEGORY: <name>`` or, without that line, with its QUESTION label. An unparsable question
does not affect the others: it becomes a `ParsedQuestions` with an error.
"""

# ruff: noqa: RUF001 -- full-width marks are what some models write

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lvqa_ray.errors import ParseError
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.reasoning_steps import without_emphasis
from lvqa_ray.qa.formats.text_format import parse_question, read_label, render_question
from lvqa_ray.records import Question

_CATEGORY = re.compile(r"category\s*[:：]\s*(?P<name>.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ParsedQuestions:
    """One question of a reply, or its parse error.

    Attributes:
        category: Category stated in the reply, or empty.
        text: Its part of the reply.
    """

    category: str
    text: str
    question: Question | None = None
    error: ParseError | None = None


@dataclass(slots=True)
class _Block:
    category: str = ""
    labels: int = 0
    lines: list[str] = field(default_factory=list)


def parse_questions(reply: str) -> list[ParsedQuestions]:
    """Read a reply that should contain several questions.

    Raises:
        ParseError: It contains none; see ``kind``.
    """
    blocks = [block for block in _blocks(strip_thinking(reply).splitlines()) if block.labels]
    if not blocks:
        return [ParsedQuestions("", reply, parse_question(reply))]  # raises the specific error
    return [_read(block) for block in blocks]


def render_questions(questions: Iterable[tuple[str, Question]]) -> str:
    """Write questions, each with its category, so that `parse_questions` reads them.

    Raises:
        ValueError: The format cannot represent one of them.
    """
    return "\n\n".join(f"CATEGORY: {category}\n{render_question(question)}" for category, question in questions)


def _blocks(lines: Iterable[str]) -> list[_Block]:
    blocks = [_Block()]
    heading = False  # whether the last label was a QUESTION with no text yet, such as "### Question 2"
    for line in lines:
        category = _CATEGORY.fullmatch(without_emphasis(line.strip().lstrip("#").lstrip())[0])
        if category is not None:
            if heading:
                blocks.pop()
            blocks.append(_Block(category["name"].strip(" .*`").casefold()))
            heading = False
            continue
        label = read_label(line)
        if label is not None and label[0] == "QUESTION":
            if heading:
                blocks[-1].lines.clear()
            elif blocks[-1].labels:
                blocks.append(_Block())
            heading = not label[1]
        elif line.strip():
            heading = False
        blocks[-1].labels += label is not None
        blocks[-1].lines.append(line)
    return blocks


def _read(block: _Block) -> ParsedQuestions:
    text = "\n".join(block.lines).strip()
    try:
        return ParsedQuestions(block.category, text, parse_question(text))
    except ParseError as error:
        return ParsedQuestions(block.category, text, error=error)

"""Text format of replies with several questions.

Each question begins with ``CATEGORY: <name>`` or, without that line, with its QUESTION label. An unparsable question
does not affect the others: it becomes a `ParsedQuestions` with an error.
"""

# ruff: noqa: RUF001 -- full-width marks are what some models write

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lvqa_ray.errors import ParseError
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.reasoning_steps import without_emphasis, without_invisible
from lvqa_ray.qa.formats.section_labels import read_labels
from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.records import AnyQuestion, Question

_CATEGORY = re.compile(r"(?:category|类别|類別)\s*[:：]\s*(?P<name>.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ParsedQuestions:
    """One question of a reply, or its parse error.

    Attributes:
        category: Category stated in the reply, or empty.
        text: Its part of the reply.
    """

    category: str
    text: str
    question: AnyQuestion | None = None
    error: ParseError | None = None


@dataclass(slots=True)
class _Block:
    category: str = ""
    labels: int = 0
    lines: list[str] = field(default_factory=list)


def parse_questions(reply: str, parse: Callable[[str], AnyQuestion] = parse_question) -> list[ParsedQuestions]:
    """Read a reply that should contain several questions.

    Args:
        reply: The reply.
        parse: Parser of one question.

    Raises:
        ParseError: It contains none; see ``kind``.
    """
    blocks = [block for block in _blocks(strip_thinking(reply).splitlines()) if block.labels]
    if not blocks:
        return [ParsedQuestions("", reply, parse(reply))]  # raises the specific error
    return [_read(block, parse) for block in blocks]


def render_questions(questions: Iterable[tuple[str, Question]]) -> str:
    """Write questions, each with its category, so that `parse_questions` reads them.

    Raises:
        ValueError: The format cannot represent one of them.
    """
    return "\n\n".join(f"CATEGORY: {category}\n{render_question(question)}" for category, question in questions)


def _blocks(lines: Sequence[str]) -> list[_Block]:
    blocks = [_Block()]
    heading = False  # whether the last label was a QUESTION with no text yet, such as "### Question 2"
    for line, label in zip(lines, read_labels(lines), strict=True):
        plain = without_emphasis(without_invisible(line.strip()).lstrip("#").lstrip())[0]
        category = _CATEGORY.fullmatch(plain)
        if category is not None:
            if heading:
                blocks.pop()
            blocks.append(_Block(category["name"].strip(" .*`").casefold()))
            heading = False
            continue
        if label is not None and label.name == "QUESTION":
            if heading:
                blocks[-1].lines.clear()
            elif blocks[-1].labels:
                blocks.append(_Block())
            heading = not label.rest
        elif line.strip():
            heading = False
        blocks[-1].labels += label is not None
        blocks[-1].lines.append(line)
    return blocks


def _read(block: _Block, parse: Callable[[str], AnyQuestion]) -> ParsedQuestions:
    text = "\n".join(block.lines).strip()
    try:
        return ParsedQuestions(block.category, text, parse(text))
    except ParseError as error:
        return ParsedQuestions(block.category, text, error=error)

"""Replies with several questions: where one ends and the next begins, and that one that is broken spoils no other."""

from __future__ import annotations

import pytest

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.qa.formats.multi_question import parse_questions, render_questions
from lvqa_ray.qa.formats.text_format import parse_question

ONE = """\
QUESTION: Why does the man turn back?
OPTIONS:
A. He forgot his hat
B. It begins to rain
C. The dog runs away
D. The road is closed
ANSWER: C
REASONS:
##### From [0 to 10]:
- A man walks a dog
##### From [10 to 20]:
- The dog runs off, and he follows it"""
OTHER = ONE.replace("Why does the man turn back?", "What does the dog do last?")
EXPECTED = [parse_question(ONE), parse_question(OTHER)]


@pytest.mark.parametrize(
    "reply",
    [
        f"CATEGORY: goal\n{ONE}\n\nCATEGORY: temporal\n{OTHER}",
        f"<think>QUESTION: no</think>\nHere:\n\n**Category:** Goal\n{ONE}\n---\n**CATEGORY**: Temporal.\n{OTHER}",
        f"### Question 1\nCATEGORY: goal\n{ONE}\n\n### Question 2\nCATEGORY: temporal\n{OTHER}",
        f"CATEGORY: goal\n### Question 1\n{ONE}\n\nCATEGORY: temporal\n### Question 2\n{OTHER}",
        f"```\nCATEGORY: goal\n{ONE}\n```\n```\nCATEGORY: temporal\n{OTHER}\n```",
        f"CATEGORY: goal\n{ONE}\nCATEGORY: temporal\n{OTHER}\n\nI hope that these are of use.".replace("\n", "\r\n"),
    ],
)
def test_questions_are_told_apart(reply: str) -> None:
    found = parse_questions(reply)
    assert [reading.question for reading in found] == EXPECTED
    assert [reading.category for reading in found] == ["goal", "temporal"]
    assert [parse_question(reading.text) for reading in found] == EXPECTED


def test_categories_may_be_left_out() -> None:
    found = parse_questions(f"{ONE}\n\n{OTHER.replace('QUESTION:', 'QUESTION 2:')}")
    assert [(reading.category, reading.question) for reading in found] == [("", EXPECTED[0]), ("", EXPECTED[1])]


def test_a_broken_one_spoils_no_other() -> None:
    broken = ONE.replace("D. The road is closed\n", "")
    first, second, third = parse_questions(f"CATEGORY: a\n{broken}\n\nCATEGORY: b\n{OTHER}\n\nCATEGORY: c\n{ONE[:60]}")
    assert (first.question, second.question, third.question) == (None, EXPECTED[1], None)
    assert first.error is not None
    assert third.error is not None
    assert (first.error.kind, third.error.kind) == (ParseFault.MISSING_OPTION, ParseFault.TRUNCATED)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("I'm sorry, but I can't do that.", ParseFault.REFUSAL),
        ("A fine day.", ParseFault.NO_QUESTION),
        ("<think>and so on", ParseFault.TRUNCATED),
    ],
)
def test_a_reply_without_a_question_says_what_it_is(reply: str, kind: ParseFault) -> None:
    with pytest.raises(ParseError) as caught:
        parse_questions(reply)
    assert caught.value.kind == kind


def test_what_is_written_is_read_again() -> None:
    given = list(zip(["goal", "temporal"], EXPECTED, strict=True))
    text = render_questions(given)
    assert [(reading.category, reading.question) for reading in parse_questions(text)] == given

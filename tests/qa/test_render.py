"""A question as text: in the documented format, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lvqa_ray.qa.formats.text_format import full_question, render_question
from lvqa_ray.records import Question
from tests.qa.written import EXPECTED, REPLY, with_reasons, with_span


def test_renders_the_documented_format() -> None:
    assert render_question(EXPECTED) == REPLY


def test_full_question_lists_the_options_in_order() -> None:
    shuffled = replace(EXPECTED, options=dict(reversed(EXPECTED.options.items())))
    assert full_question(shuffled) == (
        "What is the person's main goal?\nA. Looking for keys\nB. Reading a book\n"
        "C. Organizing the room\nD. Making a phone call"
    )


CANNOT_BE_CARRIED: dict[str, Question] = {
    "empty question": replace(EXPECTED, question=""),
    "white space at an end": replace(EXPECTED, question="What? "),
    "a carriage return": replace(EXPECTED, question="What?\rWhy?"),
    "a draft tag": replace(EXPECTED, question="What does <think> mean?"),
    "a line that is a label": replace(EXPECTED, question="He says:\nAnswer: what?"),
    "a line that is a rule": replace(EXPECTED, question="This\n---\nor that?"),
    "a line break in an option": replace(EXPECTED, options={**EXPECTED.options, "A": "one\n  two"}),
    "options alike": replace(EXPECTED, options={**EXPECTED.options, "A": "READING a  book"}),
    "three options": replace(EXPECTED, options={"A": "x", "B": "y", "C": "z"}),
    "no steps": replace(EXPECTED, steps=()),
    "no reasons": with_reasons(),
    "a line break in a reason": with_reasons("one\ntwo"),
    "a reason that is a header": with_reasons("From [10 to 20]:"),
    "times that differ from the timestamp": with_span("0 to 10", 0.0, 11.0),
    "an end before the start": with_span("10 to 0", 10.0, 0.0),
}


@pytest.mark.parametrize("question", CANNOT_BE_CARRIED.values(), ids=CANNOT_BE_CARRIED)
def test_what_the_format_cannot_carry_is_not_rendered(question: Question) -> None:
    with pytest.raises(ValueError, match="cannot carry"):
        render_question(question)

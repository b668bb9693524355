"""A JSON object where text was requested is read if it has the fields of the text format, and no other one is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.qa.formats.json_in_text import json_as_text
from lvqa_ray.qa.formats.reply_format import TEXT
from tests.qa.written import EXPECTED

OPTIONS = dict(EXPECTED.options)
STEPS: list[dict[str, Any]] = [
    {"start_s": 0, "end_s": 10, "reasons": ["Person enters room", "Environment shows bookshelf"]},
    {"start_s": 10, "end_s": 20, "reasons": ["Person walks directly to bookshelf", "Picks up and opens a book"]},
]
GOOD: dict[str, Any] = {"question": EXPECTED.question, "options": OPTIONS, "answer": "B", "steps": STEPS}
HEADERS = {f"From [{step['start_s']} to {step['end_s']}]:": step["reasons"] for step in STEPS}
SAME: dict[str, Any] = {
    "the fields of the schema": GOOD,
    "the labels of the text format": {
        "QUESTION": EXPECTED.question, "OPTIONS": OPTIONS, "ANSWER": "B", "REASONS": HEADERS},
    "a list of lettered options": GOOD | {"options": [f"{letter}. {text}" for letter, text in OPTIONS.items()]},
    "a list of bare options": GOOD | {"options": list(OPTIONS.values())},
    "steps with a header": GOOD | {
        "steps": [{"timestamp": f"From [{s['start_s']} to {s['end_s']}]", "reasons": s["reasons"]} for s in STEPS]},
    "lines of the text format": GOOD | {"steps": [
        line for header, reasons in HEADERS.items() for line in (f"##### {header}", *(f"- {one}" for one in reasons))]},
    "a list of one": [GOOD],
    "the field questions": {"questions": [GOOD | {"category": "goal"}]},
}  # fmt: skip


@pytest.mark.parametrize("value", SAME.values(), ids=SAME)
def test_json_reads_like_text(value: Any) -> None:
    for reply in (json.dumps(value), f"<think>hm</think>\n```json\n{json.dumps(value, indent=2)}\n```"):
        (reading,) = TEXT.one.read(reply)
        assert reading.question == EXPECTED
        assert TEXT.one.read(reading.text)[0].question == EXPECTED
        assert TEXT.several.read(reply)[0].question == EXPECTED


OTHER: dict[str, Any] = {
    "a field less": {name: value for name, value in GOOD.items() if name != "answer"},
    "a field more": GOOD | {"note": "x"},
    "three options": GOOD | {"options": ["a", "b", "c"]},
    "options in another order": GOOD | {"options": ["B. b", "A. a", "C. c", "D. d"]},
    "no time": GOOD | {"steps": [{"reasons": ["x"]}]},
    "a letter too many": GOOD | {"answer": "B or C"},
    "a text": "QUESTION",
    "two": [GOOD, GOOD],
}


@pytest.mark.parametrize("value", OTHER.values(), ids=OTHER)
def test_other_json_is_the_error_that_it_was(value: Any) -> None:
    with pytest.raises(ParseError) as caught:
        TEXT.one.read(json.dumps(value))
    assert caught.value.kind is ParseFault.NO_QUESTION


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*GOOD, "ANSWER", "reasons", "A", "from", "to"]) | st.text(max_size=4), inner)
    ),
    max_leaves=12,
)


@given(values | st.builds(lambda more: GOOD | {"steps": more}, values))
def test_any_json_is_a_question_or_a_parse_error(value: Any) -> None:
    reply = json.dumps(value)
    assert isinstance(json_as_text(reply), list)
    for shape in (TEXT.one, TEXT.several):
        try:
            shape.read(reply)
        except ParseError:
            continue

# ruff: noqa: RUF001 -- full-width marks are what some models write
"""Questions without options: what is rendered reads the same, and everything else is a typed error."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.qa.formats.keyed_format import parse_keyed, render_keyed
from lvqa_ray.qa.formats.keyed_json import KEYED_SCHEMAS
from lvqa_ray.qa.formats.reply_format import JSON, TEXT
from lvqa_ray.qa.grading import tokens_of
from lvqa_ray.records import KEYED_KINDS, Key, KeyedQuestion, Kind, NumberKey, OpenKey, OrderKey, Span, SpanKey
from tests.qa.test_reply_format import FRAGMENTS, lines_of_text, steps
from tests.qa.written import EXPECTED

REASONS = "REASONS:\n##### From [0 to 10]:\n- Person enters room"
STEPS = (replace(EXPECTED.steps[0], reasons=("Person enters room",)),)


def spans(*times: tuple[float, float]) -> SpanKey:
    return SpanKey(spans=tuple(Span(start_s=start, end_s=end) for start, end in times))


GOOD: dict[str, tuple[Kind, str, Key]] = {
    "one span": ("span", "ANSWER: 12 to 18", spans((12, 18))),
    "spans": ("span", "ANSWER: 12 to 18.5; 40 to 44", spans((12, 18.5), (40, 44))),
    "spans as a model writes them": (
        "span", "ANSWER: From [0:12 – 0:18] and from [1:40 - 1:44 s].", spans((12, 18), (100, 104))),
    "spans with units": ("span", "**ANSWER:** 12 s to 18 s, 40s-44s", spans((12, 18), (40, 44))),
    "number": ("number", "ANSWER: 3\nTOLERANCE: 0\nUNIT: times", NumberKey(number=3, unit="times")),
    "number with its unit": ("number", "ANSWER: 3 times", NumberKey(number=3, unit="times")),
    "number in words": ("number", "ANSWER: three\nUNIT: none", NumberKey(number=3)),
    "number with a tolerance": (
        "number", "ANSWER: 1,042.5\nTOLERANCE: 2\nUNIT: s", NumberKey(number=1042.5, tolerance=2, unit="s")),
    "order": ("order", "ITEMS:\n1. a dog\n2. a cat\n3. a bird\nANSWER: 3, 1, 2",
              OrderKey(items=("a dog", "a cat", "a bird"), order=(3, 1, 2))),
    "open": ("open", "ANSWER: the red ball\nACCEPTED: red ball; a ball that is red\nRUBRIC: It says that it is red.",
             OpenKey(text="the red ball", accepted=("a ball that is red",), rubric="It says that it is red.")),
    "open alone": ("open", "答案：一个红球", OpenKey(text="一个红球")),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "middle", "key"), GOOD.values(), ids=GOOD)
def test_a_good_reply(kind: Kind, middle: str, key: Key) -> None:
    question = parse_keyed(f"QUESTION: What is it?\n{middle}\n{REASONS}", kind)
    assert question == KeyedQuestion(question="What is it?", key=key, steps=STEPS)
    assert parse_keyed(render_keyed(question), kind) == question


BAD: dict[str, tuple[Kind, str, ParseFault]] = {
    "no answer": ("span", "", ParseFault.NO_ANSWER),
    "an empty answer": ("open", "ANSWER:", ParseFault.NO_ANSWER),
    "a span without an end": ("span", "ANSWER: 12", ParseFault.BAD_ANSWER),
    "a span that ends before it starts": ("span", "ANSWER: 18 to 12", ParseFault.BAD_ANSWER),
    "a span of no length": ("span", "ANSWER: 12 to 12", ParseFault.BAD_ANSWER),
    "spans that overlap": ("span", "ANSWER: 12 to 18; 15 to 20", ParseFault.BAD_ANSWER),
    "a span in minutes": ("span", "ANSWER: 1 to 2 minutes", ParseFault.BAD_ANSWER),
    "two numbers": ("number", "ANSWER: 3 or 4", ParseFault.BAD_ANSWER),
    "no number": ("number", "ANSWER: several", ParseFault.BAD_ANSWER),
    "a tolerance as large as the number": ("number", "ANSWER: 3\nTOLERANCE: 3", ParseFault.BAD_ANSWER),
    "an order that is none": ("order", "ITEMS:\n1. a\n2. b\n3. c\nANSWER: 1, 1, 2", ParseFault.BAD_ANSWER),
    "items without numbers": ("order", "ITEMS:\na\nb\nANSWER: 1, 2", ParseFault.BAD_OPTIONS),
    "an open answer of marks": ("open", "ANSWER: ...", ParseFault.BAD_ANSWER),
    "a long open answer": ("open", f"ANSWER: {'word ' * 60}", ParseFault.BAD_ANSWER),
    "options": ("open", "OPTIONS:\nA. x\nANSWER: y", ParseFault.BAD_OPTIONS),
    "two answers": ("open", "ANSWER: x\nANSWER: y", ParseFault.SEVERAL_QUESTIONS),
}


@pytest.mark.parametrize(("kind", "middle", "fault"), BAD.values(), ids=BAD)
def test_a_bad_reply_is_a_typed_error(kind: Kind, middle: str, fault: ParseFault) -> None:
    with pytest.raises(ParseError) as caught:
        parse_keyed(f"QUESTION: What is it?\n{middle}\n{REASONS}", kind)
    assert caught.value.kind is fault
    assert len(str(caught.value)) < 300


numbers = st.decimals(0, 99_999, places=3).map(float)
forms = lines_of_text.filter(lambda text: ";" not in text and any(map(str.isalnum, text)) and len(text) < 200)


@st.composite
def keys(draw: st.DrawFn) -> Key:
    kind = draw(st.sampled_from(KEYED_KINDS))
    if kind == "span":
        times = sorted(draw(st.lists(numbers, min_size=2, max_size=6, unique=True)))
        return spans(*zip(times[::2], times[1::2], strict=False))
    if kind == "number":
        number = draw(numbers)
        unit = draw(st.sampled_from(["", "times", "s", "red cars"]))
        return NumberKey(number=number, tolerance=round(number * draw(st.sampled_from([0, 0.1, 0.4])), 3), unit=unit)
    if kind == "order":
        items = draw(st.lists(lines_of_text, min_size=2, max_size=5))
        return OrderKey(items=tuple(items), order=tuple(draw(st.permutations(range(1, len(items) + 1)))))
    texts = draw(st.lists(forms, min_size=1, max_size=4, unique_by=lambda text: tuple(tokens_of(text))))
    return OpenKey(text=texts[0], accepted=tuple(texts[1:]), rubric=draw(st.just("") | lines_of_text))


@given(key=keys(), question=lines_of_text, cited=st.lists(steps(), min_size=1, max_size=3))
def test_what_is_rendered_reads_the_same_or_is_refused(key: Key, question: str, cited: list[Any]) -> None:
    written = KeyedQuestion(question=question, key=key, steps=tuple(cited))
    try:
        reply = render_keyed(written)
    except ValueError:
        assert not isinstance(key, SpanKey | NumberKey)  # only texts can look like a part of the format
        return
    assert parse_keyed(reply, key.kind) == written


@given(
    kind=st.sampled_from(KEYED_KINDS),
    reply=st.lists(
        st.sampled_from(
            [*FRAGMENTS, "ITEMS:", "UNIT: s", "TOLERANCE: 1", "12 to 18", "3", "\nANSWER: ", "1. x\n", "ACCEPTED: a; b"]
        )
        | st.text(max_size=5),
        max_size=30,
    ).map("".join),
)
def test_any_text_is_a_question_or_a_parse_error(kind: Kind, reply: str) -> None:
    try:
        parse_keyed(reply, kind)
    except ParseError:
        return


STEP_FIELDS = [{"start_s": 0, "end_s": 10, "reasons": ["Person enters room"]}]
AS_JSON: dict[Kind, tuple[dict[str, Any], Key]] = {
    "span": ({"spans": [{"start_s": 12, "end_s": 18.5}]}, spans((12, 18.5))),
    "number": ({"number": 3, "tolerance": 0, "unit": "times"}, NumberKey(number=3, unit="times")),
    "open": ({"answer": "red", "accepted": ["a red one"], "rubric": ""}, OpenKey(text="red", accepted=("a red one",))),
}


@pytest.mark.parametrize("kind", AS_JSON)
def test_json_reads_like_text(kind: Kind) -> None:
    fields, key = AS_JSON[kind]
    good = {"question": "What is it?", **fields, "steps": STEP_FIELDS}
    broken = {**good, "steps": []}
    first, second = JSON.shape(2, kind).read(json.dumps({"questions": [good, broken]}))
    assert first.question == KeyedQuestion(question="What is it?", key=key, steps=STEPS)
    assert second.error is not None
    assert second.error.kind is ParseFault.NO_REASONS
    (again,) = TEXT.shape(1, kind).read(first.text)
    assert again.question == first.question
    with pytest.raises(ParseError):
        JSON.shape(1, kind).read(json.dumps({"questions": []}))


def test_several_questions_in_text_are_told_apart() -> None:
    one = render_keyed(KeyedQuestion(question="When?", key=spans((1, 2)), steps=STEPS))
    found = TEXT.shape(2, "span").read(f"{one}\n\n{one.replace('When?', 'And then?').replace('1 to 2', '8 to 9')}")
    assert [reading.question and reading.question.key_text for reading in found] == ["1 to 2", "8 to 9"]


def test_the_schemas_are_part_of_the_cache_key() -> None:
    digests = {
        kind: hashlib.sha256(json.dumps(schema.schema).encode()).hexdigest()[:16]
        for kind, schema in KEYED_SCHEMAS.items()
    }
    assert digests == {"span": "3f388cf3d7280bb3", "number": "29f0c1bf199deb7b", "open": "49d18d1ade728469"}

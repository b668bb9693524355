"""A reply as JSON is read as strictly as one in text."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from lvqa_ray.errors import ParseError
from lvqa_ray.llm.messages import ReplySchema
from lvqa_ray.qa.formats.json_format import (
    QUESTION_SCHEMA,
    SCHEMA_OF_SEVERAL,
    parse_json_question,
    render_json_question,
)
from lvqa_ray.qa.formats.text_format import parse_question, render_question

GOOD: dict[str, Any] = {
    "question": "Why does the man\nturn back?",
    "options": {"A": "To fetch his hat", "B": "To wave", "C": "By mistake", "D": "To hide"},
    "answer": "B",
    "steps": [
        {"start_s": 0, "end_s": 12.345, "reasons": ["He  passes the gate.", "A dog sits there."]},
        {"start_s": 61.5, "end_s": 70, "reasons": ["He waves."]},
    ],
}


def test_a_good_reply() -> None:
    question = parse_json_question(json.dumps(GOOD))
    assert question.question == "Why does the man turn back?"
    assert question.options["C"] == "By mistake"
    assert question.answer == "B"
    assert [(step.timestamp, step.start_s, step.end_s) for step in question.steps] == [
        ("0 to 12.35", 0.0, 12.35), ("61.5 to 70", 61.5, 70.0),
    ]  # fmt: skip
    assert question.steps[0].reasons == ("He passes the gate.", "A dog sits there.")
    assert parse_question(render_question(question)) == question
    assert parse_json_question(render_json_question(question)) == question


@pytest.mark.parametrize("around", ["```json\n{}\n```", "```\n{}```", "<think>well</think>\n{}", "\n {} \n"])
def test_what_stands_around_it_is_taken_off(around: str) -> None:
    assert parse_json_question(around.replace("{}", json.dumps(GOOD))).answer == "B"


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


BAD: dict[str, tuple[str, str]] = {
    "nothing": ("", "bad_json"),
    "prose": ("I cannot help with that.", "bad_json"),
    "cut off": (json.dumps(GOOD)[:-9], "bad_json"),
    "two": (json.dumps(GOOD) + json.dumps(GOOD), "bad_json"),
    "no answer": (json.dumps(without("answer")), "bad_json"),
    "more": (json.dumps(GOOD | {"note": "x"}), "bad_json"),
    "letter": (json.dumps(GOOD | {"answer": "E"}), "bad_json"),
    "number": (json.dumps(GOOD | {"question": 5}), "bad_json"),
    "not a time": (json.dumps(GOOD | {"steps": [{"start_s": 0, "end_s": "NaN", "reasons": ["x"]}]}), "bad_json"),
    "empty": (json.dumps(GOOD | {"question": " "}), "no_question"),
    "no option": (json.dumps(GOOD | {"options": GOOD["options"] | {"D": ""}}), "empty_option"),
    "twice": (json.dumps(GOOD | {"options": GOOD["options"] | {"D": "To wave"}}), "duplicate_option"),
    "no steps": (json.dumps(GOOD | {"steps": []}), "no_reasons"),
    "backwards": (json.dumps(GOOD | {"steps": [{"start_s": 9, "end_s": 3, "reasons": ["x"]}]}), "bad_step"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_reply_is_an_error_that_can_be_shown_to_the_model(name: str) -> None:
    reply, kind = BAD[name]
    with pytest.raises(ParseError) as caught:
        parse_json_question(reply)
    assert caught.value.kind == kind
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("schema", "digest"),
    [
        (QUESTION_SCHEMA, "0c780977845774746a9a07aa5090e5d1c3b5e2c5affb0997cd4515a6ac0b2208"),
        (SCHEMA_OF_SEVERAL, "e6dc4cff727ec4c62873430301ebd2d62df38d83a9da4b486b40edb81c4f8280"),
    ],
)
def test_a_schema_is_part_of_the_cache_key_and_stays_as_release_7e7ea9a_sent_it(
    schema: ReplySchema, digest: str
) -> None:
    assert hashlib.sha256(json.dumps(schema.schema).encode()).hexdigest() == digest


def test_the_schema_is_one_for_strict_mode() -> None:
    """Every object closed, and every field required."""

    def objects(value: Any) -> list[dict[str, Any]]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        own = [value] if isinstance(value, dict) and value.get("type") == "object" else []
        return own + [found for part in inner for found in objects(part)]

    found = objects(dict(QUESTION_SCHEMA.schema))
    assert len(found) == 3
    for schema in found:
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])

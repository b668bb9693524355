from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.llm.prompt_template import check, fill, placeholders
from lvqa_ray.llm.replies.thinking_tags import strip_thinking


def test_names_are_found_and_doubled_braces_are_text() -> None:
    assert placeholders('{a} and {b_1}, as {{"json": {a}}}') == {"a", "b_1"}
    assert fill('{a}, {{"json": 1}}', {"a": "{b}"}) == '{b}, {"json": 1}'


@pytest.mark.parametrize("template", ["{", "}", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a b}", "{a"])
def test_what_is_no_plain_name_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="literal braces"):
        check(template, known={"a"})


def test_unknown_and_missing_names_are_said() -> None:
    with pytest.raises(ValueError, match=r"\{aspect\}, which has no value.* one of: \{start\}"):
        check("Look at {aspect}", known={"start"})
    with pytest.raises(ValueError, match=r"does not hold \{captions\}"):
        check("Ask", known={"captions"}, required={"captions"})


@given(values=st.dictionaries(st.sampled_from(["a", "b"]), st.text(), min_size=2))
def test_values_arrive_unchanged(values: dict[str, str]) -> None:
    assert fill("{a}|{b}", values) == f"{values['a']}|{values['b']}"


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("An answer.", "An answer."),
        ("<think>Hm.</think>\n\nAn answer.", "An answer."),
        ("Hm.</think>An answer.", "An answer."),
        ("<THINKING>a</THINKING>b<think>c</think> d", "d"),
        ("<think>and on and on", ""),
        ("<think>done</think>", ""),
        ("<think>a</think>b<think>c", ""),
    ],
)
def test_a_draft_is_taken_off(reply: str, answer: str) -> None:
    assert strip_thinking(reply) == answer

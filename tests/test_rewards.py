# ruff: noqa: RUF001 -- full-width marks are what some models write
"""Rewards: gold replies score 1, wrong ones 0, shifted spans their overlap, and nothing raises."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.qa.grading import kendall, temporal_iou
from lvqa_ray.records import Span
from lvqa_ray.rewards import answer_text, reward

OPTIONS = {"A": "A red ball", "B": "A blue car", "C": "A dog", "D": "A tree"}
CHOICE = {"kind": "choice", "typed_answer": {"letter": "B"}, "parsed_reasoning": {"OPTIONS": OPTIONS, "ANSWER": "B"}}
SPAN = {"kind": "span", "typed_answer": {"spans": [{"start_s": 60.0, "end_s": 70.0}]}}
SPANS = {"kind": "span", "typed_answer": {"spans": [{"start_s": 0.0, "end_s": 10.0}, {"start_s": 20.0, "end_s": 30.0}]}}
NUMBER = {"kind": "number", "typed_answer": {"number": 3.0, "tolerance": 0.0}}
SECONDS = {"kind": "number", "typed_answer": {"number": 65.0, "tolerance": 2.0}}
ORDER = {"kind": "order", "typed_answer": {"order": [2, 4, 1, 3]}}
OPEN = {"kind": "open", "typed_answer": {"text": "the red ball", "accepted": ["a ball"]}}
CHINESE = {"kind": "open", "typed_answer": {"text": "红色的球", "accepted": None}}

SCORES: list[tuple[dict[str, Any], str, float]] = [
    (CHOICE, "B", 1), (CHOICE, "(B)", 1), (CHOICE, "<answer>B</answer>", 1), (CHOICE, r"So it is \boxed{B}.", 1),
    (CHOICE, "<think>A?</think>It drives off.\n\nAnswer: B", 1), (CHOICE, "<answer> B. A blue car </answer>", 1),
    (CHOICE, "The answer is B.", 1), (CHOICE, "答案：B", 1), (CHOICE, r"$\boxed{\text{B}}$", 1),
    (CHOICE, "<answer>A</answer> or <answer>B</answer>", 1),  # the last one counts
    (CHOICE, "A", 0), (CHOICE, "<answer>B or C</answer>", 0), (CHOICE, "<answer>A red ball</answer>", 0),
    (CHOICE, "", 0), (CHOICE, "I think\nthat it is", 0), (CHOICE, "<answer>B</answer", 0), (CHOICE, "B. A dog", 0),
    # Public reports: a retracted box (lmms-eval #1512), a box in the tag (maxtext #4150), an answer in the draft only
    # (TinyZero #120), a letter at the end without a label (AssetOpsBench #477),
    # and elimination (ds4 #321), which must never count as the rejected letter.
    (CHOICE, r"First \boxed{C}, no: \boxed{B}", 1), (CHOICE, r"<answer>\boxed{B}</answer>", 1),
    (NUMBER, r"<answer>\boxed{3}</answer>", 1), (CHOICE, "<think><answer>B</answer></think>Hard to say, as ever.", 0),
    (CHOICE, "<think>so <answer>A</answer>", 0), (CHOICE, "It drives off, and the sky is blue.\n\nB", 1),
    (CHOICE, "Answer: rules out B, leaving C", 0), (CHOICE, "Answer: It is not B, the answer is D", 0),
    ({**CHOICE, "kind": None, "typed_answer": None}, "B", 1),  # a row of an earlier release
    (SPAN, "60 to 70", 1), (SPAN, "<answer>1:00 - 1:10</answer>", 1), (SPAN, r"\boxed{60s-70s}", 1),
    (SPAN, "<answer>[60.0, 70.0]</answer>", 1), (SPAN, "From 01:00 to 01:10.", 1), (SPAN, "65 to 75", 5 / 15),
    (SPAN, "<answer>00:01:05.0 → 00:01:15.0</answer>", 5 / 15), (SPAN, "10 to 20", 0), (SPAN, "60", 0),
    (SPAN, "70 to 60", 0), (SPAN, "from 1 to 2 minutes", 0), (SPAN, "60 to 70; 80", 0),
    (SPANS, "0 to 10; 20 to 30", 1), (SPANS, "0 to 10", 0.5), (SPANS, "0 to 30", 20 / 30),
    (NUMBER, "3", 1), (NUMBER, "<answer>three times</answer>", 1), (NUMBER, r"\boxed{3}", 1), (NUMBER, "3.0", 1),
    (NUMBER, "三次", 1), (NUMBER, "2", 0), (NUMBER, "4", 0), (NUMBER, "3 or 4", 0), (NUMBER, "-3", 0),
    (NUMBER, "30", 0),
    (SECONDS, "1:05", 1), (SECONDS, "66.5 s", 1), (SECONDS, "68", 0),
    (ORDER, "2, 4, 1, 3", 1), (ORDER, "2 4 1 3", 1), (ORDER, "<answer>2 → 4 → 1 → 3</answer>", 1),
    (ORDER, "[2,4,1,3]", 1),
    (ORDER, "4, 2, 1, 3", 4 / 6), (ORDER, "3, 1, 4, 2", 0), (ORDER, "2, 4, 1", 0), (ORDER, "2, 4, 1, 3, 5", 0),
    (OPEN, "The red ball.", 1), (OPEN, "ball", 1), (OPEN, "<answer>red</answer>", 2 / 3), (OPEN, "a green car", 0),
    (CHINESE, "红色的球。", 1), (CHINESE, "蓝", 0),
]  # fmt: skip


@pytest.mark.parametrize(("record", "reply", "score"), SCORES)
def test_scores(record: dict[str, Any], reply: str, score: float) -> None:
    assert reward(reply, record) == pytest.approx(score)


PIECES = [
    "<answer>", "</answer>", r"\boxed{", "}", "Answer: ", "B", "C", "12", "0:60", "1:02:03", " to ", "-", ";", "\n",
    "<think>", "</think>", "three", "2, 4, 1, 3", "答案：", "９", "∞", "1e309", "9" * 400, "²", "s", "nan", "(", "]",
]  # fmt: skip
RECORDS = (CHOICE, SPAN, SPANS, NUMBER, SECONDS, ORDER, OPEN, CHINESE)


@given(reply=st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=25).map("".join))
def test_any_reply_scores_from_0_to_1(reply: str) -> None:
    answer_text(reply)
    for record in RECORDS:
        assert 0.0 <= reward(reply, record) <= 1.0


spans = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)).map(lambda two: Span(start_s=min(two), end_s=max(two))), max_size=5
)


@given(one=spans, other=spans)
def test_overlap_is_symmetric_and_bounded(one: list[Span], other: list[Span]) -> None:
    score = temporal_iou(one, other)
    assert 0.0 <= score <= 1.0
    assert score == pytest.approx(temporal_iou(other, one))
    assert not one or temporal_iou(one, one) == pytest.approx(1.0)


@given(st.permutations(range(1, 6)), st.permutations(range(1, 6)))
def test_orders_are_bounded_and_only_the_same_one_is_right(one: list[int], other: list[int]) -> None:
    assert 0.0 <= kendall(one, other) <= 1.0
    assert (kendall(one, other) == 1.0) is (one == other)


@pytest.mark.parametrize(
    "record", [{}, {"kind": "span", "typed_answer": {}}, {"kind": "riddle"}, {"typed_answer": {"letter": "E"}}]
)
def test_a_record_without_a_key_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no key"):
        reward("B", record)


def test_a_trainer_loads_neither_ray_nor_arrow_nor_a_codec() -> None:
    code = "import sys, lvqa_ray.rewards; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("ray", "pyarrow", "av", "cv2", "openai", "numpy", "pydantic"):
        assert f"'{name}'" not in loaded

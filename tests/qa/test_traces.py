"""Reasoning traces: letters of the prompt mapped to those of the record, and the choice of the best trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lvqa_ray.qa.traces import with_letters_of_record
from lvqa_ray.records import LETTERS, Trace, Verdict
from lvqa_ray.records.questions import best_trace

MOVED = dict(zip(LETTERS, "CDAB", strict=True))


@pytest.mark.parametrize(
    ("thoughts", "mapped"),
    [
        (
            "Option A is red, and (B) is not. So the answer is A.",
            "Option C is red, and (D) is not. So the answer is C.",
        ),
        ("The car is red.", "The car is red."),
        ("The blood type is B, it seems.", None),
        ("Plan B begins.", None),
    ],
)
def test_letters_in_thoughts_become_those_of_the_record_or_are_marked(thoughts: str, mapped: str | None) -> None:
    trace = Trace(
        check="watch", attempt=0, question="q", media="frames", thoughts=thoughts, text="ANSWER: A", answer="C"
    )
    told = with_letters_of_record(trace, MOVED)  # type: ignore[arg-type]
    assert told.letters_unclear is (mapped is None)
    assert told.thoughts == (thoughts if mapped is None else mapped)
    assert told.text == ("ANSWER: A" if mapped is None else "ANSWER: C")


def test_an_answer_without_thoughts_keeps_its_reasons_with_the_letters_of_the_record() -> None:
    text = "It cannot be option B.\n\n**ANSWER: A**"
    told = with_letters_of_record(
        Trace(check="watch", attempt=0, question="q", media="frames", text=text, answer="C"),
        MOVED,  # type: ignore[arg-type]
    )
    assert (told.text, told.reasoning) == ("It cannot be option D.\n\nANSWER: C", "It cannot be option D.")


def traced(*lengths: int, check: str = "watch", **fields: Any) -> Verdict:
    traces = tuple(
        Trace(check=check, attempt=n, question="q", media="frames", thoughts="x" * length, correct=True, **fields)
        for n, length in enumerate(lengths)
    )
    return Verdict(check=check, passed=True, traces=traces)


@pytest.mark.parametrize(
    ("verdicts", "length"),
    [
        ([traced(5, 9, 1)], 5),
        ([traced(9, 5, 7, 1)], 5),
        ([traced(5), traced(4, 4, 4, check="solve")], 5),
        ([traced(5, letters_unclear=True)], None),
        ([traced(0)], None),
        ([], None),
    ],
)
def test_the_best_trace_is_right_clear_and_of_median_length(verdicts: Sequence[Verdict], length: int | None) -> None:
    best = best_trace(verdicts)
    assert (len(best.thoughts) if best else None) == length

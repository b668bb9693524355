"""Measured chance: what a guess that looks at no video gets right, on corpora with a known answer."""

from __future__ import annotations

from typing import Any

import pytest

from lvqa_ray.dataset.statistics.chance import ChanceCounter
from lvqa_ray.records import Kind


def spans(start_s: float, end_s: float) -> dict[str, Any]:
    return {"spans": [{"start_s": start_s, "end_s": end_s}]}


CASES: dict[str, tuple[Kind, list[dict[str, Any]], float, str]] = {
    "letters": ("choice", [{"letter": letter} for letter in "ABBBCD"], 0.5, "always B"),
    "spans in the middle": ("span", [spans(27.5, 72.5), spans(22.5, 77.5), spans(0, 9), spans(5, 8)], 0.5,
                            "the middle 50 %"),
    "spans anywhere": ("span", [spans(n, n + 4) for n in (0, 10, 20, 80)], 0.0, ""),
    "numbers": ("number", [{"number": n, "tolerance": t} for n, t in ((2, 0), (2, 0), (3, 0), (3.4, 1.5))], 0.75,
                "always 2"),
    "orders": ("order", [{"order": [2, 1, 3]}, {"order": [2, 1, 3]}, {"order": [3, 1, 2]}, {"order": [1, 3, 2]}], 0.5,
               "always 2, 1, 3"),
    "texts": ("open", [{"text": "The dog."}, {"text": "a dog"}, {"text": "cat"}, {"text": "cow"}], 0.5, "always dog"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_best_constant_or_mid_film_guess_is_found(name: str) -> None:
    kind, answers, chance, guess = CASES[name]
    counter = ChanceCounter(kind)
    for answer in answers:
        counter.add(answer, 100.0)
    found = counter.audit()
    assert (found.records, found.guess) == (len(answers), guess)
    assert found.chance == pytest.approx(chance)
    assert found.nominal == (0.25 if kind == "choice" else None)


def test_without_questions_there_is_no_chance() -> None:
    assert ChanceCounter("span").audit().chance is None

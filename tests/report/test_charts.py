"""The numbers behind the charts."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from lvqa_ray.journal.book import Pace
from lvqa_ray.report.charts import histogram, rate, waits


def pace(at: list[float], seconds: float = 1.0) -> Pace:
    return Pace(array("d", at), array("f", [seconds] * len(at)), array("L", [10] * len(at)))


def test_a_histogram_counts_every_value_once() -> None:
    shape = histogram(np.array([1.0, 1.0, 2.0, 9.0, 10.0]), bins=3)
    assert shape is not None
    assert [round(bar.height) for bar in shape.bars] == [100, 0, 67]
    assert [bar.says for bar in shape.bars] == ["1 to 4 s: 3", "4 to 7 s: 0", "7 to 10 s: 2"]
    assert histogram(np.array([])) is None
    same = histogram(np.array([10.0, 10.0]))
    assert same is not None
    assert (same.bars, same.says) == ([], "all 2 take 10 s")


def test_answers_a_minute_are_those_of_the_longest_sitting() -> None:
    night = [1000.0 + second for second in range(600)]
    shown = rate({"caption": pace([*night, 90_000.0]), "ask": pace(night[300:])}, ["caption", "ask"])
    assert shown is not None
    assert (shown.sittings, round(shown.minutes)) == (2, 10)
    assert shown.most == pytest.approx(120)
    assert shown.tokens == pytest.approx(900, rel=0.01)
    assert [stage for stage, _, _ in shown.areas] == ["caption", "ask"]
    assert rate({"caption": pace([])}, ["caption"]) is None


def test_waits_leave_out_what_was_not_timed() -> None:
    times = Pace(array("d", [1.0] * 4), array("f", [0.0, 1.0, 2.0, 3.0]), array("L", [1] * 4))
    (wait,) = waits({"caption": times, "ask": pace([1.0], 0.0)}, ["caption", "ask"])
    assert (wait.stage, wait.count, wait.median, wait.longest) == ("caption", 3, 2.0, 3.0)

from __future__ import annotations

import pytest

from benchmarks.scoring import f1


@pytest.mark.parametrize(
    ("found", "true", "score"),
    [
        ([], [], 1.0),
        ([1.0], [], 0.0),
        ([], [1.0], 0.0),
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([1.08], [1.0], 1.0),
        ([1.12], [1.0], 0.0),
        ([1.0, 2.0, 3.0], [1.0, 3.0], 0.8),
        ([1.0, 1.04], [1.02], 2 / 3),  # a true cut counts once
        ([0.5, 1.0], [1.05, 7.0], 0.5),
    ],
)
def test_f1(found: list[float], true: list[float], score: float) -> None:
    assert f1(found, true, within_s=0.08) == pytest.approx(score)
    assert f1(true, found, within_s=0.08) == pytest.approx(score)

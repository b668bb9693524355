"""Every case of a public bug report gives the expected result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import Case, all_cases


@pytest.mark.parametrize("case", list(all_cases()), ids=lambda case: f"{case.number}-{case.run.__name__}")
def test_case(case: Case, tmp_path: Path) -> None:
    rows = list(case.run(tmp_path))
    assert rows
    assert [(name, expected) for name, expected, _ in rows] == [(name, seen) for name, _, seen in rows]

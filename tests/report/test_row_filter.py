"""Row filters keep the rows that their condition describes, and say what is wrong with one that they cannot read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.row_filter import RowFilter

ROWS: list[dict[str, Any]] = [
    {"id": "a", "category": "goal", "solve_rate": 0.0, "parsed_reasoning": {"ANSWER": "A"}},
    {"id": "b", "category": "plot", "solve_rate": 0.5, "parsed_reasoning": {"ANSWER": "B"}},
    {"id": "c", "category": "it's", "solve_rate": 1.0, "parsed_reasoning": {"ANSWER": "B"}},
    {"id": "d", "category": None, "solve_rate": None, "parsed_reasoning": {"ANSWER": "D"}},
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("solve_rate < 1", "ab"),
        ("0 < solve_rate < 1", "b"),
        ("solve_rate == 1 or category == 'goal'", "ac"),
        ("not (solve_rate < 1)", "c"),
        ("category in ['goal', 'plot'] and solve_rate > 0.1", "b"),
        ("category not in ['goal', 'plot']", "c"),
        ("not (category in ['goal', 'plot']) or category is None", "cd"),
        ("category is None", "d"),
        ("category is not None and solve_rate >= 0.5", "bc"),
        ("parsed_reasoning.ANSWER == 'B'", "bc"),
        ('category == "it\'s"', "c"),
        ("id == 'zz'", ""),
    ],
)
def test_the_rows_that_a_condition_keeps(text: str, ids: str) -> None:
    schema = SCHEMAS["data"]
    full = [{name: row.get(name) for name in schema.names} for row in ROWS]
    (batch,) = pa.Table.from_pylist(full, schema=schema).to_batches()
    assert "".join(RowFilter(text)(batch)["id"].to_pylist()) == ids


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is wrong: invalid syntax"),
        ("solve_rate <", "invalid syntax"),
        ("solve_rate", "solve_rate is not a comparison"),
        ("1", "1 is not a comparison"),
        ("solve_rat < 1", "did you mean solve_rate?"),
        ("category == goal", "data/ has no column goal (a text is written in quotes)"),
        ("category == 1", "it compares a column with a value of another type"),
        ("solve_rate < 'x'", "it compares a column with a value of another type"),
        ("parsed_reasoning.KEY == 'B'", "parsed_reasoning has no field KEY"),
        ("category in 'goal'", "take a list"),
        ("category is 'goal'", "take None only"),
        ("__import__('os').system('true') == 0", "__import__('os').system('true') is neither a column nor a value"),
        ("id == None", "None is no text"),
        ("(lambda: 1)() == 1", "is neither a column nor a value"),
        ("solve_rate < 1\x00", "null byte"),
        ("category in ['a', 1]", "it compares a column with a value of another type"),
        ("solve_rate < 100000000000000000000000", "it compares a column with a value of another type"),
        ("id < {[]: 1}", "is neither a column nor a value"),
    ],
)
def test_a_condition_that_is_none(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        RowFilter(text)
    assert says.removeprefix("is wrong: ") in str(raised.value)
    assert "for example: solve_rate < 1" in str(raised.value)

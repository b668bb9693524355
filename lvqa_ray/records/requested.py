"""Quota by category: counts the requested questions in the rows of a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

REQUESTED_ONE, REQUESTED_SEVERAL = "requested_category", "requested_categories"
"""The column of ``data`` and ``drops``, which have one question a row; and that of ``failures``."""


def requested(rows: pa.Table) -> Counter[str]:
    """Requested questions by category; an empty name stands for none.

    Args:
        rows: Rows of ``data``, ``drops`` or ``failures`` with one of these columns; without either, nothing is counted.
    """
    if REQUESTED_ONE in rows.column_names:
        column: Any = pc.fill_null(rows[REQUESTED_ONE].cast(pa.string()), "")
    elif REQUESTED_SEVERAL in rows.column_names and not pa.types.is_null(rows.schema.field(REQUESTED_SEVERAL).type):
        column = pc.list_flatten(rows[REQUESTED_SEVERAL])
    else:
        return Counter()
    return Counter({pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()})


def against(requested: Counter[str], delivered: dict[str, int]) -> dict[str, dict[str, int]]:
    """Requested and delivered questions by category, the most requested first."""
    names = sorted({*requested, *delivered}, key=lambda name: (-requested[name], -delivered.get(name, 0), name))
    return {name: {"requested": requested[name], "delivered": delivered.get(name, 0)} for name in names}

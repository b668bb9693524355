"""Which of several runs' outcomes stand for a video: one rule for what settles an output, and for who only reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.records.tables import TableName


def current_outcomes(records: pa.Table, failures: pa.Table) -> Mapping[TableName, pa.Table]:
    """By table, ``id`` and ``run_id`` of the outcomes whose rows stand, each id once.

    A failure that may pass takes no earlier record away: that one was paid for. All other tables follow the outcome.

    Args:
        records: ``id`` and ``run_id`` of the latest run with records of each video, or with results alone.
        failures: The same of failures, with ``retryable``.
    """
    at = pc.index_in(_flat(failures["id"]), value_set=_flat(records["id"]))
    # Run ids begin with the time; at a tie the record stands.
    newer = pc.fill_null(pc.less(_runs(records).take(at), _runs(failures)), True)
    gone = failures.filter(pc.and_(newer, pc.invert(_flat(failures["retryable"]))))
    columns = ["id", "run_id"]
    records = records.filter(pc.invert(pc.is_in(records["id"], value_set=_flat(gone["id"])))).select(columns)
    failures = failures.filter(newer).select(columns)
    alone = failures.filter(pc.invert(pc.is_in(failures["id"], value_set=_flat(records["id"]))))
    ended = pa.concat_tables([records, alone]).unify_dictionaries()
    followers = dict.fromkeys(("clips", "drops", "subtitles", "analysis"), ended)
    return {"data": records, "failures": failures, **followers}


def _runs(rows: pa.Table) -> Any:  # noqa: ANN401 - Arrow arrays have no types
    return _flat(rows["run_id"].cast(pa.string()))


def _flat(column: Any) -> Any:  # noqa: ANN401 - as above
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

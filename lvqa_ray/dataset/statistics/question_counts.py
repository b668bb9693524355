"""How many questions there are, and which checks took the others: counted in the tables, whichever runs wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.current_rows import row_groups
from lvqa_ray.dataset.outcomes import flat
from lvqa_ray.records.requested import SEVERAL, against, requested
from lvqa_ray.records.tables import SCHEMAS, TableName
from lvqa_ray.storage.paths import StoragePath

TABLES: Mapping[TableName, list[str]] = {
    "data": ["video_id", "category", "requested_category", "checks"],
    "drops": ["video_id", "check", "kind", "requested_category", "checks"],
}


@dataclass(frozen=True, slots=True)
class Funnel:
    """What became of the questions.

    Attributes:
        asked: Questions that were asked for, of the videos that have an outcome with questions.
        kept: Those that are records.
        dropped: The others, by check and then by kind.
        checks: Verdicts by check: ``passed``, ``marked``, ``repaired`` and ``dropped``.
        categories: Records by category.
        quota: Questions by category, ``requested`` and ``delivered``; also of videos whose questions all failed.
    """

    asked: int = 0
    kept: int = 0
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    checks: dict[str, dict[str, int]] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    quota: dict[str, dict[str, int]] = field(default_factory=dict)


def funnel(folder: StoragePath, done: Any) -> Funnel:  # noqa: ANN401 - Arrow arrays have no types
    """Count the questions of some videos.

    Args:
        folder: The output folder, settled.
        done: Ids of the videos, as an Arrow array.

    Raises:
        ConfigError: A shard cannot be read.
    """
    checks: dict[str, Counter[str]] = {}
    dropped: dict[str, Counter[str]] = {}
    categories: Counter[str] = Counter()
    counts: Counter[TableName] = Counter()
    wanted: Counter[str] = Counter()
    for table in TABLES:
        for rows in _rows(folder, table, flat(done)):
            counts[table] += rows.num_rows
            wanted += requested(rows)
            if table == "drops":
                for (check, kind), count in _counted(rows["check"], rows["kind"]):
                    dropped.setdefault(check, Counter())[kind] += count
            else:
                for (category,), count in _counted(pc.fill_null(rows["category"], "")):
                    categories[category] += count
            verdicts = flat(rows["checks"]).flatten()
            passed, action = pc.struct_field(verdicts, "passed"), pc.struct_field(verdicts, "action")
            outcomes = pc.if_else(pc.fill_null(passed, False), "passed", action)
            for (check, outcome), count in _counted(pc.struct_field(verdicts, "check"), outcomes):
                checks.setdefault(check, Counter())[outcome] += count
    wanted += _of_failures(folder, flat(done))
    return Funnel(
        asked=counts.total(),
        kept=counts["data"],
        dropped={check: dict(kinds.most_common()) for check, kinds in dropped.items()},
        checks={check: dict(outcomes) for check, outcomes in checks.items()},
        categories=dict(categories.most_common()),
        quota=against(wanted, categories),
    )


def _of_failures(folder: StoragePath, done: Any) -> Counter[str]:  # noqa: ANN401 - Arrow arrays have no types
    """Requested questions of videos that failed, and have no record of an earlier run."""
    kept = [rows["video_id"] for _, rows in row_groups(folder, "data", ["video_id"])]
    held = flat(pa.chunked_array([chunk for column in kept for chunk in column.chunks], pa.string()))
    wanted: Counter[str] = Counter()
    for _, rows in row_groups(folder, "failures", ["id", SEVERAL]):
        mine = pc.and_not(pc.is_in(rows["id"], value_set=done), pc.is_in(rows["id"], value_set=held))
        wanted += requested(rows.filter(mine))
    return wanted


def _rows(folder: StoragePath, table: TableName, done: Any) -> Iterator[pa.Table]:  # noqa: ANN401 - as above
    """The rows of some videos, many at a time."""
    schema = SCHEMAS[table]
    for _, rows in row_groups(folder, table, TABLES[table]):
        mine = rows.filter(pc.is_in(rows["video_id"], value_set=done))
        # Shards of an earlier release may lack a column, which is then null.
        yield pa.concat_tables([schema.empty_table().select(TABLES[table]), mine], promote_options="default")


def _counted(*columns: Any) -> Iterator[tuple[list[str], int]]:  # noqa: ANN401 - as above
    """The different rows of some columns, each with how often it is there."""
    names = [str(number) for number in range(len(columns))]
    found = pa.table(list(columns), names=names).group_by(names).aggregate([([], "count_all")])
    for row in found.to_pylist():
        yield [row[name] for name in names], row["count_all"]

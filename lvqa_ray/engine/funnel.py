"""How many questions there are, and which checks took the others: counted in the tables, whichever runs wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from lvqa_ray.engine.place import Place
from lvqa_ray.engine.tables import read_rows
from lvqa_ray.records.tables import TableName


@dataclass(frozen=True, slots=True)
class Funnel:
    """What became of the questions.

    Attributes:
        asked: Questions that were asked for, of the videos that have an outcome with questions.
        kept: Those that are records.
        dropped: The others, by check and then by kind.
        checks: Verdicts by check: ``passed``, ``marked``, ``repaired`` and ``dropped``.
        categories: Records by category.
    """

    asked: int = 0
    kept: int = 0
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    checks: dict[str, dict[str, int]] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)


def funnel(folder: Place, done: Container[str]) -> Funnel:
    """Count the questions of some videos.

    Args:
        folder: The output folder, settled.
        done: Ids of the videos.

    Raises:
        ConfigError: A shard cannot be read.
    """
    checks: dict[str, Counter[str]] = {}
    dropped: dict[str, Counter[str]] = {}
    categories: Counter[str] = Counter()
    counts: Counter[TableName] = Counter()
    tables: Mapping[TableName, list[str]] = {
        "data": ["video_id", "category", "checks"],
        "drops": ["video_id", "check", "kind", "checks"],
    }
    for table, columns in tables.items():  # shards of an earlier release lack some of them
        for row in read_rows(folder, table, columns):
            if row["video_id"] not in done:
                continue
            counts[table] += 1
            if table == "drops":
                dropped.setdefault(row["check"], Counter())[row["kind"]] += 1
            else:
                categories[row.get("category") or ""] += 1
            for verdict in row.get("checks") or []:
                outcome = "passed" if verdict["passed"] else verdict["action"]
                checks.setdefault(verdict["check"], Counter())[outcome] += 1
    return Funnel(
        asked=counts.total(),
        kept=counts["data"],
        dropped={check: dict(kinds.most_common()) for check, kinds in dropped.items()},
        checks={check: dict(outcomes) for check, outcomes in checks.items()},
        categories=dict(categories.most_common()),
    )

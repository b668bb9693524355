"""Question counts: requested, kept, and dropped by check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.records.requested import against, requested


@dataclass(frozen=True, slots=True)
class Funnel:
    """Counts of questions by outcome.

    Attributes:
        asked: Requested questions of videos that have records or drops.
        kept: Questions that became records.
        dropped: Dropped questions, by check and then by kind.
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


@dataclass(slots=True)
class QuestionCounter:
    """Streaming counter of questions."""

    kept: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    checks: dict[str, Counter[str]] = field(default_factory=dict)
    categories: Counter[str] = field(default_factory=Counter)
    requested: Counter[str] = field(default_factory=Counter)

    def add_records(self, rows: pa.RecordBatch) -> None:
        """Count records."""
        self.kept += rows.num_rows
        self.requested += requested(rows)
        for (category,), count in counted(pc.fill_null(rows["category"], "")):
            self.categories[category] += count
        self._add_verdicts(rows)

    def add_drops(self, rows: pa.RecordBatch) -> None:
        """Count dropped questions."""
        self.requested += requested(rows)
        for (check, kind), count in counted(rows["check"], rows["kind"]):
            self.dropped.setdefault(check, Counter())[kind] += count
        self._add_verdicts(rows)

    def add_failures(self, rows: pa.RecordBatch) -> None:
        """Count the requested questions of videos that failed and have no record."""
        self.requested += requested(rows)

    def counts(self) -> Funnel:
        """The sums."""
        return Funnel(
            asked=self.kept + sum(kinds.total() for kinds in self.dropped.values()),
            kept=self.kept,
            dropped={check: dict(kinds.most_common()) for check, kinds in self.dropped.items()},
            checks={check: dict(outcomes) for check, outcomes in self.checks.items()},
            categories=dict(self.categories.most_common()),
            quota=against(self.requested, self.categories),
        )

    def _add_verdicts(self, rows: pa.RecordBatch) -> None:
        verdicts = rows["checks"].flatten()
        passed, action = pc.struct_field(verdicts, "passed"), pc.struct_field(verdicts, "action")
        outcomes = pc.if_else(pc.fill_null(passed, False), "passed", pc.fill_null(action, "marked"))
        for (check, outcome), count in counted(pc.struct_field(verdicts, "check"), outcomes):
            self.checks.setdefault(check, Counter())[outcome] += count


def counted(*columns: pa.Array | pa.ChunkedArray) -> Iterator[tuple[list[str], int]]:
    """The distinct rows of some columns in order of first occurrence, each with its count."""
    names = [str(number) for number in range(len(columns))]
    found = pa.table(list(columns), names=names).group_by(names, use_threads=False).aggregate([([], "count_all")])
    for row in found.to_pylist():
        yield [row[name] for name in names], row["count_all"]

"""Statistics of an output, counted in one pass over its tables for ``run.json``, ``lvqa audit`` and the report.

Rows are read in batches of some thousand. A few bytes for each video and clip stay in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.model_use import ModelUse, read_model_use
from lvqa_ray.dataset.outcomes import Column, flat
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.statistics.audit import Audit, AuditCounter
from lvqa_ray.dataset.statistics.preference_pairs import TRACE_KEYS, TRACE_TEXTS
from lvqa_ray.dataset.statistics.question_counts import Funnel, QuestionCounter, counted
from lvqa_ray.records import TASKS
from lvqa_ray.records.requested import REQUESTED_ONE, REQUESTED_SEVERAL
from lvqa_ray.records.tables import VIDEO_ID, TableName

COLUMNS: Mapping[TableName, list[str]] = {
    "data": [
        "video_id",
        "category",
        REQUESTED_ONE,
        "parsed_reasoning.OPTIONS",
        "parsed_reasoning.ANSWER",
        "video_info.duration_sec",
        "checks",
        "usage",
        "kind",
        "typed_answer",
    ],
    "drops": ["video_id", "category", "check", "kind", REQUESTED_ONE, "checks", "usage", "question_kind"],
    "failures": ["id", "stage", "kind", "retryable", "message", REQUESTED_SEVERAL, "usage"],
    "clips": ["duration_sec", "dropped", "error", "usage"],
    "analysis": ["video_id", "task", "error", "alone"],
    "traces": [*TRACE_KEYS, *TRACE_TEXTS],
}
"""Columns to read of each table, in this order: failures are counted only for videos without records."""


@dataclass(slots=True)
class FailedKind:
    """Videos with one kind of failure and no record.

    Attributes:
        stage: Stage in which the first of them failed.
        example: Id of the first.
        message: Why the first failed.
        count: Number of videos.
        retryable: How many of them the next run retries by itself.
    """

    kind: str
    stage: str
    example: str
    message: str
    count: int = 0
    retryable: int = 0


@dataclass(frozen=True, slots=True)
class OutputStatistics:
    """Statistics of an output.

    Attributes:
        questions: Question counts of the whole output.
        selected: Question counts of the selected videos.
        audit: Audit of the whole output.
        videos: Videos of the last manifest, or of the tables if there is none.
        alone: Videos with analysis results only.
        results: Analysis results of all videos, by task and then by outcome, ``made`` or ``failed``.
        failed: Failed videos by kind, most frequent first.
        clips: Clips by outcome: ``captioned``, ``filtered`` or ``failed``.
        clip_seconds: Length of every clip that was not filtered out (s).
        hours: Length of the videos with records (h).
    """

    questions: Funnel
    selected: Funnel
    audit: Audit
    videos: int
    alone: int
    results: dict[str, dict[str, int]]
    failed: list[FailedKind]
    clips: dict[str, int]
    clip_seconds: npt.NDArray[np.float64] = field(repr=False)
    hours: float

    @property
    def with_records(self) -> int:
        """Videos with at least one record."""
        return self.audit.videos

    @property
    def failures(self) -> int:
        """Videos that failed and have no record."""
        return sum(kind.count for kind in self.failed)

    @property
    def unfinished(self) -> int:
        """Videos with no outcome."""
        return max(0, self.videos - self.with_records - self.alone - self.failures)

    @property
    def dropped(self) -> dict[str, int]:
        """Dropped questions by check, and by kind if that differs, most frequent first."""
        drops: Counter[str] = Counter()
        for check, kinds in self.questions.dropped.items():
            for kind, number in kinds.items():
                drops[check if check == kind else f"{check}: {kind}"] += number
        return dict(drops.most_common())


def count(output: OutputReader, selected: Column | None = None) -> OutputStatistics:
    """Count an output.

    Args:
        output: The output.
        selected: Ids of videos whose questions are also counted separately; none, if not given.

    Raises:
        ConfigError: A shard cannot be read.
    """
    counter = _Counter(pa.array([], pa.string()) if selected is None else flat(selected))
    for table, columns in COLUMNS.items():
        for rows in output.batches(table, columns):
            counter.add(table, rows)
    return counter.statistics(output.videos() or 0, read_model_use(output.folder))


class _Counter:
    """Counts rows, table by table.

    Args:
        selected: Ids of videos whose questions are also counted separately.
    """

    def __init__(self, selected: pa.Array) -> None:
        self._selected = selected
        self._questions, self._of_selected, self._audit = QuestionCounter(), QuestionCounter(), AuditCounter()
        self._lengths: list[pa.Table] = []
        self._with_records: pa.Table | None = None
        self._failed: dict[str, FailedKind] = {}
        self._clips: Counter[str] = Counter(captioned=0, filtered=0, failed=0)
        self._clip_seconds: list[npt.NDArray[np.float64]] = []
        self._results: Counter[tuple[str, str]] = Counter()
        self._alone: set[str] = set()

    def add(self, table: TableName, rows: pa.RecordBatch) -> None:
        """Count rows of a table."""
        match table:
            case "data":
                self._questions.add_records(rows)
                self._of_selected.add_records(self._mine(rows, table))
                self._audit.add_records(rows)
                length = pc.struct_field(rows["video_info"], "duration_sec")
                self._lengths.append(_longest(pa.table({"id": rows["video_id"], "s": length})))
            case "drops":
                self._questions.add_drops(rows)
                self._of_selected.add_drops(self._mine(rows, table))
                self._audit.add_questions(rows, kept=False)
            case "failures":
                self._audit.add_usage(rows["usage"])
                self._add_failures(rows.filter(pc.invert(pc.is_in(rows["id"], value_set=self._recorded()["id"]))))
            case "clips":
                self._audit.add_cost("caption", rows["usage"])
                self._add_clips(rows)
            case "traces":
                self._audit.pairs.add(rows)
            case _:
                self._add_results(rows)

    def statistics(self, videos: int, models: Sequence[ModelUse]) -> OutputStatistics:
        """The sums.

        Args:
            videos: Number of videos of the last run; 0 if unknown.
            models: Time of the models that the runs served themselves.
        """
        recorded, questions = self._recorded(), self._questions.counts()
        failed = sorted(self._failed.values(), key=lambda one: -one.count)
        outcomes = recorded.num_rows + len(self._alone) + sum(one.count for one in failed)
        results = {task: {end: self._results[task, end] for end in ("made", "failed")} for task in TASKS}
        return OutputStatistics(
            questions=questions,
            selected=self._of_selected.counts(),
            audit=self._audit.audit(questions, recorded.num_rows, models),
            videos=max(videos, outcomes),
            alone=len(self._alone),
            results={task: ends for task, ends in results.items() if any(ends.values())},
            failed=failed,
            clips=dict(self._clips),
            clip_seconds=np.concatenate([np.empty(0), *self._clip_seconds]),
            hours=(pc.sum(recorded["s"]).as_py() or 0.0) / 3600,
        )

    def _mine(self, rows: pa.RecordBatch, table: TableName) -> pa.RecordBatch:
        return rows.filter(pc.is_in(rows[VIDEO_ID[table]], value_set=self._selected))

    def _recorded(self) -> pa.Table:
        """The videos with records, and their lengths (s)."""
        if self._with_records is None:
            none = pa.table({"id": pa.array([], pa.string()), "s": pa.array([], pa.float64())})
            self._with_records = _longest(pa.concat_tables([none, *self._lengths])).combine_chunks()
            self._lengths = []
        return self._with_records

    def _add_failures(self, rows: pa.RecordBatch) -> None:
        self._questions.add_failures(rows)
        self._of_selected.add_failures(self._mine(rows, "failures"))
        for row in rows.select(["id", "stage", "kind", "retryable", "message"]).to_pylist():
            first = FailedKind(row["kind"], row["stage"], row["id"], row["message"] or "")
            kind = self._failed.setdefault(row["kind"], first)
            kind.count += 1
            kind.retryable += bool(row["retryable"])

    def _add_clips(self, rows: pa.RecordBatch) -> None:
        kept = rows.filter(pc.is_null(rows["dropped"]))
        failed = kept.num_rows - kept["error"].null_count
        self._clips.update(captioned=kept.num_rows - failed, filtered=rows.num_rows - kept.num_rows, failed=failed)
        self._clip_seconds.append(np.asarray(kept["duration_sec"].to_numpy(zero_copy_only=False), np.float64))

    def _add_results(self, rows: pa.RecordBatch) -> None:
        self._alone.update(rows.filter(pc.fill_null(rows["alone"], False))["video_id"].unique().to_pylist())
        for (task, end), number in counted(rows["task"], pc.if_else(pc.is_valid(rows["error"]), "failed", "made")):
            self._results[task, end] += number


def _longest(rows: pa.Table) -> pa.Table:
    """The greatest ``s`` of each ``id``."""
    return rows.group_by("id").aggregate([("s", "max")]).rename_columns(["id", "s"])

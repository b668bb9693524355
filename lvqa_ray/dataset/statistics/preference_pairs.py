"""Preference pairs: a correct and an incorrect trace of the same question, of similar length."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.statistics import significance
from lvqa_ray.dataset.statistics.significance import Share
from lvqa_ray.records import LETTERS

LENGTH_RATIO = 1.5
"""Maximum ratio of the lengths of the two traces of a pair: a trainer must not learn that long answers are better."""
PAIR_SOURCES = ("watch", "solve", "prose")
"""Checks whose traces make pairs, the preferred first."""
TRACE_KEYS = [
    "question_id",
    "kept",
    "check",
    "attempt",
    "answer",
    "correct",
    "readable",
    "letters_unclear",
    "option_order",
]
"""Columns of ``traces/`` by which pairs are chosen."""
TRACE_TEXTS = ["thoughts", "reply"]
TraceRow = dict[str, Any]


class PreferencePair(NamedTuple):
    """The two rows of a pair."""

    chosen: TraceRow
    rejected: TraceRow


def pair_of(rows: Sequence[TraceRow]) -> PreferencePair | None:
    """The pair of a question, if it has one: of the first of `PAIR_SOURCES` with two traces of similar length.

    Both traces have clear option letters and an answer. An answer that counts as right and is not exactly the key is
    neither correct nor incorrect (``correct`` is ``None``), and makes no pair. Of several
    pairs it is that with the closest lengths.

    Args:
        rows: All traces of the question, each with `TRACE_KEYS` and its ``length`` in characters.
    """
    for source in PAIR_SOURCES:
        usable = [
            row
            for row in rows
            if row["check"] == source
            and row["readable"]
            and row["answer"]
            and row["length"]
            and not row["letters_unclear"]
        ]
        pairs = [
            (abs(math.log(right["length"] / wrong["length"])), right["attempt"], wrong["attempt"], right, wrong)
            for right in usable
            if right["correct"]
            for wrong in usable
            if wrong["correct"] is False
        ]
        best = min(pairs, key=lambda pair: pair[:3], default=None)
        if best is not None and best[0] <= math.log(LENGTH_RATIO):
            return PreferencePair(best[3], best[4])
    return None


def questions(rows: Iterable[TraceRow]) -> Iterator[list[TraceRow]]:
    """The traces of each record, from rows in the order of the table; those of dropped questions are left out."""
    for _, group in itertools.groupby(rows, key=lambda row: row["question_id"]):
        traces = list(group)
        if traces[0]["kept"]:
            yield traces


def with_lengths(batch: pa.RecordBatch, columns: Sequence[str]) -> list[TraceRow]:
    """Some columns of the rows of a batch, and the ``length`` of each reasoning: the thoughts, or else the reply."""
    texts = pc.coalesce(batch["thoughts"], batch["reply"], "")
    lengths = pc.utf8_length(texts).to_pylist()
    rows = batch.select(list(columns)).to_pylist()
    return [row | {"length": length} for row, length in zip(rows, lengths, strict=True)]


@dataclass(frozen=True, slots=True)
class PairAudit:
    """Biases of the preference pairs of an output.

    Attributes:
        pairs: Number of pairs.
        records: Number of records with traces.
        longer: Share of pairs whose chosen trace is longer than the rejected one; equal lengths are not counted.
        positions: Pairs by the position at which the answer was shown: of ``chosen`` and of ``rejected`` traces.
        positions_p: p value of the test that these positions are uniform.
    """

    pairs: int
    records: int
    longer: Share
    positions: dict[str, dict[str, int]]
    positions_p: dict[str, float]


@dataclass(slots=True)
class PairCounter:
    """Streaming counter for `PairAudit`."""

    pairs: int = 0
    records: int = 0
    longer: int = 0
    unequal: int = 0
    positions: Counter[tuple[str, str]] = field(default_factory=Counter)
    _open: list[TraceRow] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count rows of ``traces/``; the last question is counted once its rows are complete."""
        rows = [*self._open, *with_lengths(batch, TRACE_KEYS)]
        last = rows[-1]["question_id"] if rows else None
        self._open = [row for row in rows if row["question_id"] == last]
        self._count(row for row in rows if row["question_id"] != last)

    def audit(self) -> PairAudit:
        """The counts of all rows."""
        self._count(self._open)
        self._open = []
        sides = ("chosen", "rejected")
        positions: dict[str, dict[str, int]] = {
            side: {letter: self.positions[side, letter] for letter in LETTERS} for side in sides
        }
        return PairAudit(
            pairs=self.pairs,
            records=self.records,
            longer=significance.share(self.longer, self.unequal, 0.5),
            positions=positions,
            positions_p={side: significance.uniform(list(counts.values())) for side, counts in positions.items()},
        )

    def _count(self, rows: Iterable[TraceRow]) -> None:
        for traces in questions(rows):
            self.records += 1
            if (pair := pair_of(traces)) is None:
                continue
            self.pairs += 1
            self.unequal += pair.chosen["length"] != pair.rejected["length"]
            self.longer += pair.chosen["length"] > pair.rejected["length"]
            for side, row in (("chosen", pair.chosen), ("rejected", pair.rejected)):
                place = (row["option_order"] or "").find(row["answer"])
                if place in range(len(LETTERS)):
                    self.positions[side, LETTERS[place]] += 1

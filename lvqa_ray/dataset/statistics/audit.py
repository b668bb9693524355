"""What an output holds, measured against chance: keys, lengths, guesses, spans, and what a kept question costs.

Read in columns, shard by shard: 100,000 questions take seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.compaction import Current
from lvqa_ray.dataset.current_rows import match_current_run
from lvqa_ray.dataset.outcomes import flat, numbers
from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.dataset.statistics import significance
from lvqa_ray.dataset.statistics.significance import Mean, Share
from lvqa_ray.records import LETTERS
from lvqa_ray.records.requested import against, requested
from lvqa_ray.records.tables import SCHEMAS, VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath

GUESS = 1 / len(LETTERS)
BILL = ("calls", "input_tokens", "output_tokens", "cost_usd")
COLUMNS: Mapping[TableName, list[str]] = {
    "data": [
        "video_id",
        "category",
        "requested_category",
        "parsed_reasoning.OPTIONS",
        "parsed_reasoning.ANSWER",
        "checks",
        "usage",
    ],
    "drops": ["check", "kind", "requested_category", "checks", "usage"],
    "failures": ["id", "usage", "requested_categories"],
    "clips": ["usage"],
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What some calls came to when they were paid.

    Attributes:
        calls: Replies.
        input_tokens: Prompt tokens.
        output_tokens: Reply tokens.
        cost_usd: US dollars, ``None`` where no price was known.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """What an output holds.

    Attributes:
        videos: Videos with a record.
        records: Questions that were kept.
        dropped: The others, by check and then by kind.
        checks: Verdicts by check: ``passed``, ``marked``, ``repaired`` and ``dropped``.
        categories: Records by category.
        quota: Questions by category, ``requested`` and ``delivered``; also of videos whose questions all failed.
        keys: Records by the letter of their key.
        keys_p: Probability that these differ so much by chance alone.
        longest: How often the longest option is the key, where one is the longest.
        shortest: The same of the shortest.
        blind: Share of guesses without the video that are the key: of all questions checked, and of those kept.
        solve: Share of answers from the captions that are the key, likewise.
        difficulty: Records by that share.
        grounded: Share of the cited time that was captioned, likewise.
        cost: What the answers cost, by stage or check; where a rerun may yet finish a video, without its checks.
    """

    videos: int
    records: int
    dropped: dict[str, dict[str, int]]
    checks: dict[str, dict[str, int]]
    categories: dict[str, int]
    quota: dict[str, dict[str, int]]
    keys: dict[str, int]
    keys_p: float
    longest: Share
    shortest: Share
    blind: dict[str, Mean]
    solve: dict[str, Mean]
    difficulty: dict[str, int]
    grounded: dict[str, Mean]
    cost: dict[str, Cost]

    @property
    def asked(self) -> int:
        """Questions that were asked for."""
        return self.records + sum(sum(kinds.values()) for kinds in self.dropped.values())

    @property
    def tokens_per_record(self) -> float | None:
        """Tokens, in and out, of all stages for each record."""
        total = sum(cost.input_tokens + cost.output_tokens for cost in self.cost.values())
        return total / self.records if self.records else None

    @property
    def usd_per_record(self) -> float | None:
        """US dollars of all stages for each record; ``None`` where a stage has no price."""
        costs = [cost.cost_usd for cost in self.cost.values() if cost.calls]
        if not self.records or None in costs:
            return None
        return sum(cost for cost in costs if cost is not None) / self.records


def audit(folder: StoragePath) -> Audit:
    """Look at all questions of an output folder.

    Raises:
        ConfigError: A shard cannot be read.
    """
    seen = _Seen()
    current = Current.of(folder) if _several_runs(folder) else None
    for rows in _read(folder, "data", current):
        seen.take_records(rows)
    for rows in _read(folder, "drops", current):
        for (check, kind), count in _counted(rows["check"], rows["kind"]):
            seen.dropped.setdefault(check, Counter())[kind] += count
        seen.requested += requested(rows)
        seen.take_verdicts(rows["checks"], kept=False)
        seen.take_usage(rows["usage"])
    for rows in _read(folder, "failures", current):
        seen.take_usage(rows["usage"])
        recorded = pc.is_in(rows["id"], value_set=pa.array(sorted(seen.videos), pa.string()))
        seen.requested += requested(rows.filter(pc.invert(recorded)))
    for rows in _read(folder, "clips", current):
        seen.add_cost("caption", rows["usage"])
    return seen.summed()


def _several_runs(folder: StoragePath) -> bool:
    """Whether there may be rows that a later run has replaced."""
    runs: set[str] = set()
    for table in SCHEMAS:
        for shard in shards(folder, table):
            runs.update(pc.unique(read_shard(shard, ["run_id"])["run_id"]).to_pylist())
    return len(runs) > 1


def _read(folder: StoragePath, table: TableName, current: Current | None) -> Iterator[pa.Table]:
    """The rows of a table that stand, shard by shard; columns that an earlier release lacks are null."""
    for shard in shards(folder, table):
        rows = read_shard(shard, list(dict.fromkeys([*COLUMNS[table], VIDEO_ID[table], "run_id"])))
        if current is not None:
            rows = rows.filter(pa.array(match_current_run(rows, table, current.tables[table]) >= 0))
        for name in COLUMNS[table]:
            if "." not in name and name not in rows.column_names:
                rows = rows.append_column(name, pa.nulls(rows.num_rows, SCHEMAS[table].field(name).type))
        yield rows.combine_chunks()


@dataclass
class _Seen:
    """What has been counted so far."""

    videos: set[str] = field(default_factory=set)
    records: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    checks: dict[str, Counter[str]] = field(default_factory=dict)
    categories: Counter[str] = field(default_factory=Counter)
    requested: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    extremes: Counter[str] = field(default_factory=Counter)
    scores: dict[tuple[str, bool], list[npt.NDArray[np.float64]]] = field(default_factory=dict)
    cost: dict[str, Cost] = field(default_factory=dict)

    def take_records(self, rows: pa.Table) -> None:
        """Count records."""
        self.records += rows.num_rows
        self.videos.update(rows["video_id"].unique().to_pylist())
        for (category,), count in _counted(pc.fill_null(rows["category"], "")):
            self.categories[category] += count
        self.requested += requested(rows)
        parsed = flat(rows["parsed_reasoning"])
        answers = pc.struct_field(parsed, "ANSWER")
        for (letter,), count in _counted(answers):
            self.keys[letter] += count
        self._take_lengths(pc.struct_field(parsed, "OPTIONS"), answers)
        self.take_verdicts(rows["checks"], kept=True)
        self.take_usage(rows["usage"])

    def take_usage(self, column: Any) -> None:  # noqa: ANN401 - Arrow arrays have no types
        """Add what the questions of some rows cost."""
        usage = flat(column)
        for stage in ("ask", "reformat"):  # of captions, the clips tell all
            self.add_cost(stage, pc.struct_field(usage, stage))

    def _take_lengths(self, options: Any, answers: Any) -> None:  # noqa: ANN401 - Arrow arrays have no types
        lengths = np.stack([numbers(pc.utf8_length(pc.struct_field(options, letter))) for letter in LETTERS], axis=1)
        key = numbers(pc.index_in(answers, value_set=pa.array(LETTERS)))
        for name, sign in (("longest", 1), ("shortest", -1)):
            signed = lengths * sign
            best = signed.argmax(axis=1)
            single = (signed == np.take_along_axis(signed, best[:, None], axis=1)).sum(axis=1) == 1
            self.extremes[name] += int((best == key)[single].sum())
            self.extremes[f"{name} of"] += int(single.sum())

    def take_verdicts(self, column: Any, *, kept: bool) -> None:  # noqa: ANN401 - as above
        """Count the verdicts on some questions, all of which were kept, or none."""
        verdicts = flat(column).flatten()
        name, passed = pc.struct_field(verdicts, "check"), pc.struct_field(verdicts, "passed")
        outcomes = pc.if_else(pc.fill_null(passed, False), "passed", pc.struct_field(verdicts, "action"))
        for (check, outcome), count in _counted(name, outcomes):
            self.checks.setdefault(check, Counter())[outcome] += count
        for check in name.unique().to_pylist():
            mine = verdicts.filter(pc.equal(name, check))
            scores = pc.drop_null(pc.struct_field(mine, "score"))
            self.scores.setdefault((check, kept), []).append(numbers(scores).astype(np.float64))
            self.add_cost(check, mine)

    def add_cost(self, stage: str, column: Any) -> None:  # noqa: ANN401 - as above
        """Add what some calls cost."""
        parts = [pc.sum(pc.struct_field(flat(column), name)).as_py() for name in BILL]
        before = self.cost.get(stage, Cost())
        calls, tokens_in, tokens_out = (part or 0 for part in parts[:3])
        if not calls and stage not in self.cost:
            return
        usd = [cost for cost in (before.cost_usd, parts[3]) if cost is not None]
        self.cost[stage] = Cost(
            before.calls + calls,
            before.input_tokens + tokens_in,
            before.output_tokens + tokens_out,
            sum(usd) if usd else None,
        )

    def summed(self) -> Audit:
        """What all of it comes to."""
        keys: dict[str, int] = {letter: self.keys[letter] for letter in LETTERS}
        solved = np.round(self._scores("solve", True), 2)
        return Audit(
            videos=len(self.videos),
            records=self.records,
            dropped={check: dict(kinds.most_common()) for check, kinds in self.dropped.items()},
            checks={check: dict(outcomes) for check, outcomes in self.checks.items()},
            categories=dict(self.categories.most_common()),
            quota=against(self.requested, self.categories),
            keys=keys,
            keys_p=significance.uniform(list(keys.values())),
            longest=self._extreme("longest"),
            shortest=self._extreme("shortest"),
            blind=self._means("blind"),
            solve=self._means("solve"),
            difficulty={f"{rate:g}": int((solved == rate).sum()) for rate in np.unique(solved)},
            grounded=self._means("grounding"),
            cost=self.cost,
        )

    def _extreme(self, name: str) -> Share:
        return significance.share(self.extremes[name], self.extremes[f"{name} of"], GUESS)

    def _means(self, check: str) -> dict[str, Mean]:
        kept = self._scores(check, True)
        return {
            "all": significance.mean(np.concatenate([kept, self._scores(check, False)])),
            "kept": significance.mean(kept),
        }

    def _scores(self, check: str, kept: bool) -> npt.NDArray[np.float64]:
        return np.concatenate([np.empty(0), *self.scores.get((check, kept), [])])


def _counted(*columns: Any) -> Iterator[tuple[list[str], int]]:  # noqa: ANN401 - as above
    """The different rows of some columns, each with how often it is there."""
    names = [str(number) for number in range(len(columns))]
    found = pa.table(list(columns), names=names).group_by(names).aggregate([([], "count_all")])
    for row in found.to_pylist():
        yield [row[name] for name in names], row["count_all"]

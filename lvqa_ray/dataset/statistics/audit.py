"""Audit of an output against chance: keys, option lengths, blind guesses, cited spans, and cost per kept question."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.model_use import ModelUse, gpu_cost
from lvqa_ray.dataset.outcomes import Column, numbers
from lvqa_ray.dataset.statistics import significance
from lvqa_ray.dataset.statistics.chance import ChanceCounter, KindAudit
from lvqa_ray.dataset.statistics.preference_pairs import PairAudit, PairCounter
from lvqa_ray.dataset.statistics.question_counts import Funnel, counted
from lvqa_ray.dataset.statistics.significance import Mean, Moments, Share
from lvqa_ray.records import LETTERS
from lvqa_ray.records.questions import SOLVE, WATCH
from lvqa_ray.records.usage import REPORTED

N = TypeVar("N", int, float)
GUESS = 1 / len(LETTERS)
BILL = ("calls", "input_tokens", "output_tokens", "cost_usd", *REPORTED)


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens and price of some calls when they were paid.

    Attributes:
        calls: Replies.
        input_tokens: Prompt tokens.
        output_tokens: Reply tokens.
        cost_usd: US dollars, ``None`` if no price was known.
        cached_tokens: Prompt tokens from the endpoints' prompt caches, ``None`` if no endpoint reported any count.
        cache_write_tokens: Prompt tokens written to these caches, likewise.
        reasoning_tokens: Reply tokens of hidden reasoning, likewise.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """Audit of an output.

    Attributes:
        videos: Videos with a record.
        records: Kept questions.
        dropped: Dropped questions, by check and then by kind.
        checks: Verdicts by check: ``passed``, ``marked``, ``repaired`` and ``dropped``.
        categories: Records by category.
        quota: Questions by category, ``requested`` and ``delivered``; also of videos whose questions all failed.
        keys: Records by the letter of their key.
        keys_p: p value of the test that the keys are uniform.
        longest: Share of questions whose key is the longest option; ties are not counted.
        shortest: The same for the shortest option.
        blind: Share of correct guesses without the video: of all questions checked, and of those kept.
        solve: Share of correct answers from the captions: of all questions checked, and of those kept.
        difficulty: Records by their share of correct answers from the captions.
        watch: Share of correct answers from the film: of all questions checked, and of those kept.
        watched: Questions checked, kept or not, by their share of correct answers from the film.
        pass_at: pass@k of these questions by k, up to the fewest tries of any: the mean probability that one of k
            answers is correct (the unbiased estimator of Chen et al., 2021, arXiv:2107.03374).
        success: Mean share of correct answers by category, from the captions (``solve``) and the film (``watch``).
        pairs: Biases of the preference pairs.
        grounded: Share of the cited time that was captioned: of all questions checked, and of those kept.
        kinds: The questions by kind, each with its measured chance.
        unaided: For questions that were also answered without the key's windows: the share of right answers from the
            windows that the key cites, and from windows chosen without it.
        cost: Cost of the replies, by stage or check; without the checks of failed videos that a rerun may finish.
        models: Time of the models that the runs served themselves.
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
    watch: dict[str, Mean]
    watched: dict[str, int]
    pass_at: dict[int, float]
    success: dict[str, dict[str, Mean]]
    pairs: PairAudit
    grounded: dict[str, Mean]
    kinds: dict[str, KindAudit]
    unaided: dict[str, Mean]
    cost: dict[str, Cost]
    models: tuple[ModelUse, ...] = ()

    @property
    def asked(self) -> int:
        """Requested questions."""
        return self.records + sum(sum(kinds.values()) for kinds in self.dropped.values())

    @property
    def tokens_per_record(self) -> float | None:
        """Tokens, in and out, of all stages for each record."""
        total = sum(cost.input_tokens + cost.output_tokens for cost in self.cost.values())
        return total / self.records if self.records else None

    @property
    def usd_per_record(self) -> float | None:
        """US dollars of all stages and GPU hours for each record; ``None`` if one of them has no price."""
        costs = [*(cost.cost_usd for cost in self.cost.values() if cost.calls), gpu_cost(self.models)]
        if not self.records or None in costs:
            return None
        return sum(cost for cost in costs if cost is not None) / self.records


def pass_at(watched: Mapping[tuple[int, int], int]) -> dict[int, float]:
    """pass@k by k, from the number of questions by their correct and their readable answers."""
    total = sum(watched.values())
    return {
        k: sum(count * (1 - math.comb(of - right, k) / math.comb(of, k)) for (right, of), count in watched.items())
        / total
        for k in range(1, min((of for _, of in watched), default=0) + 1)
    }


@dataclass(slots=True)
class AuditCounter:
    """Streaming counter for the fields of `Audit` except question counts; keeps sums only."""

    keys: Counter[str] = field(default_factory=Counter)
    extremes: Counter[str] = field(default_factory=Counter)
    difficulty: Counter[float] = field(default_factory=Counter)
    watched: Counter[tuple[int, int]] = field(default_factory=Counter)
    success: dict[tuple[str, str], Moments] = field(default_factory=dict)
    pairs: PairCounter = field(default_factory=PairCounter)
    scores: dict[tuple[str, bool], Moments] = field(default_factory=dict)
    cost: dict[str, Cost] = field(default_factory=dict)
    kinds: dict[str, ChanceCounter] = field(default_factory=dict)
    unaided: dict[str, Moments] = field(default_factory=dict)

    def add_records(self, rows: pa.RecordBatch) -> None:
        """Count records."""
        self._add_keys(rows)
        self.add_questions(rows, kept=True)
        rows = rows.filter(pc.equal(_kind_of(rows), "choice"))
        parsed = rows["parsed_reasoning"]
        answers = pc.struct_field(parsed, "ANSWER")
        for (letter,), count in counted(answers):
            self.keys[letter] += count
        self._add_lengths(pc.struct_field(parsed, "OPTIONS"), answers)

    def add_questions(self, rows: pa.RecordBatch, *, kept: bool) -> None:
        """Add scores and costs of some questions, which were all kept or all dropped."""
        verdicts = rows["checks"].flatten()
        name = pc.struct_field(verdicts, "check")
        for check in name.unique().to_pylist():
            mine = verdicts.filter(pc.equal(name, check))
            scores = numbers(pc.drop_null(pc.struct_field(mine, "score"))).astype(np.float64)
            if kept and check == SOLVE:
                self.difficulty.update(np.round(scores, 2).tolist())
            if check == WATCH:
                self._add_watched(mine)
            self.scores[check, kept] = self.scores.get((check, kept), Moments()) + Moments.of_values(scores)
            self.add_cost(check, mine)
        self._add_success(rows)
        self.add_usage(rows["usage"])
        self._add_scores_by_kind(rows, kept=kept)

    def _add_keys(self, rows: pa.RecordBatch) -> None:
        """Simulate guesses on the keys of kept questions."""
        choices = pc.equal(_kind_of(rows), "choice")
        letters = pc.struct_field(rows.filter(choices)["parsed_reasoning"], "ANSWER")
        for (letter,), count in counted(letters):
            self._of_kind("choice").add({"letter": letter}, 0.0, count)
        keyed = rows.filter(pc.invert(choices))
        if keyed.num_rows:
            lengths = pc.struct_field(keyed["video_info"], "duration_sec").to_pylist()
            for kind, answer, length in zip(
                keyed["kind"].to_pylist(), keyed["typed_answer"].to_pylist(), lengths, strict=True
            ):
                self._of_kind(kind).add(answer or {}, length or 0.0)

    def _add_scores_by_kind(self, rows: pa.RecordBatch, *, kept: bool) -> None:
        kinds = _kind_of(rows)
        for kind in kinds.unique().to_pylist():
            verdicts = rows.filter(pc.equal(kinds, kind))["checks"].flatten()
            name, score = pc.struct_field(verdicts, "check"), pc.struct_field(verdicts, "score")
            for check in ("blind", "solve"):
                scores = numbers(pc.drop_null(score.filter(pc.equal(name, check)))).astype(np.float64)
                self._of_kind(kind).add_scores(check, Moments.of_values(scores), kept=kept)
        name = pc.struct_field(rows["checks"].flatten(), "check")
        if not pc.any(pc.equal(name, "unaided")).as_py():
            return
        for verdicts in rows["checks"].to_pylist():
            scores_of = {one["check"]: one["score"] for one in verdicts or ()}
            aided, unaided = scores_of.get("solve"), scores_of.get("unaided")
            if aided is not None and unaided is not None:
                for what, value in (("cited", aided), ("unaided", unaided)):
                    self.unaided[what] = self.unaided.get(what, Moments()) + Moments.of_values(np.array([value]))

    def _of_kind(self, kind: str) -> ChanceCounter:
        return self.kinds.setdefault(kind, ChanceCounter(kind))  # type: ignore[arg-type] # as the shard has it

    def add_usage(self, usage: Column) -> None:
        """Add the cost of the questions of some rows, a struct of usage by stage."""
        for stage in ("ask", "reformat"):  # the rows of clips hold the cost of captions
            self.add_cost(stage, pc.struct_field(usage, stage))

    def add_cost(self, stage: str, column: Column) -> None:
        """Add the cost of some calls, a struct with the fields `BILL`; earlier releases lack some of them."""
        there = {field.name for field in column.type}
        parts = [pc.sum(pc.struct_field(column, name)).as_py() if name in there else None for name in BILL]
        before = self.cost.get(stage, Cost())
        calls, tokens_in, tokens_out = (part or 0 for part in parts[:3])
        if not calls and stage not in self.cost:
            return
        self.cost[stage] = Cost(
            before.calls + calls,
            before.input_tokens + tokens_in,
            before.output_tokens + tokens_out,
            _known_sum(before.cost_usd, parts[3]),
            *(_known_sum(getattr(before, name), part) for name, part in zip(REPORTED, parts[4:], strict=True)),
        )

    def audit(self, questions: Funnel, videos: int, models: Sequence[ModelUse] = ()) -> Audit:
        """The audit, with the question counts, the number of videos with a record, and the time of served models."""
        keys: dict[str, int] = {letter: self.keys[letter] for letter in LETTERS}
        return Audit(
            videos=videos,
            records=questions.kept,
            dropped=questions.dropped,
            checks=questions.checks,
            categories=questions.categories,
            quota=questions.quota,
            keys=keys,
            keys_p=significance.uniform(list(keys.values())),
            longest=self._extreme("longest"),
            shortest=self._extreme("shortest"),
            blind=self._means("blind"),
            solve=self._means("solve"),
            difficulty={f"{rate:g}": count for rate, count in sorted(self.difficulty.items())},
            watch=self._means(WATCH),
            watched=self._rates(),
            pass_at=pass_at(self.watched),
            success={
                category: {check: self.success.get((check, category), Moments()).mean() for check in (SOLVE, WATCH)}
                for category in sorted({category for _, category in self.success})
            },
            pairs=self.pairs.audit(),
            grounded=self._means("grounding"),
            kinds={kind: counter.audit() for kind, counter in self.kinds.items()},
            unaided={what: moments.mean() for what, moments in self.unaided.items()},
            cost=self.cost,
            models=tuple(models),
        )

    def _add_watched(self, verdicts: Column) -> None:
        """Count questions by their correct and their readable answers from the film."""
        scored = verdicts.filter(pc.is_valid(pc.struct_field(verdicts, "score")))
        scores, tries = (numbers(pc.struct_field(scored, name)) for name in ("score", "tries"))
        self.watched.update(zip(np.rint(scores * tries).astype(int).tolist(), tries.tolist(), strict=True))

    def _add_success(self, rows: pa.RecordBatch) -> None:
        """Add the scores of questions that were answered from captions or from the film, by category."""
        verdicts = rows["checks"].flatten()
        parents = pc.list_parent_indices(rows["checks"])
        categories, names = pc.fill_null(rows["category"], ""), pc.struct_field(verdicts, "check")
        scored = pc.is_valid(pc.struct_field(verdicts, "score"))
        for check in (SOLVE, WATCH):
            mine = pc.and_(pc.equal(names, check), scored)
            of = categories.take(parents.filter(mine))
            scores = pc.struct_field(verdicts.filter(mine), "score")
            for category in of.unique().to_pylist():
                some = numbers(scores.filter(pc.equal(of, category))).astype(np.float64)
                before = self.success.get((check, category), Moments())
                self.success[check, category] = before + Moments.of_values(some)

    def _rates(self) -> dict[str, int]:
        rates: Counter[float] = Counter()
        for (right, tries), count in self.watched.items():
            rates[round(right / tries, 2)] += count
        return {f"{rate:g}": count for rate, count in sorted(rates.items())}

    def _add_lengths(self, options: Column, answers: Column) -> None:
        lengths = np.stack([numbers(pc.utf8_length(pc.struct_field(options, letter))) for letter in LETTERS], axis=1)
        key = numbers(pc.index_in(answers, value_set=pa.array(LETTERS)))
        for name, sign in (("longest", 1), ("shortest", -1)):
            signed = lengths * sign
            best = signed.argmax(axis=1)
            single = (signed == np.take_along_axis(signed, best[:, None], axis=1)).sum(axis=1) == 1
            self.extremes[name] += int((best == key)[single].sum())
            self.extremes[f"{name} of"] += int(single.sum())

    def _extreme(self, name: str) -> Share:
        return significance.share(self.extremes[name], self.extremes[f"{name} of"], GUESS)

    def _means(self, check: str) -> dict[str, Mean]:
        kept = self.scores.get((check, True), Moments())
        lost = self.scores.get((check, False), Moments())
        return {"all": (kept + lost).mean(), "kept": kept.mean()}


def _kind_of(rows: pa.RecordBatch) -> pa.Array:
    """The kind of each question; shards of earlier releases, and unparsable replies, count as choices."""
    name = "kind" if "parsed_reasoning" in rows.column_names else "question_kind"
    column = rows[name] if name in rows.column_names else pa.nulls(rows.num_rows, pa.string())
    return pc.fill_null(column.cast(pa.string()), "choice")


def _known_sum(before: N | None, more: N | None) -> N | None:
    """Sum of two numbers, either of which may be unknown."""
    return more if before is None else before if more is None else before + more

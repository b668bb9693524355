"""Summary of a run: outcomes, cost, and exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lvqa_ray.dataset.model_use import ModelUse
from lvqa_ray.dataset.statistics.audit import Audit
from lvqa_ray.dataset.statistics.question_counts import Funnel
from lvqa_ray.dataset.verify import VerifyResult
from lvqa_ray.records import Usage


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Summary of a run.

    Attributes:
        videos: Videos of the manifest.
        already_done: Videos that needed no work, from an earlier run.
        records: Videos with records, or with results if the job asks no questions.
        failures: Videos that failed, by kind of failure.
        retryable: Videos that a rerun may fix: they failed, or lack the result of a task.
        unfinished: Videos without an outcome, because the run was halted.
        clips: Rows of the table of clips.
        verdict: Result of the verification at the end.
        questions: Counts of questions: requested, dropped by each check, kept.
        audit: Statistics of the output, compared with chance.
        spent: Usage that this run paid for, by stage; without cached replies.
        spent_by_model: The same by stage and model.
        models: Time of the models that the run served itself.
        halted: Why the run stopped early, or empty.
        over_budget: Whether ``engine.max_cost`` or ``engine.max_requests`` stopped it.
        signal: Number of the signal that stopped it, or 0.
        seconds: Duration (s).
    """

    output: str
    run_id: str
    job_hash: str
    videos: int
    already_done: int
    records: int
    failures: dict[str, int]
    retryable: int
    unfinished: int
    clips: int
    questions: Funnel
    audit: Audit
    spent: dict[str, Usage]
    spent_by_model: dict[str, dict[str, Usage]]
    halted: str
    seconds: float
    verdict: VerifyResult
    over_budget: bool = False
    signal: int = 0
    models: Sequence[ModelUse] = ()
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0: every video has a record or a permanent failure; 1: a rerun may do better; 3: the budget is spent.

        128 plus the number of the signal, if a signal stopped the run.
        """
        if self.signal:
            return 128 + self.signal
        if self.over_budget:
            return 3
        return 1 if self.retryable or self.halted or not self.verdict.ok else 0

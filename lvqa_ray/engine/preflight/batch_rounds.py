"""Rounds of file batches that a run takes, and how long these may last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvqa_ray.config import Job
from lvqa_ray.engine.preflight.estimate import JobEstimate


@dataclass(frozen=True, slots=True)
class BatchRounds:
    """Rounds of file batches: requests that depend on each other's answers go into different ones.

    Attributes:
        rounds: Number of rounds, if no request is sent again.
        hours: How long they take at most, if every batch ends within ``batch_hours``.
    """

    rounds: int = 0
    hours: float = 0.0


def batch_rounds(job: Job, stages: Mapping[str, JobEstimate], longest_s: float) -> BatchRounds:
    """The rounds of a run: one for each stage with requests on the tier ``batch``, more for `ask`.

    Args:
        job: The job.
        stages: Estimate of the calls by stage.
        longest_s: Length of the longest video, whose questions may take several calls one after another (s).
    """
    rounds, hours = 0, 0.0
    for stage in job.asking:
        at = job.endpoints.of(stage.role)
        if at.tier != "batch" or stage.name not in stages or not stages[stage.name].calls:
            continue
        in_turn = -(-len(job.ask.plan(longest_s)) // job.ask.per_call) if stage.name == job.ask.name else 1
        rounds += in_turn
        hours += in_turn * at.batch_hours
    return BatchRounds(rounds, hours)

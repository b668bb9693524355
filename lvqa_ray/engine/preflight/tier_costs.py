"""Cost of each role of a job on each price tier that its endpoint offers, with and without hits of the prompt cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvqa_ray.config import Job
from lvqa_ray.engine.preflight.estimate import JobEstimate
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.leader import goes_first
from lvqa_ray.llm.price_tiers import Tier
from lvqa_ray.llm.pricing import PER_MILLION, rates_of, tiers_offered
from lvqa_ray.stage import Role


@dataclass(frozen=True, slots=True)
class TierCost:
    """Estimated cost of a role on one tier in US dollars; ``None`` if a price is unknown.

    Attributes:
        cost_usd: Without hits of the prompt cache: an upper bound.
        with_cache_usd: With all hits that leader-first scheduling can give; the same where the tier has no discount for
            them, or no leader goes first.
        chosen: Whether this is the tier of the job.
    """

    cost_usd: float | None
    with_cache_usd: float | None
    chosen: bool


def tier_costs(job: Job, stages: Mapping[str, JobEstimate]) -> dict[Role, dict[Tier, TierCost]]:
    """The costs by role and tier, for roles with calls; speech-to-text has no tiers."""
    found: dict[Role, dict[Tier, TierCost]] = {}
    for role in job.endpoints.roles:
        parts = [stages[stage.name] for stage in job.asking if stage.role == role and stage.name in stages]
        if not sum(part.calls for part in parts):
            continue
        at = job.endpoints.of(role)
        found[role] = {
            tier: TierCost(_sum(at, parts, tier), _sum(at, parts, tier, hits=True), chosen=tier == at.tier)
            for tier in tiers_offered(at)
        }
    return found


def _sum(at: Endpoint, parts: list[JobEstimate], tier: Tier, *, hits: bool = False) -> float | None:
    on_tier = at.model_copy(update={"tier": tier})
    costs = [_cost(on_tier, part, part.cached_tokens if hits and goes_first(on_tier) else 0) for part in parts]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _cost(at: Endpoint, part: JobEstimate, cached: int) -> float | None:
    rates = rates_of(at, part.input_tokens // max(1, part.calls), at.tier)
    if rates is None:
        return None
    tokens_in = (part.input_tokens - cached) * rates.input + cached * rates.cached
    return (tokens_in + part.output_tokens * rates.output) / PER_MILLION

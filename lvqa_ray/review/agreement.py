"""Review statistics: accept rates with intervals, and Cohen's kappa of two reviewers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from lvqa_ray.dataset.statistics.significance import wilson
from lvqa_ray.review.decisions import Decision, in_force


@dataclass(frozen=True, slots=True)
class AcceptRate:
    """Share of accepted records.

    Attributes:
        accepted: Records that were accepted unchanged.
        edited: Records that were edited.
        dropped: Records that were dropped.
        low: Lower end of the 95 % interval of the share accepted unchanged (Wilson's).
        high: Its upper end.
    """

    accepted: int
    edited: int
    dropped: int
    low: float
    high: float

    @property
    def of(self) -> int:
        """Number of decisions."""
        return self.accepted + self.edited + self.dropped

    @classmethod
    def of_decisions(cls, made: Iterable[Decision]) -> AcceptRate:
        """Count decisions."""
        actions = [decision.action for decision in made]
        accepted, edited, dropped = (actions.count(action) for action in ("accept", "edit", "drop"))
        low, high = wilson(accepted, len(actions)) if actions else (0.0, 1.0)
        return cls(accepted, edited, dropped, low, high)


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement of two reviewers on the records that both reviewed.

    Attributes:
        reviewers: Their names.
        both: Number of these records.
        agreed: Number with the same action.
        kappa: Cohen's kappa (J. Cohen, 1960), agreement beyond chance; ``None`` where chance explains all of it.
    """

    reviewers: tuple[str, str]
    both: int
    agreed: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class ReviewStatistics:
    """Statistics of the decisions in force.

    Attributes:
        total: All of them.
        by: The same by ``category``, ``kind``, ``model``, ``check`` (a marked or repaired fault) and ``reviewer``.
        kappas: Agreement of each pair of reviewers with records in common.
    """

    total: AcceptRate
    by: Mapping[str, Mapping[str, AcceptRate]]
    kappas: tuple[Kappa, ...]


def review_statistics(made: Iterable[Decision]) -> ReviewStatistics:
    """Count the decisions of an output."""
    valid = in_force(made)
    groups: Mapping[str, Callable[[Decision], Iterable[str]]] = {
        "category": lambda decision: [decision.category],
        "kind": lambda decision: [decision.kind],
        "model": lambda decision: [decision.model],
        "check": lambda decision: decision.failed_checks,
        "reviewer": lambda decision: [decision.reviewer],
    }
    by: dict[str, dict[str, AcceptRate]] = {}
    for group, names_of in groups.items():
        found: dict[str, list[Decision]] = {}
        for decision in valid.values():
            for name in names_of(decision):
                if name:
                    found.setdefault(name, []).append(decision)
        by[group] = {name: AcceptRate.of_decisions(found[name]) for name in sorted(found)}
    return ReviewStatistics(AcceptRate.of_decisions(valid.values()), by, tuple(_kappas(valid)))


def _kappas(valid: Mapping[tuple[str, str], Decision]) -> Iterable[Kappa]:
    actions: dict[str, dict[str, str]] = {}
    for (record, reviewer), decision in valid.items():
        actions.setdefault(reviewer, {})[record] = decision.action
    for first, second in combinations(sorted(actions), 2):
        pairs = [
            (action, actions[second][record]) for record, action in actions[first].items() if record in actions[second]
        ]
        if pairs:
            agreed = sum(one == other for one, other in pairs)
            yield Kappa((first, second), len(pairs), agreed, cohens_kappa(pairs))


def cohens_kappa(pairs: list[tuple[str, str]]) -> float | None:
    """Cohen's kappa of pairs of categories; ``None`` where both raters use one category only, or without pairs."""
    if not pairs:
        return None
    seen = len(pairs)
    agreement = sum(one == other for one, other in pairs) / seen
    names = {name for pair in pairs for name in pair}
    chance = sum(sum(one == name for one, _ in pairs) * sum(other == name for _, other in pairs) for name in names) / (
        seen * seen
    )
    return None if chance == 1 else (agreement - chance) / (1 - chance)

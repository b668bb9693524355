"""Measured chance: how often a guess that does not look at the video is right, by kind of question.

Every guess is the best of its kind over the corpus: the letter, number, order or text that is right most often, and for
time spans the middle part of the video (a tenth, a quarter, a half, all of it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lvqa_ray.dataset.statistics.significance import Mean, Moments
from lvqa_ray.qa.grading import RIGHT, middle_of, temporal_iou, tokens_of
from lvqa_ray.records import LETTERS, Kind, Span

MIDDLES = (0.1, 0.25, 0.5, 1.0)
"""Lengths of the guessed middle part, as shares of the video."""
NOMINAL: Mapping[str, float] = {"choice": 1 / len(LETTERS)}
"""Chance of a random guess, where the answer is one of a fixed number."""
MAX_CANDIDATES = 50
"""Numbers that are tried as the constant guess: the most frequent ones."""


@dataclass(frozen=True, slots=True)
class KindAudit:
    """Audit of the questions of one kind.

    Attributes:
        records: Kept questions.
        chance: Share of them that the best constant or mid-film guess answers right; ``None`` without questions.
        guess: That guess.
        nominal: Chance of a random guess, ``None`` if there is none.
        blind: Share of right guesses without the video: of all questions checked, and of those kept.
        solve: Share of right answers from the captions, likewise.
    """

    records: int
    chance: float | None
    guess: str
    nominal: float | None
    blind: dict[str, Mean]
    solve: dict[str, Mean]


@dataclass(slots=True)
class ChanceCounter:
    """Streaming simulation of guesses on the keys of one kind; keeps counts only."""

    kind: Kind
    records: int = 0
    guesses: Counter[str] = field(default_factory=Counter)
    numbers: Counter[tuple[float, float]] = field(default_factory=Counter)
    scores: dict[tuple[str, bool], Moments] = field(default_factory=dict)

    def add(self, answer: Mapping[str, Any], duration_s: float, count: int = 1) -> None:
        """Add a key (the column `answer`) of some kept questions about videos of one length (s)."""
        self.records += count
        match self.kind:
            case "choice":
                self.guesses[f"always {answer.get('letter')}"] += count
            case "span":
                key = [Span(start_s=one["start_s"], end_s=one["end_s"]) for one in answer.get("spans") or ()]
                for share in MIDDLES:
                    right = temporal_iou([middle_of(duration_s, share)], key) >= RIGHT["span"]
                    self.guesses[f"the middle {100 * share:.0f} %"] += right
            case "number":
                self.numbers[answer.get("number") or 0.0, answer.get("tolerance") or 0.0] += 1
            case "order":
                self.guesses[f"always {', '.join(map(str, answer.get('order') or ()))}"] += 1
            case _:
                self.guesses[f"always {' '.join(tokens_of(answer.get('text') or ''))}"] += 1

    def add_scores(self, check: str, scores: Moments, *, kept: bool) -> None:
        """Add the scores of a check."""
        self.scores[check, kept] = self.scores.get((check, kept), Moments()) + scores

    def audit(self) -> KindAudit:
        """The result."""
        guesses = self.guesses + self._constant_numbers()
        guess, right = max(guesses.items(), key=lambda pair: pair[1], default=("", 0))
        return KindAudit(
            records=self.records,
            chance=right / self.records if self.records else None,
            guess=guess if right else "",
            nominal=NOMINAL.get(self.kind),
            blind=self._means("blind"),
            solve=self._means("solve"),
        )

    def _constant_numbers(self) -> Counter[str]:
        frequent: Counter[float] = Counter()
        for (number, _), count in self.numbers.items():
            frequent[number] += count
        return Counter(
            {
                f"always {guess:g}": sum(
                    count
                    for (number, tolerance), count in self.numbers.items()
                    if abs(number - guess) <= tolerance + 1e-9
                )
                for guess, _ in frequent.most_common(MAX_CANDIDATES)
            }
        )

    def _means(self, check: str) -> dict[str, Mean]:
        kept, lost = (self.scores.get((check, one), Moments()) for one in (True, False))
        return {"all": (kept + lost).mean(), "kept": kept.mean()}

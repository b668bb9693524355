"""What chance alone would give: intervals and p values for shares of counted things.

The same as `scipy.stats`, which a test compares, without its import of 0.7 s and 70 MB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z = 1.959964
"""Standard errors to each side of a 95 % interval."""
NEGLIGIBLE = 1e-17
"""A part of a sum that changes none of its digits."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many, against what chance would give.

    Attributes:
        hits: Those counted.
        of: All of them.
        chance: The share that chance gives.
        low: Lower end of the 95 % interval of the share (Wilson's).
        high: Its upper end.
        p: Probability of at least so many by chance alone (binomial, exact).
    """

    hits: int
    of: int
    chance: float
    low: float
    high: float
    p: float

    @property
    def share(self) -> float | None:
        """The share; ``None`` of nothing."""
        return self.hits / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over questions, with the 95 % interval that their spread gives.

    Attributes:
        of: How many questions.
        mean: ``None`` of nothing.
        low: Lower end of the interval.
        high: Its upper end.
    """

    of: int
    mean: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Moments:
    """The mean and spread of values that are not kept, by the method of Chan, Golub and LeVeque.

    Attributes:
        of: How many values.
        middle: Their mean.
        squares: Sum of the squared distances from it.
    """

    of: int = 0
    middle: float = 0.0
    squares: float = 0.0

    @classmethod
    def of_values(cls, values: npt.NDArray[np.float64]) -> Moments:
        """Those of some values."""
        return cls(len(values), float(values.mean()), float(values.var() * len(values))) if len(values) else cls()

    def __add__(self, other: Moments) -> Moments:
        of = self.of + other.of
        if not of:
            return self
        apart = other.middle - self.middle
        return Moments(
            of,
            self.middle + apart * other.of / of,
            self.squares + other.squares + apart * apart * self.of * other.of / of,
        )

    def mean(self) -> Mean:
        """The mean and its interval."""
        if not self.of:
            return Mean(0, None, 0.0, 1.0)
        half = Z * math.sqrt(self.squares / (self.of - 1) / self.of) if self.of > 1 else 1.0
        return Mean(self.of, self.middle, max(0.0, self.middle - half), min(1.0, self.middle + half))


def share(hits: int, of: int, chance: float) -> Share:
    """A share with its interval, and how likely chance gives as much."""
    low, high = wilson(hits, of)
    return Share(hits, of, chance, low, high, at_least(hits, of, chance))


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not of:
        return 0.0, 1.0
    rate, spread = hits / of, Z * Z / of
    middle = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def at_least(hits: int, of: int, chance: float) -> float:
    """Probability of at least so many hits among independent ones that each come by chance."""
    if hits <= 0:
        return 1.0
    if hits <= of * chance:  # the other tail has fewer terms that count
        return 1.0 - at_least(of - hits + 1, of, 1.0 - chance)
    ways = math.lgamma(of + 1) - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)
    term = math.exp(ways + hits * math.log(chance) + (of - hits) * math.log1p(-chance))
    total, k = 0.0, hits
    while term > total * NEGLIGIBLE:
        total += term
        term *= (of - k) / (k + 1) * chance / (1.0 - chance)
        k += 1
    return min(1.0, total)


def uniform(counts: Sequence[int]) -> float:
    """Probability that four counts differ so much from equal ones by chance alone (chi squared, 3 degrees)."""
    total = sum(counts)
    if not total:
        return 1.0
    x = sum((count - total / 4) ** 2 for count in counts) / (total / 4)
    return math.erfc(math.sqrt(x / 2)) + math.sqrt(2 * x / math.pi) * math.exp(-x / 2)

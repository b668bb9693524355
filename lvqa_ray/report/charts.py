"""Chart data for the template: bar heights in percent, labels, and a sentence for screen readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lvqa_ray.journal.book import Pace

MOST_BUCKETS = 72
PAUSE_S = 1800.0
"""A gap between replies longer than this (s) starts a new sitting (a period of activity)."""
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its height in percent of the tallest bar, and its label."""

    height: float
    says: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Histogram bars from left to right, the labels of both ends, and a one-sentence summary."""

    bars: list[Bar]
    first: str
    last: str
    says: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Response times of the endpoint for one stage (s)."""

    stage: str
    count: int
    median: float
    p95: float
    longest: float
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class Rate:
    """Replies over time, as a stacked area chart.

    Attributes:
        areas: Stage, colour number and SVG path, stacked, in a box of 100 x 100 with its origin at the top left.
        most: Replies per minute at the top of the box.
        tokens: Tokens per minute, on average.
        minutes: Width of the box.
        sittings: Number of periods of activity; the longest is shown.
    """

    areas: list[tuple[str, int, str]]
    most: float
    tokens: float
    minutes: float
    sittings: int
    says: str


def histogram(values: npt.NDArray[Any], unit: str = "s", bins: int = 24, *, log: bool = False) -> Histogram | None:
    """Histogram of values; ``None`` if there are none.

    Args:
        values: Non-negative numbers.
        unit: Unit of the values.
        bins: Maximum number of bars.
        log: Use logarithmic bins.
    """
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9 * max(1.0, high):
        return Histogram([], "", "", f"all {len(values):,} take {low:.3g} {unit}")
    low = max(low, high / 1e4) if log else low
    edges = np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    bars = [
        Bar(100.0 * count / counts.max(), f"{edges[n]:.3g} to {edges[n + 1]:.3g} {unit}: {count:,}")
        for n, count in enumerate(counts)
    ]
    middle = float(np.median(values))
    says = f"{len(values):,} values from {low:.3g} to {high:.3g} {unit}, half of them up to {middle:.3g} {unit}"
    return Histogram(bars, f"{low:.3g} {unit}", f"{high:.3g} {unit}", says)


def waits(paces: Mapping[str, Pace], stages: Sequence[str]) -> list[Wait]:
    """Response times by stage; stages without times are left out."""
    found = []
    for stage in stages:
        taken = np.array(paces[stage].seconds, np.float64) if stage in paces else np.empty(0)
        taken = taken[taken > 0]
        shape = histogram(taken, log=True)
        if shape is not None:
            median, p95 = np.percentile(taken, [50, 95])
            found.append(Wait(stage, len(taken), float(median), float(p95), float(taken.max()), shape))
    return found


def rate(paces: Mapping[str, Pace], stages: Sequence[str]) -> Rate | None:
    """Replies per minute over the longest sitting; ``None`` if the journal has no times or too few."""
    stages = [stage for stage in stages if stage in paces and len(paces[stage].at)]
    if not stages:
        return None
    at = np.sort(np.concatenate([np.array(paces[stage].at) for stage in stages]))
    parts = np.split(at, np.flatnonzero(np.diff(at) > PAUSE_S) + 1)
    sitting = max(parts, key=len)
    first, last = float(sitting[0]), float(sitting[-1])
    width = next((step for step in STEPS_S if (last - first) / step < MOST_BUCKETS), STEPS_S[-1])
    buckets = int((last - first) // width) + 1
    if buckets < 3:
        return None
    edges = first + width * np.arange(buckets + 1)
    below = np.zeros(buckets)
    layers = []
    tokens = 0
    for stage in stages:
        when = np.array(paces[stage].at)
        counts, _ = np.histogram(when, edges)
        tokens += int(np.array(paces[stage].tokens)[(when >= first) & (when <= last)].sum())
        layers.append((stage, below, below + counts * 60 / width))
        below = layers[-1][2]
    most = float(below.max())
    areas = [(stage, number, _area(low / most, high / most)) for number, (stage, low, high) in enumerate(layers)]
    minutes = (last - first) / 60
    says = f"{len(sitting):,} replies in {minutes:.1f} minutes, at most {most:,.0f} per minute"
    return Rate(areas, most, tokens / max(minutes, 1 / 60), minutes, len(parts), says)


def _area(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> str:
    """SVG path of the band between two step lines."""
    width = 100 / len(low)
    there = [f"L{width * n:.2f} {100 - 100 * y:.2f}H{width * (n + 1):.2f}" for n, y in enumerate(high)]
    back = [f"L{width * (n + 1):.2f} {100 - 100 * y:.2f}H{width * n:.2f}" for n, y in reversed(list(enumerate(low)))]
    return "M" + "".join([*there, *back]).removeprefix("L") + "Z"

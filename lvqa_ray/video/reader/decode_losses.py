"""Decode losses: the time spans of a video that could not be decoded, or only in part.

Readers report losses with `note_loss`; a caller collects them with `watch_losses`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lvqa_ray.records import Span


class Losses:
    """Lost time spans of one video, in seconds from the first frame, as far as it was decoded."""

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float]] = []

    def add(self, start_s: float, end_s: float) -> None:
        """Add a time span, merged with spans that it touches."""
        while self._stretches and start_s <= self._stretches[-1][1] and end_s >= self._stretches[-1][0]:
            first, last = self._stretches.pop()
            start_s, end_s = min(start_s, first), max(end_s, last)
        self._stretches.append((start_s, end_s))

    def __bool__(self) -> bool:
        return bool(self._stretches)

    def within(self, span: Span) -> float:
        """Seconds of a span that are lost."""
        total = 0.0
        until = span.start_s
        for first, last in sorted(self._stretches):
            begin, end = max(first, until), min(last, span.end_s)
            if end > begin:
                total += end - begin
                until = end
        return total


_watching: ContextVar[Losses | None] = ContextVar("watching", default=None)


@contextmanager
def watch_losses() -> Iterator[Losses]:
    """Collect all losses while the block reads one video."""
    losses = Losses()
    before = _watching.get()
    _watching.set(losses)
    try:
        yield losses
    finally:
        _watching.set(before)


def note_loss(start_s: float, end_s: float) -> None:
    """Report a lost time span to the active `watch_losses`, if any."""
    losses = _watching.get()
    if losses is not None and end_s > start_s:
        losses.add(start_s, end_s)

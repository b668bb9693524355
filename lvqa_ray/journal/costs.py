"""Costs by stage and model from the journal, for usable and unusable replies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lvqa_ray.journal.entries import JournalEntry, entry_of
from lvqa_ray.journal.segments import Segments, names_by_time, scan
from lvqa_ray.records import Usage


def usage_of(entry: JournalEntry) -> Usage:
    """Usage of one line of the journal."""
    return replace(entry.usage, unusable=int(bool(entry.unusable)))


def total(parts: Iterable[Usage]) -> Usage:
    """Sum of usages."""
    return sum(parts, Usage())


def spent(segments: Segments, run_id: str) -> dict[str, dict[str, Usage]]:
    """Usage of a run by stage and then by model, including replies that led to no record."""
    sums: dict[str, dict[str, Usage]] = {}
    # The journal may be missing: that has stopped the run, and its summary must still be possible.
    names = [name for name in names_by_time(segments) if name.partition("-")[2].startswith(f"{run_id}_")]
    for name, _, line in scan(segments, names):
        if (entry := entry_of(line)) is not None:
            charge(sums, name, entry)
    return sums


def charge(sums: dict[str, dict[str, Usage]], segment: str, entry: JournalEntry) -> None:
    """Add the usage of a line to the sum of its stage and model."""
    models = sums.setdefault(segment.partition("-")[0], {})
    models[entry.model] = models.get(entry.model, Usage()) + usage_of(entry)

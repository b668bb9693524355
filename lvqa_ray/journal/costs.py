"""What was paid for, by stage and model, from the journal: the answers, and the replies that are of no use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lvqa_ray.journal.entries import JournalEntry, entry_of
from lvqa_ray.journal.segments import Segments, names_by_time, scan
from lvqa_ray.records import Usage


def usage_of(entry: JournalEntry) -> Usage:
    """What one line of the journal came to."""
    return replace(entry.usage, unusable=int(bool(entry.unusable)))


def total(parts: Iterable[Usage]) -> Usage:
    """The sum."""
    return sum(parts, Usage())


def spent(segments: Segments, run_id: str) -> dict[str, dict[str, Usage]]:
    """What a run paid, by stage and then by model: also for replies that came to no record."""
    sums: dict[str, dict[str, Usage]] = {}
    # The journal may be gone: its loss has stopped the run, and the summary is still to be had.
    names = [name for name in names_by_time(segments) if name.partition("-")[2].startswith(f"{run_id}_")]
    for name, _, line in scan(segments, names):
        if (entry := entry_of(line)) is not None:
            charge(sums, name, entry)
    return sums


def charge(sums: dict[str, dict[str, Usage]], segment: str, entry: JournalEntry) -> None:
    """Add what a line of a segment came to, under its stage and model."""
    models = sums.setdefault(segment.partition("-")[0], {})
    models[entry.model] = models.get(entry.model, Usage()) + usage_of(entry)

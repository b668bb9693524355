"""What was paid for, by stage and model, from the journal: the answers, and the replies that are of no use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lvqa_ray.journal.entries import JournalEntry, entry_of
from lvqa_ray.journal.segments import Segments
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
    try:
        names = sorted(segments.sizes())
    except (FileNotFoundError, NotADirectoryError):
        return {}  # the journal is gone: its loss has stopped the run, and the summary is still to be had
    for name in names:
        stage, _, writer = name.partition("-")
        if not writer.startswith(f"{run_id}_"):
            continue
        for line in segments.lines(name, 0):
            entry = entry_of(line)
            if entry is not None:
                models = sums.setdefault(stage, {})
                models[entry.model] = models.get(entry.model, Usage()) + usage_of(entry)
    return sums

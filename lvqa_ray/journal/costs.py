"""What was paid for, by stage and model, from the journal: the answers, and the replies that are of no use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lvqa_ray.journal.entries import JournalEntry, entry_of
from lvqa_ray.journal.segments import Segments


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls came to.

    Attributes:
        calls: Replies that were paid for.
        unusable: Those of them that were cut off, filtered, refused or empty.
        input_tokens: Prompt tokens, as the endpoint counted them.
        output_tokens: Reply tokens, as the endpoint counted them.
        cost_usd: US dollars, ``None`` where no price is known.
    """

    calls: int = 0
    unusable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None

    @classmethod
    def on(cls, entry: JournalEntry) -> Spent:
        """What one line of the journal came to."""
        usage = entry.usage
        return cls(1, int(bool(entry.unusable)), usage.input_tokens, usage.output_tokens, usage.cost_usd)

    def __add__(self, other: Spent) -> Spent:
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Spent(
            self.calls + other.calls,
            self.unusable + other.unusable,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            sum(costs) if costs else None,
        )


def total(parts: Iterable[Spent]) -> Spent:
    """The sum."""
    return sum(parts, Spent())


def spent(segments: Segments, run_id: str) -> dict[str, dict[str, Spent]]:
    """What a run paid, by stage and then by model: also for replies that came to no record."""
    sums: dict[str, dict[str, Spent]] = {}
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
                models[entry.model] = models.get(entry.model, Spent()) + Spent.on(entry)
    return sums

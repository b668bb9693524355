"""Budget of file batches: replaces what their requests have reserved by what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvqa_ray.journal.batch_log import LoggedBatch
from lvqa_ray.llm.batches.batch_queue import BatchEntry
from lvqa_ray.llm.batches.result_rows import Result
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.llm.middleware.budget import BudgetClient
from lvqa_ray.records import Usage


class BatchBudget:
    """Settles whole batches with the budget of a run.

    Args:
        budget: The budget; ``None`` if the run has none.
    """

    def __init__(self, budget: BudgetClient | None) -> None:
        self._budget = budget

    async def settle(self, logged: LoggedBatch, results: Mapping[str, Result]) -> None:
        """Replace the reserved budget of a batch by its cost."""
        reserved = cost = 0.0
        for entry in logged.entries:
            estimate = entry.estimate_usd if logged.ours else 0.0
            result = results.get(entry.key)
            reserved += estimate
            if isinstance(result, ChatReply) or (result is not None and result.bill is not None):
                usd = (result.usage if isinstance(result, ChatReply) else Usage.of(result)).cost_usd
                cost += estimate if usd is None else usd
        if self._budget is not None:
            await self._budget.settle(reserved, cost)

    async def release(self, entries: Sequence[BatchEntry]) -> None:
        """Take back the reserved budget of requests that were not sent."""
        if self._budget is not None:
            await self._budget.release(sum(entry.estimate_usd for entry in entries), len(entries))

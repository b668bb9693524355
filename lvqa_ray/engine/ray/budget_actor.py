"""Budget of one run, as one actor for all workers of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from lvqa_ray.engine.ray import Handle
from lvqa_ray.errors import BudgetSpent
from lvqa_ray.journal.costs import spent, total
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.llm.middleware.budget import Budget
from lvqa_ray.storage.paths import StoragePath

if TYPE_CHECKING:  # it imports every stage, and with them the video libraries
    from lvqa_ray.config import Engine


class BudgetActor:
    """Counts what a run spends: a thin wrapper around `Budget`, which is tested without Ray.

    After a restart it counts again from the journal of the run; requests without a reply are then not
    counted, and served models from the next `set_served_usd` on.

    Args:
        max_cost: Maximum cost (US dollars).
        max_requests: Maximum number of requests.
        journal: Folder of the journal of paid replies.
        run_id: Id of the run.
    """

    def __init__(self, max_cost: float | None, max_requests: int | None, journal: StoragePath, run_id: str) -> None:
        bill = total(
            line for models in spent(open_segments(journal, make=False), run_id).values() for line in models.values()
        )
        self._budget = Budget(max_cost, max_requests, spent_usd=bill.cost_usd or 0.0, sent=bill.calls)

    def reserve(self, estimate_usd: float) -> BudgetSpent | None:
        """See `Budget.reserve`."""
        return self._budget.reserve(estimate_usd)

    def settle(self, estimate_usd: float, cost: float | None) -> None:
        """See `Budget.settle`."""
        self._budget.settle(estimate_usd, cost)

    def release(self, estimate_usd: float, requests: int = 1) -> None:
        """See `Budget.release`."""
        self._budget.release(estimate_usd, requests)

    def set_served_usd(self, usd: float) -> None:
        """See `Budget.set_served_usd`."""
        self._budget.set_served_usd(usd)

    def exhausted(self) -> str:
        """See `Budget.exhausted`."""
        return self._budget.exhausted


def start(engine: Engine, journal: StoragePath, run_id: str) -> Handle | None:
    """Start the budget actor of a run; ``None`` if the job sets no limit, so that no process is needed."""
    if engine.max_cost is None and engine.max_requests is None:
        return None
    as_actor: Handle = ray.remote  # typed for functions only
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    return as_actor(**options)(BudgetActor).remote(engine.max_cost, engine.max_requests, journal, run_id)


class RayBudget:
    """Client of the budget actor.

    Args:
        actor: Handle of the actor.
    """

    def __init__(self, actor: Handle) -> None:
        self._actor = actor

    async def reserve(self, estimate_usd: float) -> BudgetSpent | None:
        """See `Budget.reserve`."""
        answer: BudgetSpent | None = await self._actor.reserve.remote(estimate_usd)
        return answer

    async def settle(self, estimate_usd: float, cost: float | None) -> None:
        """See `Budget.settle`."""
        await self._actor.settle.remote(estimate_usd, cost)

    async def release(self, estimate_usd: float, requests: int = 1) -> None:
        """See `Budget.release`."""
        await self._actor.release.remote(estimate_usd, requests)

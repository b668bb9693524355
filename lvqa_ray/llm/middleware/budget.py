"""What a run may spend: a pure count, and the call that asks it before it pays."""

from __future__ import annotations

from typing import Protocol

from lvqa_ray.errors import ApiError, BudgetSpent
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest, audio_seconds
from lvqa_ray.llm.pricing import cost_usd, sound_usd
from lvqa_ray.llm.ratelimit.outcome import REPLY_TOKENS, TokenEstimate


class Budget:
    """Counts requests and dollars of one run, those of requests under way at their estimate.

    Requests never pass their limit. Dollars pass it by no more than the estimates of the requests in flight were too
    low, and the run may end short of it by as much as they were too high. What nobody counted (a connection that broke
    off, a reply without usage) is taken at its estimate.

    Args:
        max_cost: Most US dollars, ``None`` for no limit.
        max_requests: Most requests sent, each attempt counted; ``None`` for no limit.
        spent_usd: Dollars that were spent before.
        sent: Requests that were sent before.
    """

    def __init__(
        self, max_cost: float | None = None, max_requests: int | None = None, *, spent_usd: float = 0.0, sent: int = 0
    ) -> None:
        self.spent_usd = spent_usd
        self.sent = sent
        self._max_cost = max_cost
        self._max_requests = max_requests
        self._exhausted = ""

    @property
    def exhausted(self) -> str:
        """Why nothing more may be asked, and how to go on; empty while it may."""
        return self._exhausted

    def reserve(self, estimate_usd: float) -> BudgetSpent | None:
        """Count a request that is about to be sent; gives the reason where it must not be.

        Args:
            estimate_usd: What it may cost.
        """
        if not self._exhausted and self._max_requests is not None and self.sent >= self._max_requests:
            self._exhausted = _sentence(f"sent {self.sent} requests", "engine.max_requests")
        if not self._exhausted and self._max_cost is not None and self.spent_usd + estimate_usd > self._max_cost:
            self._exhausted = _sentence(f"spent ${self.spent_usd:.2f}", "engine.max_cost")
        if self._exhausted:
            return BudgetSpent(self._exhausted)
        self.sent += 1
        self.spent_usd += estimate_usd
        return None

    def settle(self, estimate_usd: float, cost: float | None) -> None:
        """Put what a request cost in the place of its estimate; ``None`` leaves the estimate."""
        if cost is not None:
            self.spent_usd += cost - estimate_usd


def _sentence(done: str, setting: str) -> str:
    return (
        f"The run has {done}, as much as {setting} allows it. What is paid for is kept: raise {setting} and run the "
        "same command, or run it as it is for as much again."
    )


class BudgetClient(Protocol):
    """Where a budget is: in this process, or in an actor that serves many."""

    async def reserve(self, estimate_usd: float) -> BudgetSpent | None:
        """See `Budget.reserve`."""
        ...

    async def settle(self, estimate_usd: float, cost: float | None) -> None:
        """See `Budget.settle`."""
        ...


class LocalBudget:
    """A budget for the tasks of one process."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    async def reserve(self, estimate_usd: float) -> BudgetSpent | None:
        """See `Budget.reserve`."""
        return self._budget.reserve(estimate_usd)

    async def settle(self, estimate_usd: float, cost: float | None) -> None:
        """See `Budget.settle`."""
        self._budget.settle(estimate_usd, cost)


class BudgetMiddleware:
    """Sends a request if the budget allows it. It belongs inside the limits and the retries: each attempt counts.

    Args:
        inner: The call that pays.
        budget: Where the budget is.
        endpoint: Who is asked, and at what price.
    """

    def __init__(self, inner: Chat, budget: BudgetClient, endpoint: Endpoint) -> None:
        self._inner = inner
        self._budget = budget
        self._endpoint = endpoint

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Ask.

        Raises:
            BudgetSpent: There is no budget left for it; nothing was sent.
            ApiError: What the inner call raises.
        """
        estimate = estimate_usd(self._endpoint, request)
        refused = await self._budget.reserve(estimate)
        if refused is not None:
            raise refused
        cost: float | None = None
        try:
            reply = await self._inner(request)
            cost = reply.usage.cost_usd
            return reply
        except ApiError as error:
            if error.bill is not None:
                cost = error.bill.cost_usd
            elif (error.status or 0) >= 400:
                cost = 0.0  # turned away before it cost tokens
            raise
        finally:
            await self._budget.settle(estimate, cost)


def estimate_usd(endpoint: Endpoint, request: ChatRequest) -> float:
    """What a request may cost in US dollars; 0 where no price is known."""
    if seconds := audio_seconds(request):
        return sound_usd(endpoint, seconds) or 0.0
    longest = endpoint.max_tokens if request.max_tokens is None else request.max_tokens
    tokens_out = REPLY_TOKENS if longest is None else longest
    prices = (endpoint.price_in, endpoint.price_out)
    return cost_usd(endpoint.model, endpoint.base_url, TokenEstimate.of(request).input, tokens_out, prices) or 0.0

"""Budget of a run: a pure counter, and the middleware that reserves from it before each request."""

from __future__ import annotations

from typing import Protocol

from lvqa_ray.errors import ApiError, BudgetSpent, NoCapacity
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest, audio_seconds
from lvqa_ray.llm.pricing import cost_usd, sound_usd
from lvqa_ray.llm.ratelimit.outcome import UNLIMITED_REPLY_TOKENS, TokenEstimate
from lvqa_ray.records import Usage


class Budget:
    """Counts requests and dollars of one run; requests in flight count at their estimated cost.

    The number of requests never exceeds its limit. Dollars can be off by the estimation error of the requests in
    flight, above or below. A cost that nobody counted (a broken connection, a reply without usage) stays at its
    estimate.

    Args:
        max_cost: Limit in US dollars; ``None`` for no limit.
        max_requests: Limit of requests sent, counting each attempt; ``None`` for no limit.
        spent_usd: Dollars already spent.
        sent: Requests already sent.
    """

    def __init__(
        self, max_cost: float | None = None, max_requests: int | None = None, *, spent_usd: float = 0.0, sent: int = 0
    ) -> None:
        self.spent_usd = spent_usd
        self.sent = sent
        self._max_cost = max_cost
        self._max_requests = max_requests
        self._exhausted = ""
        self._served_usd = 0.0

    @property
    def exhausted(self) -> str:
        """Why no more requests may be sent, and how to go on; empty while they may."""
        return self._exhausted

    def reserve(self, estimate_usd: float) -> BudgetSpent | None:
        """Reserve budget for a request before it is sent; returns the error if there is not enough.

        Args:
            estimate_usd: Estimated cost.
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
        """Replace the estimate of a request by its cost; ``None`` keeps the estimate."""
        if cost is not None:
            self.spent_usd += cost - estimate_usd

    def release(self, estimate_usd: float, requests: int = 1) -> None:
        """Take back the reservations of requests that are not sent.

        Args:
            estimate_usd: Their estimated cost together.
            requests: Their number.
        """
        self.sent -= requests
        self.spent_usd -= estimate_usd

    def set_served_usd(self, usd: float) -> None:
        """Set what served models have cost in this run, as a total: it may be set again after a restart.

        Args:
            usd: Dollars of their GPU hours.
        """
        self.spent_usd += usd - self._served_usd
        self._served_usd = usd


def _sentence(done: str, setting: str) -> str:
    return (
        f"The run has {done}, as much as {setting} allows it. What is paid for is kept: raise {setting} and run the "
        "same command, or run it as it is for as much again."
    )


class BudgetClient(Protocol):
    """Interface to a budget: in this process, or in an actor that serves many processes."""

    async def reserve(self, estimate_usd: float) -> BudgetSpent | None:
        """See `Budget.reserve`."""
        ...

    async def settle(self, estimate_usd: float, cost: float | None) -> None:
        """See `Budget.settle`."""
        ...

    async def release(self, estimate_usd: float, requests: int = 1) -> None:
        """See `Budget.release`."""
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

    async def release(self, estimate_usd: float, requests: int = 1) -> None:
        """See `Budget.release`."""
        self._budget.release(estimate_usd, requests)


class BudgetMiddleware:
    """Sends a request if the budget allows it. Belongs inside the rate limit and the retries: each attempt counts.

    Args:
        inner: The call to pay for.
        budget: The budget.
        endpoint: The endpoint, with its prices.
    """

    def __init__(self, inner: Chat, budget: BudgetClient, endpoint: Endpoint) -> None:
        self._inner = inner
        self._budget = budget
        self._endpoint = endpoint

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Reserve the estimated cost, send, then settle the real cost.

        Raises:
            BudgetSpent: The budget is used up; nothing was sent.
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
            elif (error.status or 0) >= 400 or isinstance(error, NoCapacity):
                cost = 0.0  # an HTTP error reply costs nothing
            raise
        finally:
            await self._budget.settle(estimate, cost)


def estimate_usd(endpoint: Endpoint, request: ChatRequest) -> float:
    """Estimated cost of a request in US dollars; 0 if no price is known."""
    if seconds := audio_seconds(request):
        return sound_usd(endpoint, seconds) or 0.0
    longest = endpoint.max_tokens if request.max_tokens is None else request.max_tokens
    tokens_out = UNLIMITED_REPLY_TOKENS if longest is None else longest
    used = Usage(input_tokens=TokenEstimate.of(request).input, output_tokens=tokens_out)
    return cost_usd(endpoint, used, "standard" if request.standard else endpoint.tier) or 0.0

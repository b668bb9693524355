"""What a run may spend is never passed."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lvqa_ray.errors import ApiError, BudgetSpent
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.budget import Budget, BudgetMiddleware, LocalBudget, estimate_usd
from lvqa_ray.llm.middleware.cache import CacheMiddleware, RecordPaidReplies
from lvqa_ray.llm.middleware.rate_limit import RateLimitMiddleware, Replica
from lvqa_ray.llm.middleware.retry import RetryMiddleware
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from tests.fakes.endpoint import FakeEndpoint, Fault, Status


@given(st.integers(1, 20), st.lists(st.booleans(), max_size=60))
def test_never_more_requests_than_allowed(most: int, settles: list[bool]) -> None:
    budget = Budget(max_requests=most)
    sent = 0
    for settle in settles:
        sent += budget.reserve(0.0) is None
        if settle:
            budget.settle(0.0, 0.0)
    assert sent == min(most, len(settles))
    assert bool(budget.exhausted) == (len(settles) > most)


@given(st.floats(0.01, 5), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_never_more_dollars_than_allowed_where_estimates_are_not_too_low(
    most: float, calls: list[tuple[float, float]]
) -> None:
    budget = Budget(max_cost=most)
    spent = 0.0
    for estimate, share in calls:
        if budget.reserve(estimate) is None:
            spent += estimate * share
            budget.settle(estimate, estimate * share)
    assert spent <= most + 1e-9
    assert budget.spent_usd == pytest.approx(spent)


def test_what_nobody_counted_is_taken_at_its_estimate() -> None:
    budget = Budget(max_cost=1.0)
    assert budget.reserve(0.6) is None
    budget.settle(0.6, None)
    refused = budget.reserve(0.6)
    assert isinstance(refused, BudgetSpent)
    assert "engine.max_cost" in str(refused)
    assert budget.reserve(0.0) is not None, "once spent, spent"


def test_served_models_are_set_as_a_total() -> None:
    budget = Budget(max_cost=10.0, spent_usd=1.0)
    for usd in (2.0, 5.0, 5.0):
        budget.set_served_usd(usd)
    assert budget.spent_usd == 6.0
    again = Budget(max_cost=10.0, spent_usd=1.0)  # its process was restarted
    again.set_served_usd(9.5)
    assert again.reserve(0.0) is not None


def test_what_was_spent_before_counts() -> None:
    assert Budget(max_cost=1.0, spent_usd=0.9).reserve(0.2) is not None
    assert Budget(max_requests=3, sent=3).reserve(0.0) is not None


def ask(fake: FakeEndpoint, folder: Path, budget: Budget, count: int) -> list[ChatReply | BaseException]:
    """Many requests at once, over the whole client path."""
    at = Endpoint(base_url=fake.base_url, model="m", price_in=1000, price_out=1000, max_tokens=30, max_concurrency=8)
    key_of = partial(cache_key, at)
    journal = JournalReplyStore(folder, writer="w", stage="ask")
    wire = OpenAITransport(at, SecretStr(""))
    paying = BudgetMiddleware(RecordPaidReplies(wire, journal, key_of, "m"), LocalBudget(budget), at)
    limited = RateLimitMiddleware(Replica(paying, LeasePool(LocalLeaseServer(Limiter(Limits.of(at))))))
    cached = CacheMiddleware(RetryMiddleware(limited, 6, base_s=0.001), journal, key_of)
    requests = [
        ChatRequest(stage="ask", version="1", messages=(Message.of("user", f"number {n}"),)) for n in range(count)
    ]

    async def run() -> list[ChatReply | BaseException]:
        try:
            return await asyncio.gather(*map(cached, requests), return_exceptions=True)
        finally:
            await wire.aclose()

    return asyncio.run(run())


def test_attempts_count_and_the_rest_is_not_sent(tmp_path: Path) -> None:
    with FakeEndpoint(latency_s=0.01) as fake:
        fake.fail_next(Fault.SERVER_ERROR, Fault.NULL_CONTENT, Fault.CUT_OFF)
        first = ask(fake, tmp_path, Budget(max_requests=12), 40)
        assert len(fake.requests) == 12
        assert sum(isinstance(reply, ChatReply) for reply in first) == 9
        assert {type(reply) for reply in first} == {ChatReply, BudgetSpent}
        second = ask(fake, tmp_path, Budget(max_requests=100), 40)
        assert all(isinstance(reply, ChatReply) for reply in second)
        assert len(fake.requests) == 12 + 31
        assert max(fake.paid.values()) == 1


def test_dollars_stop_before_they_are_spent(tmp_path: Path) -> None:
    with FakeEndpoint(latency_s=0.01) as fake:
        budget = Budget(max_cost=1.0)
        replies = ask(fake, tmp_path, budget, 200)
        spent = (fake.tokens_in + fake.tokens_out) / 1000
        assert 0.5 < spent <= 1.0
        assert budget.spent_usd == pytest.approx(spent)
        assert any(isinstance(reply, BudgetSpent) for reply in replies)


def test_a_refused_request_costs_nothing(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.fail_next(Status(400))
        budget = Budget(max_cost=1.0)
        (reply,) = ask(fake, tmp_path, budget, 1)
    assert isinstance(reply, ApiError)
    assert (budget.spent_usd, budget.sent) == (0.0, 1)


def test_an_estimate_has_both_prices() -> None:
    request = ChatRequest(stage="s", version="1", messages=(Message.of("user", "x" * 400),), max_tokens=50)
    at = Endpoint(base_url="http://127.0.0.1/v1", model="m", price_in=1.0, price_out=10.0)
    assert estimate_usd(at, request) == pytest.approx((100 + 500) / 1e6)
    assert estimate_usd(at.model_copy(update={"price_in": None}), request) == 0.0

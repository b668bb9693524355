"""Price tiers: half the price, a refusal for lack of capacity is no failure, and a change of tier re-pays nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from lvqa_ray.engine.preflight.readiness import readiness
from lvqa_ray.errors import (
    ApiError,
    BadRequest,
    ConfigError,
    EndpointDown,
    MalformedReply,
    NoCapacity,
    Overloaded,
    RateLimited,
    TimedOut,
)
from lvqa_ray.journal.costs import spent, total
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.budget import Budget, LocalBudget
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.price_tiers import BATCH_CHAT_TIMEOUT_S
from lvqa_ray.llm.pricing import cost_usd
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits, SendLease
from lvqa_ray.llm.ratelimit.outcome import FailureScope, RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.transport import error_mapping
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.llm.transport.connection import CLIENT_ERRORS, Connection
from lvqa_ray.llm.transport.tier_faults import keeps_waiting
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.scripted import Reply, Scripted, completion

DASHSCOPE = "https://dashscope.aliyuncs.com/compatible-mode/v1"


def priced(url: str) -> Endpoint:
    return Endpoint(base_url=url, model="m", price_in=2.0, price_out=2.0)


def request(text: str = "What is seen?") -> ChatRequest:
    return ChatRequest(stage="caption", version="1", messages=(Message.of("user", text),))


def at(fake: FakeEndpoint, **fields: Any) -> Endpoint:
    prices = {"price_in": fake.ledger.prices[0], "price_out": fake.ledger.prices[1]}
    given = {"base_url": fake.base_url, "model": "fake-llm", "api_key_env": None, "backoff_base_s": 0.01}
    return Endpoint.model_validate(given | prices | fields)


def ask(folder: Path, endpoint: Endpoint, count: int = 1, budget: Budget | None = None) -> list[ChatReply | ApiError]:
    """Replies to different requests, sent at once through the client of a stage."""

    async def all_of_them() -> list[ChatReply | ApiError]:
        wire = OpenAITransport(endpoint, SecretStr(""))
        permits = LeasePool(LocalLeaseServer(Limiter(Limits.of(endpoint))))
        journal = JournalReplyStore(folder, writer="run_1", stage="caption")
        counted = None if budget is None else LocalBudget(budget)
        chat = build_client([EndpointRoute(endpoint, wire, permits, counted)], journal)
        made = await asyncio.gather(*(chat(request(f"What is {n}?")) for n in range(count)), return_exceptions=True)
        await wire.aclose()
        return [each for each in made if isinstance(each, ChatReply | ApiError)]

    return asyncio.run(all_of_them())


def billed(folder: Path) -> float | None:
    return total(line for models in spent(open_segments(folder), "run").values() for line in models.values()).cost_usd


def test_refusals_of_flex_are_no_failures_and_cost_nothing(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.flex = 0.8
    budget = Budget(max_cost=100.0)
    replies = ask(tmp_path, at(fake, tier="flex", max_attempts=1, max_concurrency=4), 20, budget)
    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert (len(replies), fake.counts["ok"], fake.ledger.replies["flex"]) == (20, 20, 20)
    assert fake.counts["429"] > 20, "more refusals in a row than would open the circuit breaker, or end a request"
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)
    assert budget.spent_usd == pytest.approx(fake.ledger.usd, rel=1e-9)


def test_after_a_while_the_standard_tier_answers(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.flex = 1.0
    begun = time.monotonic()
    replies = ask(tmp_path, at(fake, tier="flex", fallback_after_min=0.5 / 60), 5)
    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert time.monotonic() - begun >= 0.5
    assert fake.ledger.replies == {"standard": 5}
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)


def test_a_change_of_tier_repays_nothing(fake: FakeEndpoint, tmp_path: Path) -> None:
    for tier in ("standard", "flex", "batch_chat"):
        endpoint = at(fake, tier=tier)
        assert cache_key(endpoint, request()) == cache_key(at(fake), request())
        ask(tmp_path, endpoint, 3)
    assert fake.paid.total() == 3


@pytest.mark.parametrize("tier", ["standard", "flex", "batch_chat"])
def test_the_bill_equals_the_ledger(fake: FakeEndpoint, tmp_path: Path, tier: str) -> None:
    fake.tier = "standard" if tier == "flex" else tier
    ask(tmp_path, at(fake, tier=tier), 7)
    assert fake.ledger.replies == {tier: 7}
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)


def test_a_reply_on_another_tier_is_priced_on_that_tier(fake: FakeEndpoint) -> None:
    """OpenAI bills the standard price where its reply says that the default tier answered."""
    wire = OpenAITransport(at(fake, tier="flex"), SecretStr(""))
    answer: dict[str, Any] = {
        "choices": [{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0},
    }
    assert wire._reply(answer | {"service_tier": "flex"}, "flex").usage.cost_usd == 0.5
    assert wire._reply(answer | {"service_tier": "default"}, "flex").usage.cost_usd == 1.0


def test_prices_of_tiers() -> None:
    assert cost_usd(priced(DASHSCOPE), Usage(input_tokens=10**6), "batch_chat") == 1.0
    groq = "https://api.groq.com/openai/v1"
    assert cost_usd(priced(groq), Usage(input_tokens=10**6), "flex") == 2.0, "Groq's flex has higher limits, not prices"
    assert cost_usd(priced(groq), Usage(input_tokens=10**6), "batch") == 1.0


def test_batch_chat_has_its_own_host_and_a_long_timeout() -> None:
    endpoint = Endpoint.model_validate({"base_url": DASHSCOPE, "model": "qwen-plus", "tier": "batch_chat"})
    assert endpoint.tier_url == "https://batch.dashscope.aliyuncs.com/compatible-mode/v1"
    assert (endpoint.base_url, endpoint.attempt_timeout_s) == (DASHSCOPE, BATCH_CHAT_TIMEOUT_S)
    wire = OpenAITransport(endpoint, SecretStr(""))
    assert str(wire._completions).startswith(endpoint.tier_url)
    assert str(wire._standard_completions).startswith(DASHSCOPE), "a fallback goes to the ordinary host"
    assert Endpoint.model_validate(endpoint.model_dump() | {"timeout_s": 90}).attempt_timeout_s == 90


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"base_url": "https://api.openai.com/v1", "tier": "batch_chat"}, "not offered by api.openai.com"),
        ({"base_url": DASHSCOPE, "tier": "flex", "extra_body": {"service_tier": "auto"}}, "keep one of them"),
        ({"base_url": DASHSCOPE, "tier": "batch", "stream": True}, "no streamed replies"),
    ],
)
def test_impossible_tiers_are_one_sentence(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Endpoint.model_validate({"model": "m"} | fields)


@pytest.mark.parametrize(
    ("status", "body", "tier", "kind"),
    [
        (429, '{"error": {"code": "resource_unavailable", "message": "x"}}', "flex", NoCapacity),
        (429, '{"error": {"message": "Resource Unavailable"}}', "flex", NoCapacity),
        (429, '{"error": {"code": "rate_limit_exceeded", "message": "Slow down."}}', "flex", RateLimited),
        (429, '{"error": {"code": "resource_unavailable", "message": "x"}}', "standard", RateLimited),
        (498, '{"error": {"message": "over_capacity"}}', "flex", NoCapacity),  # laravel/ai #925
        (503, '{"error": {"status": "UNAVAILABLE", "message": "high demand"}}', "flex", NoCapacity),
    ],
)
def test_which_errors_mean_a_full_tier(status: int, body: str, tier: Any, kind: type[ApiError]) -> None:
    error = error_mapping.of_status(status, {}, body, secret="", tier=tier)
    assert (type(error), "capacity for this tier" in str(error)) == (kind, kind is NoCapacity)


def test_a_request_that_batch_chat_gave_up_waits_again() -> None:
    assert error_mapping.class_of(408, "late", tier="batch_chat") is NoCapacity
    assert error_mapping.class_of(408, "late", tier="flex") is TimedOut
    assert (keeps_waiting("batch_chat", 3600), keeps_waiting("batch_chat", 30), keeps_waiting("flex", 3600)) == (
        True, False, False,
    )  # fmt: skip


@pytest.mark.parametrize(("answers", "kind"), [(True, NoCapacity), (False, TimedOut)])
def test_a_host_that_cannot_be_reached_keeps_no_request_waiting(*, answers: bool, kind: type[ApiError]) -> None:
    """A connect timeout and a read timeout of the HTTP client, at a socket that accepts nothing more."""
    with socket.socket() as silent, ExitStack() as held:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        for _ in range(0 if answers else 4):  # the kernel drops connections beyond the backlog
            other = held.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(silent.getsockname())

        async def exception() -> BaseException:
            connection = Connection(Endpoint(base_url=url, model="m", api_key_env=None))
            timeouts = {"timeout": httpx2.Timeout(0.2).as_dict()}
            try:
                await connection.send(httpx2.Request("GET", url, extensions=timeouts))
            except CLIENT_ERRORS as exc:
                return exc
            finally:
                await connection.aclose()
            raise AssertionError

        exc = asyncio.run(exception())
    assert type(error_mapping.as_api_error(exc, secret="", waits=True)) is kind
    assert type(error_mapping.as_api_error(exc, secret="")) is TimedOut


def test_short_timeouts_on_batch_chat_are_an_outage(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.latency_s = 1.0
    (failed,) = ask(tmp_path, at(fake, tier="batch_chat", timeout_s=0.1, max_attempts=3, max_outage_s=0.3))
    assert isinstance(failed, EndpointDown)
    assert "has been down" in str(failed)


@pytest.mark.parametrize(
    ("tier", "code", "kind", "says"),
    [
        ("standard", 429, RateLimited, "The endpoint asks to slow down (429)"),
        ("standard", 503, Overloaded, "The endpoint failed or is overloaded (503)"),
        ("standard", 498, BadRequest, "The endpoint does not take the request (498)"),
        ("flex", 429, NoCapacity, "The endpoint has no capacity for this tier now (429)"),
        ("flex", 503, NoCapacity, "The endpoint has no capacity for this tier now (503)"),
    ],
)
@pytest.mark.parametrize("status", [200, None])
def test_the_standard_tier_knows_no_lack_of_capacity(
    tier: str, code: int, kind: type[ApiError], says: str, status: int | None
) -> None:
    """Also if the error comes with status 200; class and message are those from before there were tiers."""
    body = {"error": {"code": code, "message": "Resource unavailable"}}
    assert (type(error := once(body, status or code, tier)), str(error)) == (kind, f"{says}: Resource unavailable")


def once(body: object, status: int, tier: str) -> ApiError:
    """The error of one request to a server with one reply."""
    with Scripted(lambda _: Reply.of(status, body)) as server:
        given = {"base_url": server.base_url, "model": "m", "api_key_env": None, "tier": tier}

        async def send() -> None:
            wire = OpenAITransport(Endpoint.model_validate(given), SecretStr(""))
            try:
                await wire(request())
            finally:
                await wire.aclose()

        with pytest.raises(ApiError) as raised:
            asyncio.run(send())
    return raised.value


def test_a_tier_that_refuses_everything_for_long_is_an_outage(fake: FakeEndpoint, tmp_path: Path) -> None:
    """A server may answer 503 on flex although it is down; without a fallback the run ends, and a later one goes on."""
    fake.flex = 1.0
    replies = ask(tmp_path, at(fake, tier="flex", max_outage_s=0.4, timeout_s=1, backoff_cap_s=0.05), 3)
    assert {type(reply) for reply in replies} == {EndpointDown}
    assert "no capacity for 1 s" in str(replies[0])
    assert billed(tmp_path) in {None, 0.0}


def test_a_tier_that_answers_some_requests_is_no_outage() -> None:
    now = 0.0
    limiter = Limiter(Limits.of(Endpoint(base_url=DASHSCOPE, model="m", tier="flex", timeout_s=100)), lambda: now)
    full = RequestOutcome(failed=FailureScope.FULL)
    for now, done in ((0, full), (800, full), (850, RequestOutcome()), (900, full), (1799, full)):  # noqa: B007
        lease = limiter.acquire(TokenEstimate())
        assert isinstance(lease, SendLease)
        limiter.release(lease, done)
    assert limiter.halted is None
    now = 1800
    limiter.release(SendLease("x", TokenEstimate()), full)
    assert isinstance(limiter.halted, EndpointDown)
    assert Limits.of(Endpoint(base_url=DASHSCOPE, model="m", tier="flex", fallback_after_min=1)).max_full_s is None


def test_a_paid_part_of_a_reply_is_in_the_bill_on_every_tier(tmp_path: Path) -> None:
    """Text, and then an error for lack of capacity: it was paid for, so it is no refusal without a cost."""
    answer = completion("It is") | {"error": {"code": "resource_unavailable", "message": "Gone."}}
    failed = once(answer, 200, "flex")
    assert (type(failed), failed.bill and failed.bill.input_tokens) == (MalformedReply, 100)


def test_a_rejected_tier_is_found_before_the_run(fake: FakeEndpoint) -> None:
    fake.flex = None
    with pytest.raises(ConfigError, match=r"rejects tier flex: .*not available for this model"):
        asyncio.run(readiness(at(fake, tier="flex"), SecretStr(""), request(), sound=False))
    fake.batches.offered = False
    with pytest.raises(ConfigError, match="rejects tier batch: "):
        asyncio.run(readiness(at(fake, tier="batch"), SecretStr(""), None, sound=False))
    assert fake.paid.total() == 1, "the same request on the standard tier, which shows that the tier is at fault"


def test_a_full_or_bad_request_is_no_rejected_tier(fake: FakeEndpoint) -> None:
    fake.flex = 1.0
    assert not asyncio.run(readiness(at(fake, tier="flex"), SecretStr(""), request(), sound=False)).warning
    fake.flex, fake.context = 0.0, 1
    assert not asyncio.run(readiness(at(fake, tier="flex"), SecretStr(""), request(), sound=False)).warning
    fake.context = None
    assert not asyncio.run(readiness(at(fake, tier="batch"), SecretStr(""), None, sound=False)).warning

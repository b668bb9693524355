"""Leases in chunks: none lost, none hoarded, first come first served, and places used again without asking."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from lvqa_ray import errors
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, Text
from lvqa_ray.llm.middleware.rate_limit import RateLimitMiddleware, Replica
from lvqa_ray.llm.middleware.retry import RetryMiddleware
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import HOLDER_TTL_S, Limiter
from lvqa_ray.llm.ratelimit.limits import Limits, SendLease
from lvqa_ray.llm.ratelimit.outcome import MEDIA_TOKENS, FailureScope, RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.server import CHUNK, LimiterStatus, LocalLeaseServer
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint, Fault, Status

REQUEST = ChatRequest(stage="ask", version="1", messages=(Message.of("user", "x"),))
REPLY = ChatReply(text="x", model="m", usage=Usage(calls=1, input_tokens=1))


class FarDesk(LocalLeaseServer):
    """A desk as far away as an actor, which counts how often it is called."""

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(limiter)
        self.chunks: list[int] = []
        self.reports = 0

    async def acquire_batch(self, holder: str, estimates: Sequence[TokenEstimate]) -> list[SendLease] | errors.StopRun:
        await asyncio.sleep(0.002)
        answer = await super().acquire_batch(holder, estimates)
        self.chunks.append(0 if isinstance(answer, errors.StopRun) else len(answer))
        return answer

    async def release_batch(self, done: Sequence[tuple[SendLease, RequestOutcome]]) -> LimiterStatus:
        await asyncio.sleep(0.002)
        self.reports += 1
        return await super().release_batch(done)


async def given_back(desk: FarDesk) -> None:
    """Wait until no lease is out; leases travel back after the replies."""
    async with asyncio.timeout(20):
        while desk._limiter.in_flight:  # noqa: ASYNC110 - the limiter has no event for it
            await asyncio.sleep(0.01)


def test_the_estimate_counts_text_pictures_and_the_reply() -> None:
    picture = Media(identity="i", mime="image/jpeg", data=b"")
    message = Message(role="user", parts=(Text(text="x" * 400), picture, picture))
    request = ChatRequest(stage="s", version="1", messages=(message,), max_tokens=50)
    assert TokenEstimate.of(request) == TokenEstimate(100 + 2 * MEDIA_TOKENS, 50)


@pytest.mark.parametrize("limits", [Limits(64), Limits(64, requests_per_minute=100_000)])
def test_much_traffic_needs_few_calls_to_the_desk(limits: Limits) -> None:
    desk = FarDesk(Limiter(limits))

    async def call(_: ChatRequest) -> ChatReply:
        await asyncio.sleep(0.005)
        return REPLY

    async def run() -> None:
        permits = LeasePool(desk)
        await asyncio.gather(*[RateLimitMiddleware(Replica(call, permits))(REQUEST) for _ in range(2000)])
        await given_back(desk)

    asyncio.run(run())
    assert sum(desk.chunks) >= 64
    assert max(desk.chunks) > 16
    assert max(desk.chunks) <= CHUNK
    assert len(desk.chunks) + desk.reports < 1000
    assert desk._limiter.in_flight == 0, "all are given back"


def test_failures_that_come_together_are_reported_together() -> None:
    desk = FarDesk(Limiter(Limits(64)))

    async def call(_: ChatRequest) -> ChatReply:
        await asyncio.sleep(0.001)
        raise errors.BadRequest("made to order")

    async def run() -> None:
        limited = RateLimitMiddleware(Replica(call, LeasePool(desk)))
        said = await asyncio.gather(*[limited(REQUEST) for _ in range(300)], return_exceptions=True)
        assert all(isinstance(one, errors.BadRequest) for one in said)
        await given_back(desk)

    asyncio.run(run())
    assert desk._limiter.in_flight == 0
    assert desk.reports < 150


def test_two_holders_share_what_there_is() -> None:
    limiter = Limiter(Limits(8))
    most = {"a": 0, "b": 0}
    now = {"a": 0, "b": 0}

    async def run() -> None:
        desk = FarDesk(limiter)

        def call_of(name: str) -> RateLimitMiddleware:
            async def call(_: ChatRequest) -> ChatReply:
                now[name] += 1
                assert sum(now.values()) <= 8
                most[name] = max(most[name], now[name])
                await asyncio.sleep(0.01)
                now[name] -= 1
                served.append(name)
                return REPLY

            return RateLimitMiddleware(Replica(call, LeasePool(desk)))

        served: list[str] = []
        a, b = call_of("a"), call_of("b")
        greedy = [asyncio.create_task(a(REQUEST)) for _ in range(4000)]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(asyncio.gather(*[b(REQUEST) for _ in range(20)]), 60)
        assert len(served) < 4000, "it did not have to wait for the other's end"
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
        await given_back(desk)

    asyncio.run(run())
    assert limiter.in_flight == 0


def test_cancelled_and_failed_calls_give_their_lease_back() -> None:
    limiter = Limiter(Limits(1))

    async def forever(_: ChatRequest) -> ChatReply:
        await asyncio.sleep(60)
        raise AssertionError

    async def fails(_: ChatRequest) -> ChatReply:
        raise errors.Overloaded("busy", status=503)

    async def run() -> None:
        permits = LeasePool(LocalLeaseServer(limiter))
        calls = [asyncio.create_task(RateLimitMiddleware(Replica(forever, permits))(REQUEST)) for _ in range(3)]
        while not limiter.in_flight:  # noqa: ASYNC110 - the limiter has no event for it
            await asyncio.sleep(0.01)
        assert limiter.in_flight == 1
        for call in reversed(calls):  # those that wait first, then the one that is under way
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(errors.Overloaded):
            await RateLimitMiddleware(Replica(fails, permits))(REQUEST)
        assert limiter.in_flight == 0

    asyncio.run(run())


def test_first_come_first_served() -> None:
    """A large request is not overtaken for ever by small ones."""
    order: list[int] = []

    async def call(request: ChatRequest) -> ChatReply:
        order.append(request.attempt)
        await asyncio.sleep(0.005)
        return ChatReply(text="x", model="m", usage=Usage(calls=1, input_tokens=1))

    async def run() -> None:
        permits = LeasePool(LocalLeaseServer(Limiter(Limits(2, None, 5000))))
        limited = RateLimitMiddleware(Replica(call, permits))
        big = ChatRequest(stage="s", version="1", messages=(Message.of("user", "x"),), attempt=1, max_tokens=4998)
        asked = [REQUEST, big, *[REQUEST] * 10]
        await asyncio.gather(*[limited(request) for request in asked])

    asyncio.run(run())
    assert order.index(1) == 1


async def ask_many(
    fake: FakeEndpoint, limiter: Limiter, count: int, attempts: int = 6
) -> list[ChatReply | BaseException]:
    transport = OpenAITransport(Endpoint(base_url=fake.base_url, model="m"), SecretStr(""))
    chat = RetryMiddleware(
        RateLimitMiddleware(Replica(transport, LeasePool(LocalLeaseServer(limiter)))), attempts, base_s=0.01
    )
    requests = [
        ChatRequest(stage="s", version="1", messages=(Message.of("user", f"number {n}"),)) for n in range(count)
    ]
    try:
        return await asyncio.gather(*map(chat, requests), return_exceptions=True)
    finally:
        await transport.aclose()


def test_over_http_never_over_the_limits() -> None:
    # The window of the limiter is longer by what a request may take on its way on a busy machine.
    with FakeEndpoint(latency_s=0.02, jitter_s=0.02, rpm=20, window_s=0.5) as fake:
        replies = asyncio.run(ask_many(fake, Limiter(Limits(5, 20), window_s=1.6), 50))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert fake.counts == {"ok": 50}, "the endpoint never had to say 429"
        assert fake.most_in_window(0.5) <= 20 <= fake.most_in_window(3.0)
        assert fake.most_in_flight <= 5


def test_over_http_with_faults_every_request_is_answered_once() -> None:
    faults = {Fault.RATE_LIMIT: 0.1, Fault.SERVER_ERROR: 0.05, Fault.CUT_OFF: 0.05, Fault.MALFORMED: 0.05}
    with FakeEndpoint(faults=faults, retry_after=None, seed=3) as fake:
        replies = asyncio.run(ask_many(fake, Limiter(Limits(16)), 150, attempts=10))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert set(fake.paid.values()) == {1}
        assert len(fake.paid) == 150
        assert fake.counts.total() > 150


def test_over_http_a_stop_sends_nothing_more() -> None:
    with FakeEndpoint(latency_s=0.01) as fake:
        fake.fail_next(Status(402, message="Top up."), times=100)
        outcomes = asyncio.run(ask_many(fake, Limiter(Limits(4)), 50))
        assert all(isinstance(outcome, errors.QuotaExceeded) for outcome in outcomes)
        assert len(fake.requests) <= 4, "only what was under way when the first one came back"


def test_an_outage_uses_up_no_attempts() -> None:
    with FakeEndpoint(latency_s=0.01) as fake:
        fake.fail_next(Status(503), times=9)  # all eight that are under way, and the first probe
        replies = asyncio.run(ask_many(fake, Limiter(Limits(8, open_after=2)), 16, attempts=2))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert set(fake.paid.values()) == {1}


def test_an_endpoint_that_stays_down_stops_the_run() -> None:
    with FakeEndpoint() as fake:
        fake.faults = {Fault.UNAVAILABLE: 1.0}
        outcomes = asyncio.run(ask_many(fake, Limiter(Limits(4, open_after=3, max_outage_s=1.5)), 8, attempts=4))
        assert all(isinstance(outcome, errors.EndpointDown) for outcome in outcomes)


def test_work_goes_where_there_is_room() -> None:
    async def run(first: FakeEndpoint, second: FakeEndpoint) -> list[ChatReply | BaseException]:
        wires = [OpenAITransport(Endpoint(base_url=at.base_url, model="m"), SecretStr("")) for at in (first, second)]
        limits = [Limits(4, requests_per_minute=5), Limits(4)]
        replicas = [
            Replica(wire, LeasePool(LocalLeaseServer(Limiter(limit))))
            for wire, limit in zip(wires, limits, strict=True)
        ]
        try:
            chat = RateLimitMiddleware(*replicas)
            return await asyncio.gather(*[chat(REQUEST) for _ in range(60)], return_exceptions=True)
        finally:
            for wire in wires:
                await wire.aclose()

    with FakeEndpoint(latency_s=0.01) as first, FakeEndpoint(latency_s=0.01) as second:
        replies = asyncio.run(run(first, second))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert (first.counts["ok"], second.counts["ok"]) == (5, 55)


def test_a_replica_that_stops_is_left_out_and_the_last_stops_the_run() -> None:
    async def run(*fakes: FakeEndpoint) -> list[ChatReply | BaseException]:
        wires = [OpenAITransport(Endpoint(base_url=at.base_url, model="m"), SecretStr("")) for at in fakes]
        chat = RateLimitMiddleware(*[Replica(wire, LeasePool(LocalLeaseServer(Limiter(Limits(4))))) for wire in wires])
        try:
            return await asyncio.gather(*[chat(REQUEST) for _ in range(30)], return_exceptions=True)
        finally:
            for wire in wires:
                await wire.aclose()

    with FakeEndpoint(api_key="other") as locked, FakeEndpoint() as works, FakeEndpoint(api_key="other") as third:
        assert all(isinstance(reply, ChatReply) for reply in asyncio.run(run(locked, works)))
        assert works.counts["ok"] == 30
        assert all(isinstance(reply, errors.AuthFailed) for reply in asyncio.run(run(locked, third)))


def test_what_the_headers_say_is_obeyed_by_everyone_before_the_first_429() -> None:
    """Nobody told the limiter of the limit, and yet no request is turned away."""
    with FakeEndpoint(latency_s=0.005, rpm=8, window_s=1.0, rate_headers=True) as fake:
        replies = asyncio.run(ask_many(fake, Limiter(Limits(1)), 20))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert fake.counts == {"ok": 20}


def test_tokens_of_a_minute_are_kept_as_the_endpoint_counts_them() -> None:
    """A request is believed to take more than it does; the difference is used again."""
    with FakeEndpoint(latency_s=0.01, tpm=700, window_s=0.3) as fake:
        limiter = Limiter(Limits(8, tokens_per_minute=700), window_s=1.3)
        replies = asyncio.run(ask_many(fake, limiter, 15))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert fake.counts == {"ok": 15}


def test_an_endpoint_that_drops_all_connections_for_a_while() -> None:
    with FakeEndpoint(latency_s=0.02, outages=[(0.1, 2.0)]) as fake:
        replies = asyncio.run(ask_many(fake, Limiter(Limits(8)), 400, attempts=6))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert set(fake.paid.values()) == {1}
        assert 5 <= fake.counts["down"] < 40, "it is left alone while it is down"


def test_a_worker_that_was_stopped_sends_nothing_under_leases_from_before() -> None:
    now = [0.0]
    desk = FarDesk(Limiter(Limits(1)))

    async def run() -> None:
        first, second = LeasePool(desk, lambda: now[0]), LeasePool(desk, lambda: now[0])
        held = await first.acquire(TokenEstimate(1))
        waiting = asyncio.create_task(second.acquire(TokenEstimate(1)))
        await asyncio.sleep(0.05)
        now[0] += HOLDER_TTL_S  # the time that passes while the process of the second is stopped
        await first.release(held, RequestOutcome(failed=FailureScope.DOWN, used=TokenEstimate()))
        lease = await asyncio.wait_for(waiting, 60)
        assert desk._limiter.in_flight == 1
        assert lease.id != held.id
        assert desk.chunks == [1, 1, 1], "the first answer was given back, and another one asked for"

    asyncio.run(run())

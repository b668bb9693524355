"""Never over a limit in any window, no permit lost, no one starved, and a stop that stops everyone."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from pydantic import SecretStr

from lvqa_ray import errors
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.limits import (
    MEDIA_TOKENS,
    WINDOW_S,
    Lease,
    Limited,
    Limiter,
    LocalPermits,
    estimate_tokens,
)
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, Text
from lvqa_ray.llm.retry import LONGEST_WAIT_S, Retrying
from lvqa_ray.llm.transport import OpenAITransport
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint, Fault, Status

REQUEST = ChatRequest(stage="ask", version="1", messages=(Message.of("user", "x"),))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease_of(limiter: Limiter, tokens: int = 1) -> Lease:
    answer = limiter.acquire(tokens)
    assert isinstance(answer, Lease), f"to wait {answer} s"
    return answer


def wait_of(limiter: Limiter, tokens: int = 1) -> float:
    answer = limiter.acquire(tokens)
    assert isinstance(answer, float), "not to wait"
    assert answer > 0
    return answer


SECONDS = st.integers(1, 560).map(lambda eighths: eighths / 8)  # exact as floats, and quick to shrink
TOKENS = st.sampled_from([0, 0, 0, 1, 300, 1000, 1500])  # small ones let the limit on requests be the tighter one
CONCURRENCY, RPM, TPM, TTL_S = 4, 7, 1000, 90.0


class LimiterMachine(RuleBasedStateMachine):
    """Any mix of asking, giving back, dying and waiting."""

    leases: Bundle[tuple[Lease, float]] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.limiter = Limiter(CONCURRENCY, RPM, TPM, self.clock, lease_ttl_s=TTL_S)
        self.sent: list[tuple[float, int]] = []  # when, and the most tokens it was ever known to take
        self.out: dict[int, float] = {}  # leases not given back, and when they expire
        self.held_until = 0.0

    @rule(target=leases, tokens=TOKENS)
    def acquire(self, tokens: int) -> tuple[Lease, float]:
        answer = self.limiter.acquire(tokens)
        if isinstance(answer, Lease):
            assert self.clock.now >= self.held_until
            self.sent.append((self.clock.now, tokens))
            self.out[answer.id] = answer.expires_at
            return answer, self.clock.now
        # After that wait there is room, as long as no one else is in the way: no one starves.
        assert 0 < answer <= max(LONGEST_WAIT_S, TTL_S, WINDOW_S + 1)
        return self.acquire_after(answer, tokens)

    def acquire_after(self, wait_s: float, tokens: int) -> tuple[Lease, float]:
        for _ in range(8):  # several limits may be in the way, one after the other
            self.clock.now += wait_s
            answer = self.limiter.acquire(tokens)
            if isinstance(answer, Lease):
                self.sent.append((self.clock.now, tokens))
                self.out[answer.id] = answer.expires_at
                return answer, self.clock.now
            wait_s = answer
        raise AssertionError("starved")

    @rule(taken=consumes(leases), used=st.sampled_from([None, 0.0, 0.5, 1.0]))
    def release(self, taken: tuple[Lease, float], used: float | None) -> None:
        lease, at = taken
        self.release_now(lease, at, None if used is None else int(lease.tokens * used))

    def release_now(self, lease: Lease, at: float, used_tokens: int | None) -> None:
        self.limiter.release(lease, used_tokens)
        if used_tokens is not None and lease.id in self.out and self.out[lease.id] > self.clock.now:
            self.sent[self.sent.index((at, lease.tokens))] = (at, used_tokens)
        self.out.pop(lease.id, None)
        self.limiter.release(lease, used_tokens)  # twice does no harm

    @rule(times=st.integers(1, 5))
    def call(self, times: int) -> None:
        """Whole calls, one after the other: the way to reach the limit on requests before that on places."""
        for _ in range(times):
            lease, at = self.acquire_after(0.0, 0)
            self.release_now(lease, at, None)

    @rule(_=consumes(leases))
    def die(self, _: object) -> None:
        """A worker that never gives its lease back."""

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(seconds=SECONDS.map(lambda seconds: seconds * 6))
    def penalise(self, seconds: float) -> None:
        self.limiter.penalise(seconds)
        self.held_until = max(self.held_until, self.clock.now + min(seconds, LONGEST_WAIT_S))

    @invariant()
    def never_over_the_limits(self) -> None:
        # Whatever window has just become too full holds the latest request, so looking back from there is enough.
        latest = self.clock.now
        window = [tokens for at, tokens in self.sent if at > latest - WINDOW_S]
        assert len(window) <= RPM
        assert sum(window) <= TPM or sum(sorted(window)[:-1]) == 0, "only a request larger than the limit, and alone"
        assert self.limiter.in_flight <= CONCURRENCY

    @invariant()
    def no_permit_lost(self) -> None:
        self.out = {id_: expiry for id_, expiry in self.out.items() if expiry > self.clock.now}
        assert self.limiter.in_flight == len(self.out)


TestLimiter = LimiterMachine.TestCase
TestLimiter.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_a_full_burst_and_then_not_one_more() -> None:
    clock = Clock()
    limiter = Limiter(1000, 600, clock=clock)
    for _ in range(600):
        limiter.release(lease_of(limiter))
    clock.now += 59.999
    assert wait_of(limiter) == pytest.approx(1.001)
    clock.now += 1.001
    assert lease_of(limiter)


def test_a_bucket_would_let_through_more() -> None:
    """Half of the limit late in one minute and the whole of it early in the next is over the limit in between."""
    clock = Clock()
    limiter = Limiter(1000, 10, clock=clock)
    sent: list[float] = []
    clock.now += 59
    for _ in range(300):
        while isinstance(answer := limiter.acquire(0), Lease):
            limiter.release(answer)
            sent.append(clock.now)
        clock.now += 0.5
    assert max(sum(start <= at < start + 60 for at in sent) for start in sent) == 10


def test_tokens_come_back_when_fewer_were_used() -> None:
    limiter = Limiter(10, None, 1000, Clock())
    first = lease_of(limiter, 900)
    assert wait_of(limiter, 200) == pytest.approx(WINDOW_S + 1)
    limiter.release(first, 100)
    limiter.release(lease_of(limiter, 900), None)
    assert wait_of(limiter, 1)


def test_a_request_larger_than_the_limit_goes_alone() -> None:
    clock = Clock()
    limiter = Limiter(10, None, 1000, clock)
    limiter.release(lease_of(limiter, 5000))
    clock.now += wait_of(limiter, 5000)
    assert lease_of(limiter, 5000)


def test_leases_of_the_dead_expire() -> None:
    clock = Clock()
    limiter = Limiter(2, clock=clock, lease_ttl_s=30)
    lost = lease_of(limiter)
    clock.now += 10
    lease_of(limiter)
    assert wait_of(limiter) == pytest.approx(20)
    clock.now += 20
    lease_of(limiter)
    limiter.release(lost)  # it was not dead, only slow: its place is not given away twice
    assert limiter.in_flight == 2


def test_a_wait_asked_for_holds_everyone() -> None:
    clock = Clock()
    limiter = Limiter(10, clock=clock)
    limiter.release(lease_of(limiter), outcome=errors.RateLimited("slow", retry_after_s=20))
    limiter.penalise(5)
    assert wait_of(limiter) == pytest.approx(20)
    limiter.penalise(1e9)
    assert wait_of(limiter) == pytest.approx(LONGEST_WAIT_S)


def test_a_stop_is_for_everyone() -> None:
    limiter = Limiter(10, clock=Clock())
    first = errors.QuotaExceeded("The account is empty.", status=402)
    limiter.release(lease_of(limiter), outcome=first)
    for _ in range(2):
        with pytest.raises(errors.QuotaExceeded, match="The account is empty") as caught:
            limiter.acquire(1)
        assert caught.value is not first
        assert caught.value.status == 402
    assert limiter.in_flight == 0
    assert isinstance(pickle.loads(pickle.dumps(limiter.halted)), errors.QuotaExceeded)  # noqa: S301 - our own


def test_a_limiter_can_be_sent_to_another_process() -> None:
    limiter = pickle.loads(pickle.dumps(Limiter(2, 10, 1000)))  # noqa: S301 - our own
    limiter.release(lease_of(limiter))


def test_an_endpoints_limits() -> None:
    limiter = Limiter.of(Endpoint(base_url="http://127.0.0.1/v1", model="m", max_concurrency=1, timeout_s=10), Clock())
    lease_of(limiter)
    assert wait_of(limiter) == pytest.approx(70)


def test_the_estimate_counts_text_pictures_and_the_reply() -> None:
    picture = Media(identity="i", mime="image/jpeg", data=b"")
    message = Message(role="user", parts=(Text(text="x" * 400), picture, picture))
    request = ChatRequest(stage="s", version="1", messages=(message,), max_tokens=50)
    assert estimate_tokens(request) == 100 + 2 * MEDIA_TOKENS + 50


def test_cancelled_and_failed_calls_give_their_lease_back() -> None:
    limiter = Limiter(1)

    async def forever(_: ChatRequest) -> ChatReply:
        await asyncio.sleep(60)
        raise AssertionError

    async def fails(_: ChatRequest) -> ChatReply:
        raise errors.Overloaded("busy", status=503)

    async def run() -> None:
        permits = LocalPermits(limiter)
        calls = [asyncio.create_task(Limited(forever, permits)(REQUEST)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert limiter.in_flight == 1
        for call in reversed(calls):  # those that wait first, then the one that is under way
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(errors.Overloaded):
            await Limited(fails, permits)(REQUEST)
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
        permits = LocalPermits(Limiter(2, None, 5000))
        limited = Limited(call, permits)
        big = ChatRequest(stage="s", version="1", messages=(Message.of("user", "x"),), attempt=1, max_tokens=4998)
        asked = [REQUEST, big, *[REQUEST] * 10]
        await asyncio.gather(*[limited(request) for request in asked])

    asyncio.run(run())
    assert order.index(1) == 1


async def ask_many(
    fake: FakeEndpoint, limiter: Limiter, count: int, attempts: int = 6
) -> list[ChatReply | BaseException]:
    transport = OpenAITransport(Endpoint(base_url=fake.base_url, model="m"), SecretStr(""))
    chat = Retrying(Limited(transport, LocalPermits(limiter)), attempts, base_s=0.01)
    requests = [
        ChatRequest(stage="s", version="1", messages=(Message.of("user", f"number {n}"),)) for n in range(count)
    ]
    try:
        return await asyncio.gather(*map(chat, requests), return_exceptions=True)
    finally:
        await transport.aclose()


def test_over_http_never_over_the_limits() -> None:
    with FakeEndpoint(latency_s=0.02, jitter_s=0.02, rpm=20, window_s=1.0) as fake:
        replies = asyncio.run(ask_many(fake, Limiter(5, 20, window_s=1.3), 50))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert fake.counts == {"ok": 50}, "the endpoint never had to say 429"
        assert fake.most_in_window(1.0) == 20
        assert fake.most_in_flight <= 5


def test_over_http_with_faults_every_request_is_answered_once() -> None:
    faults = {Fault.RATE_LIMIT: 0.1, Fault.SERVER_ERROR: 0.05, Fault.CUT_OFF: 0.05, Fault.MALFORMED: 0.05}
    with FakeEndpoint(faults=faults, retry_after=None, seed=3) as fake:
        replies = asyncio.run(ask_many(fake, Limiter(16), 150, attempts=10))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert set(fake.paid.values()) == {1}
        assert len(fake.paid) == 150
        assert fake.counts.total() > 150


def test_over_http_a_stop_sends_nothing_more() -> None:
    with FakeEndpoint(latency_s=0.01) as fake:
        fake.fail_next(Status(402, message="Top up."), times=100)
        outcomes = asyncio.run(ask_many(fake, Limiter(4), 50))
        assert all(isinstance(outcome, errors.QuotaExceeded) for outcome in outcomes)
        assert len(fake.requests) <= 4, "only what was under way when the first one came back"

"""What is asked again, how often, and after how long."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lvqa_ray import errors
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.retry import LONGEST_WAIT_S, RetryMiddleware
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint, Fault

REQUEST = ChatRequest(stage="ask", version="1", messages=(Message.of("user", "x"),))
REPLY = ChatReply(text="yes", model="m", usage=Usage(calls=1))


class Scripted:
    """Fails with each of the given errors in turn, then answers; notes the waits in between."""

    def __init__(self, *failures: errors.ApiError) -> None:
        self.failures = list(failures)
        self.calls = 0
        self.waits: list[float] = []

    async def __call__(self, _: ChatRequest) -> ChatReply:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return REPLY

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Highest(random.Random):
    """Draws the upper bound, to make it visible."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def run(script: Scripted, max_attempts: int = 6, rng: random.Random | None = None) -> ChatReply:
    return asyncio.run(RetryMiddleware(script, max_attempts, rng=rng, sleep=script.sleep)(REQUEST))


def test_waits_double_up_to_the_cap() -> None:
    script = Scripted(*[errors.Overloaded("busy") for _ in range(9)])
    assert run(script, 10, Highest()) == REPLY
    assert script.waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(), st.integers(1, 2000))
def test_jitter_is_full(seed: int, attempt: int) -> None:
    wait_s = RetryMiddleware(Scripted(), 1, rng=random.Random(seed))._wait_s(attempt, None)  # noqa: S311
    assert wait_s is not None
    assert 0 <= wait_s <= min(60, 0.5 * 2.0 ** min(attempt - 1, 100))


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_the_last_failure_says_how_often_it_was_tried(attempts: int) -> None:
    script = Scripted(*[errors.Disconnected("gone") for _ in range(9)])
    with pytest.raises(errors.Disconnected) as caught:
        run(script, attempts)
    assert caught.value.attempts == script.calls == attempts
    assert len(script.waits) == attempts - 1


@pytest.mark.parametrize(
    "kind",
    [
        errors.AuthFailed, errors.QuotaExceeded, errors.NotFound, errors.BadRequest, errors.TooLong,
        errors.ContentFiltered, errors.Refused, errors.TruncatedReply,
    ],
)  # fmt: skip
def test_what_is_not_asked_again(kind: type[errors.ApiError]) -> None:
    script = Scripted(errors.Overloaded("busy"), kind("no"))
    with pytest.raises(kind) as caught:
        run(script)
    assert caught.value.attempts == script.calls == 2


def test_a_wait_that_is_asked_for_is_kept() -> None:
    script = Scripted(errors.RateLimited("slow", retry_after_s=20), errors.RateLimited("slow", retry_after_s=0))
    run(script, rng=Highest())
    assert script.waits == [20.5, 1.0]


def test_too_long_a_wait_ends_it() -> None:
    script = Scripted(errors.RateLimited("tomorrow", retry_after_s=LONGEST_WAIT_S + 1))
    with pytest.raises(errors.RateLimited):
        run(script)
    assert (script.calls, script.waits) == (1, [])


def test_at_least_one_attempt() -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        RetryMiddleware(Scripted(), 0)


def test_over_http() -> None:
    async def ask(url: str) -> ChatReply:
        transport = OpenAITransport(Endpoint(base_url=url, model="m"), SecretStr(""))
        try:
            return await RetryMiddleware(transport, 6, base_s=0.01)(REQUEST)
        finally:
            await transport.aclose()

    with FakeEndpoint() as fake:
        fake.fail_next(Fault.RATE_LIMIT, Fault.UNAVAILABLE, Fault.CUT_OFF, Fault.HTML, Fault.EMPTY_CHOICES)
        assert asyncio.run(ask(fake.base_url)).text
        assert [asked.outcome for asked in fake.requests] == ["429", "503", "cut_off", "html", "empty_choices", "ok"]
        assert list(fake.paid.values()) == [1]

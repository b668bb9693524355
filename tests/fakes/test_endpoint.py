"""Tests of the fake endpoint itself: its rate limits, queue and faults must work, or other tests prove nothing."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from tests.fakes.endpoint import FakeEndpoint, RetryAfter

Reply = tuple[int, dict[str, str], float]
"""Status, headers and response time (s)."""


def ask(fake: FakeEndpoint, *texts: str) -> list[Reply]:
    """Send requests concurrently, without our own client."""

    async def one(session: aiohttp.ClientSession, text: str) -> Reply:
        begun = time.monotonic()
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        async with session.post(f"{fake.base_url}/chat/completions", json=body) as reply:
            await reply.read()
            return (
                reply.status,
                {name.lower(): value for name, value in reply.headers.items()},
                time.monotonic() - begun,
            )

    async def all_() -> list[Reply]:
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(one(session, text) for text in texts))

    return asyncio.run(all_())


def statuses(replies: Sequence[Reply]) -> list[int]:
    return sorted(status for status, _, _ in replies)


def test_requests_of_a_window_are_bounded_and_the_rest_is_free_again_after_it() -> None:
    with FakeEndpoint(rpm=3, window_s=1.0, rate_headers=True) as fake:
        assert statuses(ask(fake, *"abcde")) == [200, 200, 200, 429, 429]
        assert fake.counts == {"ok": 3, "429": 2}
        time.sleep(1.05)
        ((status, headers, _),) = ask(fake, "f")
        assert (status, headers["x-ratelimit-remaining-requests"]) == (200, "2")


def test_tokens_of_a_window_are_bounded_with_those_of_the_replies() -> None:
    with FakeEndpoint(tpm=60, answer=lambda _: "word " * 10, window_s=60) as fake:
        assert statuses([reply for _ in range(3) for reply in ask(fake, "many words " * 10)]) == [200, 429, 429]
        assert (fake.tokens_in, fake.tokens_out) == (20, 10)
        assert statuses(ask(fake, "few words")) == [200], "what still fits is let through"


@pytest.mark.parametrize("how", ["seconds", "date", "ms", None])
def test_a_refusal_says_when_to_come_back(how: RetryAfter) -> None:
    with FakeEndpoint(rpm=1, window_s=60, retry_after=how) as fake:
        ask(fake, "a")
        ((status, headers, _),) = ask(fake, "b")
    assert status == 429
    waits = {name: value for name, value in headers.items() if name.startswith("retry-after")}
    match how:
        case None:
            assert waits == {}
        case "ms":
            assert 30_000 < float(waits["retry-after-ms"]) <= 60_000
        case "seconds":
            assert 30 < float(waits["retry-after"]) <= 60
        case "date":
            assert 30 < parsedate_to_datetime(waits["retry-after"]).timestamp() - time.time() <= 62


def test_a_saturated_endpoint_slows_down_without_a_word() -> None:
    with FakeEndpoint(latency_s=0.1, slots=2) as fake:
        fake.hold = lambda _: fake.most_in_flight < 6
        replies = ask(fake, *"abcdef")
        assert statuses(replies) == [200] * 6
        assert max(seconds for _, _, seconds in replies) > 0.29
        assert fake.most_in_flight == 6


def test_it_runs_by_hand() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.fakes.endpoint", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"--[a-z-]+", said)) >= {"--latency", "--slots", "--rpm", "--tpm", "--fault", "--outage"}

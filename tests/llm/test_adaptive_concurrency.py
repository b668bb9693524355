"""Requests at once: up where the endpoint takes them, down where it turns them away or only queues them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest

from lvqa_ray.llm.ratelimit.adaptive_concurrency import START, AdaptiveConcurrency

Server = Callable[[int, random.Random], tuple[bool, float, int]]
"""In flight -> whether it is turned away, seconds until it ends, tokens of the reply."""


def simulate(
    most: int, server: Server, requests: int = 6000, stages: int = 1, demand: int = 10_000, *, seed: int = 1
) -> list[int]:
    """The limit after each request, against a server whose clients always have work."""
    control, rng, now = AdaptiveConcurrency(most), random.Random(seed), 0.0  # noqa: S311
    under_way: list[tuple[float, int, float, int, bool, int, str]] = []
    limits: list[int] = []
    for number in range(requests):
        while len(under_way) < min(control.limit, demand):
            stage = f"stage {rng.randrange(stages)}"
            refused, seconds, tokens = server(len(under_way) + 1, rng)
            seconds *= 10 if stage == "stage 1" else 1
            heapq.heappush(under_way, (now + seconds, number, now, len(under_way) + 1, refused, tokens, stage))
        now, _, sent_at, in_flight, refused, tokens, stage = heapq.heappop(under_way)
        if refused:
            control.refused(now, sent_at=sent_at)
        else:
            control.replied(now, sent_at=sent_at, in_flight=in_flight, stage=stage, tokens_out=tokens)
        limits.append(control.limit)
        assert 1 <= control.limit <= most
    return limits


def median(limits: list[int]) -> int:
    return sorted(limits[len(limits) // 2 :])[len(limits) // 4]


def steady(_: int, rng: random.Random) -> tuple[bool, float, int]:
    return False, rng.uniform(0.08, 0.12), 100


def test_it_starts_low_and_doubles_in_a_round_trip() -> None:
    limits = simulate(256, steady)
    assert limits[0] <= START + 1
    assert 256 in limits[:300]
    assert median(limits) == 256


@pytest.mark.parametrize("takes", [4, 20, 100])
def test_it_settles_where_the_endpoint_turns_requests_away(takes: int) -> None:
    def server(in_flight: int, rng: random.Random) -> tuple[bool, float, int]:
        return in_flight > takes, 0.02 if in_flight > takes else rng.uniform(0.08, 0.12), 100

    assert 0.7 * takes <= median(simulate(256, server, 20_000)) <= 1.6 * takes + 2


@pytest.mark.parametrize("seed", range(4))
def test_refusals_that_have_nothing_to_do_with_the_load_are_put_up_with(seed: int) -> None:
    """One in ten is refused and one in fifty hangs, whatever the number in flight: no run of bad luck keeps it low."""

    def server(_: int, rng: random.Random) -> tuple[bool, float, int]:
        hangs = rng.random() < 0.02
        return hangs or rng.random() < 0.1, 2.0 if hangs else rng.uniform(0.08, 0.12), 100

    limits = simulate(64, server, 12_000, seed=seed)
    assert sum(limits) / len(limits) >= 54


@pytest.mark.parametrize("stages", [1, 2])
def test_a_queue_that_only_slows_down_is_noticed(stages: int) -> None:
    """A server that does 16 at a time and lets the others wait, without a word."""

    def server(in_flight: int, rng: random.Random) -> tuple[bool, float, int]:
        return False, rng.uniform(0.9, 1.1) * max(1.0, in_flight / 16), 100

    assert 12 <= median(simulate(1024, server, 20_000, stages)) <= 80


def test_a_server_that_does_more_in_batches_is_used_in_full() -> None:
    """Each doubling makes it half as slow again, and is worth it."""

    def server(in_flight: int, rng: random.Random) -> tuple[bool, float, int]:
        return False, rng.uniform(0.9, 1.1) * in_flight**0.58, 100

    assert median(simulate(256, server, 20_000)) >= 200


def test_replies_of_different_lengths_are_no_queue() -> None:
    def server(_: int, rng: random.Random) -> tuple[bool, float, int]:
        tokens = rng.choice([50, 100, 400])
        return False, 0.01 * tokens, tokens

    assert median(simulate(128, server, stages=2)) == 128


def test_it_does_not_grow_where_nothing_needs_it() -> None:
    assert max(simulate(256, steady, demand=2)) == START

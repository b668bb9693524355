"""Usage objects of endpoints, as their documentation and public bug reports show them."""

from __future__ import annotations

from typing import Any

import pytest

from lvqa_ray.llm.token_counts import usage_of
from lvqa_ray.records import Usage

Counts = tuple[int, int, int | None, int | None, int | None]
"""Prompt, reply, cached, written and reasoning tokens."""
SHAPES: dict[str, tuple[dict[str, Any], Counts]] = {
    "plain": ({"prompt_tokens": 9, "completion_tokens": 1}, (9, 1, None, None, None)),
    "OpenAI": (
        {
            "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 64, "accepted_prediction_tokens": 0},
        },
        (2006, 300, 1920, None, 64),
    ),
    "DeepSeek": (
        {
            "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
            "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36,
            "prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 12},
        },
        (100, 20, 64, None, 12),
    ),
    "DeepSeek without details": (
        {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        (100, 20, 64, None, None),
    ),
    "Moonshot": (
        {"prompt_tokens": 80, "completion_tokens": 5, "total_tokens": 85, "cached_tokens": 64},
        (80, 5, 64, None, None),
    ),
    "DashScope, implicit cache": (
        {
            "prompt_tokens": 3019, "completion_tokens": 104, "total_tokens": 3123,
            "prompt_tokens_details": {"cached_tokens": 2048},
        },
        (3019, 104, 2048, None, None),
    ),
    "DashScope, explicit cache": (
        {
            "prompt_tokens": 2000, "completion_tokens": 10, "total_tokens": 2010,
            "prompt_tokens_details": {
                "cached_tokens": 0, "cache_creation_input_tokens": 1889, "cache_type": "ephemeral",
                "cache_creation": {"ephemeral_5m_input_tokens": 1889},
            },
        },
        (2000, 10, 0, 1889, None),
    ),
    "OpenRouter": (
        {
            "prompt_tokens": 194, "completion_tokens": 2, "total_tokens": 196, "cost": 0.95,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        (194, 2, 0, 100, 0),
    ),
    "vLLM without --enable-prompt-tokens-details": (
        {
            "prompt_tokens": 25, "total_tokens": 1049, "completion_tokens": 1024, "prompt_tokens_details": None,
            "completion_tokens_details": {"reasoning_tokens": 428},
        },
        (25, 1024, None, None, 428),
    ),
    "vLLM with it": (
        {
            "prompt_tokens": 3617, "total_tokens": 3620, "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 1600, "created_cache_tokens": 0, "audio_tokens": None},
        },
        (3617, 3, 1600, 0, None),
    ),
    "Anthropic": (
        {"input_tokens": 50, "output_tokens": 9, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200},
        (1250, 9, 1000, 200, None),
    ),
    "Anthropic, nothing cached": (
        {"input_tokens": 50, "output_tokens": 9, "cache_read_input_tokens": 0, "cache_creation_input_tokens": None},
        (50, 9, 0, None, None),
    ),
    "a gateway that adds Anthropic's counts to the prompt": (
        {
            "prompt_tokens": 17111, "completion_tokens": 9, "total_tokens": 17120,
            "cache_read_input_tokens": 17102, "cache_creation_input_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 17102},
        },
        (17111, 9, 17102, 0, None),
    ),
    "a gateway that does not": (
        {"prompt_tokens": 7, "completion_tokens": 123, "total_tokens": 130, "cache_read_input_tokens": 20646},
        (20653, 123, 20646, None, None),
    ),
    "a gateway that does not, and has a short cache": (
        {"prompt_tokens": 700, "completion_tokens": 1, "total_tokens": 1101, "cache_read_input_tokens": 400},
        (1100, 1, 400, None, None),
    ),
    "the Responses API": (
        {
            "input_tokens": 125, "output_tokens": 48, "total_tokens": 173,
            "input_tokens_details": {"cached_tokens": 98}, "output_tokens_details": {"reasoning_tokens": 3},
        },
        (125, 48, 98, None, 3),
    ),
    "native names, and a total that has the cached tokens already": (
        {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110, "cached_tokens": 80},
        (100, 10, 80, None, None),
    ),
    "xAI: reasoning outside the completion": (
        {
            "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        (10, 105, None, None, 100),
    ),
    "Gemini: reasoning only in the total": (
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 65},
        (10, 55, None, None, 50),
    ),
    "nonsense": (
        {
            "prompt_tokens": 10, "completion_tokens": "5", "total_tokens": None, "cached_tokens": True,
            "prompt_tokens_details": {"cached_tokens": -1}, "completion_tokens_details": [1],
            "prompt_cache_hit_tokens": float("nan"), "cache_read_input_tokens": 1.5,
        },
        (10, 0, None, None, None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_counts_of_an_endpoint(name: str) -> None:
    counts, expected = SHAPES[name]
    used = usage_of({"usage": counts})
    assert used is not None
    got = (used.input_tokens, used.output_tokens, used.cached_tokens, used.cache_write_tokens, used.reasoning_tokens)
    assert got == expected
    assert used.calls == 1


@pytest.mark.parametrize("usage", [None, [], 3])
def test_no_usage_is_no_count(usage: object) -> None:
    assert usage_of({"usage": usage}) is None
    assert usage_of({}) is None


def test_sums_and_shares_of_counts_that_only_some_endpoints_report() -> None:
    told = Usage(calls=1, input_tokens=100, cached_tokens=50, reasoning_tokens=3)
    untold = Usage(calls=1, input_tokens=100)
    both = told + untold
    assert (both.cached_tokens, both.cache_write_tokens, both.reasoning_tokens) == (50, None, 3)
    assert (told.hit_share, untold.hit_share, both.hit_share) == (0.5, None, 0.25)
    assert sum((both.share(index, 3) for index in range(3)), Usage()) == both

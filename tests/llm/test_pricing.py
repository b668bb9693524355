"""Prices, without a network."""

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.dataset.run_state import write_run
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.price_table import _table
from lvqa_ray.llm.price_tiers import Tier
from lvqa_ray.llm.pricing import JOB_PRICES, cost_usd, discounts_cache, price_source, rates_of
from lvqa_ray.records import Usage

OPENAI = "https://api.openai.com/v1"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/openai"
SINGAPORE = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
BEIJING = "https://dashscope.aliyuncs.com/compatible-mode/v1"
LOCAL = "http://127.0.0.1:8000/v1"
M = 1_000_000


def at(model: str, url: str, **fields: Any) -> Endpoint:
    return Endpoint(base_url=url, model=model, **fields)


def price(model: str, url: str, tokens_in: int, tokens_out: int, *, tier: Tier = "standard", **counts: int) -> float:
    cost = cost_usd(at(model, url), Usage(input_tokens=tokens_in, output_tokens=tokens_out, **counts), tier)
    assert cost is not None
    return cost


def test_published_prices() -> None:
    both = price("gpt-4o-mini", OPENAI, M, M)
    assert both == pytest.approx(price("gpt-4o-mini", OPENAI, M, 0) + price("gpt-4o-mini", OPENAI, 0, M))
    assert both > 0
    assert price("gemini-2.5-flash", GEMINI, 1000, 10)


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("no-such-model", OPENAI),
        ("gpt-4o-mini", LOCAL),
        ("gpt-4o-mini", "https://elsewhere.example/v1"),
        ("no-such-model", SINGAPORE),
        ("qwen-plus", "https://qwen-plus.example/compatible-mode/v1"),
    ],
)
def test_unknown_is_none_and_not_zero(model: str, url: str) -> None:
    assert cost_usd(at(model, url), Usage(input_tokens=10, output_tokens=10)) is None
    assert cost_usd(at(model, url), Usage()) is None
    assert price_source(at(model, url)) == "unknown"


def test_overrides() -> None:
    def cost(tokens_in: int, tokens_out: int, **prices: float) -> float | None:
        return cost_usd(at("m", LOCAL, **prices), Usage(input_tokens=tokens_in, output_tokens=tokens_out))

    assert cost(2 * M, M, price_in=0.5, price_out=3.0) == pytest.approx(4.0)
    assert cost(10, 10, price_in=0.0, price_out=0.0) == 0.0
    assert cost(10, 10, price_in=0.5) is None
    mixed = at("gpt-4o-mini", OPENAI, price_in=7.0)
    assert cost_usd(mixed, Usage(input_tokens=M, output_tokens=M)) == pytest.approx(
        7.0 + price("gpt-4o-mini", OPENAI, 0, M)
    )
    assert price_source(mixed) == JOB_PRICES


def test_cached_and_written_prompt_tokens_have_their_own_prices() -> None:
    half = price("gpt-5-mini", OPENAI, M, 0, cached_tokens=M // 2)
    assert half == pytest.approx(0.55 * price("gpt-5-mini", OPENAI, M, 0)), "a hit costs a tenth"
    anthropic = "https://api.anthropic.com/v1"
    written = price("claude-sonnet-4-5", anthropic, 1000, 0, cache_write_tokens=1000)
    assert written == pytest.approx(1.25 * price("claude-sonnet-4-5", anthropic, 1000, 0))
    own = at("m", LOCAL, price_in=1.0, price_out=1.0, price_cached=0.1, price_cache_write=2.0)
    used = Usage(input_tokens=M, cached_tokens=600_000, cache_write_tokens=300_000)
    assert cost_usd(own, used) == pytest.approx(0.1 + 0.06 + 0.6)
    undiscounted = at("m", LOCAL, price_in=1.0, price_out=1.0)
    assert cost_usd(undiscounted, used) == pytest.approx(1.0), "without a price of hits, the bill is an upper bound"


def test_a_count_beyond_the_prompt_is_not_billed() -> None:
    assert price("gpt-5-mini", OPENAI, 100, 0, cached_tokens=500) == pytest.approx(
        price("gpt-5-mini", OPENAI, 100, 0, cached_tokens=100)
    )


@pytest.mark.parametrize(
    ("model", "url", "tokens", "expected"),
    [
        ("qwen3-vl-plus", SINGAPORE, 32_000, 0.2),
        ("qwen3-vl-plus", SINGAPORE, 32_001, 0.3),
        ("qwen3-vl-plus", SINGAPORE, 200_000, 0.6),
        ("qwen3-vl-plus-2025-09-23", SINGAPORE, 10, 0.2),
        ("qwen-plus-latest", BEIJING, 10, 0.115),
    ],
)
def test_dashscope_prices_all_tokens_of_a_request_by_the_length_of_its_prompt(
    model: str, url: str, tokens: int, expected: float
) -> None:
    rates = rates_of(at(model, url), tokens)
    assert rates is not None
    assert rates.input == expected
    assert rates.cached == pytest.approx(0.2 * expected)
    assert price(model, url, tokens, 0) == pytest.approx(tokens * expected / M)
    assert rates.source == "dashscope_prices.toml of 2026-11-29"


def test_a_reply_that_reasoned_has_its_own_price() -> None:
    assert price("qwen-plus", SINGAPORE, 0, M) == pytest.approx(1.2)
    assert price("qwen-plus", SINGAPORE, 0, M, reasoning_tokens=10) == pytest.approx(4.0)
    assert price("gpt-5-mini", OPENAI, 0, M, reasoning_tokens=10) == pytest.approx(price("gpt-5-mini", OPENAI, 0, M))


@pytest.mark.parametrize(
    ("model", "url", "tier", "plain", "hit"),
    [
        ("gpt-5-mini", OPENAI, "flex", 0.5, 0.05),
        ("gpt-5-mini", OPENAI, "batch", 0.5, 0.05),
        ("gemini-2.5-flash", GEMINI, "flex", 0.5, 0.1),
        ("qwen-plus", SINGAPORE, "batch", 0.5, 0.5),
        ("qwen-plus", BEIJING, "batch_chat", 0.5, 0.5),
    ],
)
def test_the_discounts_of_tier_and_cache_combine_where_the_provider_says_so(
    model: str, url: str, tier: Tier, plain: float, hit: float
) -> None:
    full = price(model, url, 1000, 0)
    assert price(model, url, 1000, 0, tier=tier) == pytest.approx(plain * full)
    assert price(model, url, 1000, 0, tier=tier, cached_tokens=1000) == pytest.approx(hit * full)
    assert discounts_cache(at(model, url), tier) == (hit < plain)


def test_the_price_of_a_tier_that_a_provider_does_not_have_is_unknown() -> None:
    assert rates_of(at("gpt-5-mini", OPENAI), tier="batch_chat") is None
    assert rates_of(at("deepseek-chat", "https://api.deepseek.com"), tier="flex") is None
    assert rates_of(at("m", LOCAL), tier="flex") is None


def test_the_batch_host_costs_half_whatever_the_tier_says() -> None:
    batch = "https://batch.dashscope.aliyuncs.com/compatible-mode/v1"
    assert price("qwen-plus", batch, 1000, 0) == pytest.approx(price("qwen-plus", BEIJING, 1000, 0) / 2)
    hit = price("qwen-plus", batch, 1000, 0, cached_tokens=1000)
    assert hit == pytest.approx(price("qwen-plus", batch, 1000, 0)), "it has no cache discount"


def test_prices_of_a_job_that_names_the_batch_host_and_no_tier_are_what_it_pays() -> None:
    batch, used = "https://batch.dashscope.aliyuncs.com/compatible-mode/v1", Usage(input_tokens=M, output_tokens=M)
    own = at("qwen-plus", batch, price_in=0.4, price_out=1.2)
    assert cost_usd(own, used) == pytest.approx(1.6)
    mixed = at("qwen-plus", batch, price_in=0.4)
    published = rates_of(at("qwen-plus", BEIJING), M)
    assert published is not None
    assert cost_usd(mixed, used) == pytest.approx(0.4 + published.output / 2)
    named = at("qwen-plus", batch, price_in=0.4, price_out=1.2, tier="batch_chat")
    assert [cost_usd(named, used, "batch_chat"), cost_usd(named, used)] == pytest.approx([0.8, 0.8])


def test_prices_of_the_job_are_those_of_the_standard_tier() -> None:
    own = at("m", LOCAL, price_in=2.0, price_out=4.0, price_cached=0.5)
    used = Usage(input_tokens=M, output_tokens=M, cached_tokens=M)
    tiers: tuple[Tier, ...] = ("standard", "flex", "batch_chat", "batch")
    assert [cost_usd(own, used, tier) for tier in tiers] == [4.5, 2.25, 3.0, 3.0]


def test_the_table_is_in_order_and_every_entry_has_a_price() -> None:
    table = _table()
    assert table["as_of"].year >= 2026
    for host, models in table["hosts"].items():
        for model, steps in models.items():
            ends = [step.get("up_to") for step in steps]
            assert ends[-1] is None, f"{model} at {host}: the last price has no end"
            assert ends[:-1] == sorted(ends[:-1]), f"{model} at {host}"
            for before, after in pairwise(steps):
                assert before["input"] < after["input"], f"{model} at {host}: longer prompts do not cost less"
            assert all(set(step) <= {"up_to", "input", "output", "thinking", "cached"} for step in steps)
    assert set(table["aliases"].values()) <= set(table["hosts"])


def test_the_output_says_where_its_prices_come_from(tmp_path: Path) -> None:
    endpoints = {
        "vlm": {"base_url": SINGAPORE, "model": "qwen3-vl-plus"},
        "llm": {"base_url": OPENAI, "model": "gpt-5-mini"},
        "reformat": {"base_url": LOCAL, "model": "m"},
        "checker": {"base_url": LOCAL, "model": "m", "price_in": 1, "price_out": 1},
    }
    write_run(tmp_path, Job.of({"videos": "v.mp4", "output": str(tmp_path), "endpoints": endpoints}), None)
    said = json.loads((tmp_path / "run.json").read_text())["prices"]
    assert (
        said.items()
        >= {
            "vlm": "dashscope_prices.toml of 2026-11-29",
            "llm": f"genai-prices {version('genai-prices')}",
            "reformat": "unknown",
            "checker": JOB_PRICES,
        }.items()
    )

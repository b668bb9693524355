"""Prices, without a network."""

from __future__ import annotations

import pytest

from lvqa_ray.llm.pricing import cost_usd

OPENAI = "https://api.openai.com/v1"


def test_published_prices() -> None:
    both = cost_usd("gpt-4o-mini", OPENAI, 1_000_000, 1_000_000)
    assert both is not None
    assert both == pytest.approx(
        (cost_usd("gpt-4o-mini", OPENAI, 1_000_000, 0) or 0) + (cost_usd("gpt-4o-mini", OPENAI, 0, 1_000_000) or 0)
    )
    assert both > 0
    assert cost_usd("gemini-2.5-flash", "https://generativelanguage.googleapis.com/v1beta/openai/", 1000, 10)


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("no-such-model", OPENAI),
        ("gpt-4o-mini", "http://127.0.0.1:8000/v1"),
        ("gpt-4o-mini", "https://elsewhere.example/v1"),
    ],
)
def test_unknown_is_none_and_not_zero(model: str, url: str) -> None:
    assert cost_usd(model, url, 10, 10) is None


def test_overrides() -> None:
    local = "http://127.0.0.1:8000/v1"
    assert cost_usd("m", local, 2_000_000, 1_000_000, (0.5, 3.0)) == pytest.approx(4.0)
    assert cost_usd("m", local, 10, 10, (0.0, 0.0)) == 0.0
    assert cost_usd("m", local, 10, 10, (0.5, None)) is None
    published_out = cost_usd("gpt-4o-mini", OPENAI, 0, 1_000_000)
    assert published_out is not None
    assert cost_usd("gpt-4o-mini", OPENAI, 1_000_000, 1_000_000, (7.0, None)) == pytest.approx(7.0 + published_out)

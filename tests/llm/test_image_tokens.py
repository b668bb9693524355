"""Tokens of a picture: the examples that the vendors give, and the sizes that this job sends."""

from __future__ import annotations

import pytest

from lvqa_ray.llm.image_tokens import family_of


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        # OpenAI's own examples
        ("gpt-4o", (1024, 1024), 765),
        ("gpt-4o", (2048, 4096), 1105),
        ("gpt-4.1-mini", (1024, 1024), 1659),
        # reported by users of its API: 128 x 64 as one tile, 12 tokens of text taken off
        ("gpt-4o-2024-11-20", (128, 64), 255),
        ("gpt-4o-mini", (128, 64), 8500),
        ("gpt-4.1-2025-04-14", (128, 64), 255),
        ("gpt-5.2", (512, 512), 210),
        ("gpt-5-nano", (64, 64), 10),
        ("o3", (512, 512), 225),
        ("o4-mini", (10_000, 10_000), 2642),
        ("gpt-4.1-nano", (320, 320), 246),
        # Qwen2-VL's 4 to 16384 tokens are 28 px squares
        ("Qwen/Qwen2.5-VL-7B-Instruct", (796, 448), 29 * 16),
        ("qwen3-vl-plus", (796, 448), 25 * 14),
        # Google: 258 for a small picture and for each tile
        ("gemini-2.5-flash", (384, 384), 258),
        ("models/gemini-2.5-flash", (796, 448), 2 * 258),
        ("gemini-3-pro-preview", (796, 448), 1120),
        # Anthropic's table
        ("anthropic/claude-sonnet-4", (1000, 1000), 1334),
        ("claude-sonnet-4", (200, 200), 54),
        ("claude-sonnet-4", (4000, 4000), 1600),
        ("a-model-of-ones-own", (280, 28), 10),
    ],
)
def test_tokens(model: str, size: tuple[int, int], tokens: int) -> None:
    assert family_of(model).tokens(*size) == tokens


def test_an_unknown_model_is_called_unknown() -> None:
    assert "unknown" in family_of("llama-4").name
    assert "unknown" not in family_of("qwen2.5-vl-72b-instruct").name

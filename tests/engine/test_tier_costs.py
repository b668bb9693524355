"""What each role costs on each tier."""

from __future__ import annotations

from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.engine.preflight.estimate import estimate
from lvqa_ray.engine.preflight.tier_costs import TierCost, tier_costs
from lvqa_ray.llm.price_tiers import Tier
from tests.engine.test_estimate import LOAD

OPENAI = {"base_url": "https://api.openai.com/v1", "model": "gpt-5-mini"}
BEIJING = {"base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1", "model": "qwen3-vl-plus"}
GEMINI = {"base_url": "https://generativelanguage.googleapis.com/v1beta/openai", "model": "gemini-2.5-flash"}


def costs(llm: dict[str, Any], checker: dict[str, Any], **settings: Any) -> dict[str, dict[Tier, TierCost]]:
    endpoints = {"vlm": BEIJING, "llm": llm, "checker": checker}
    job = Job.of({"videos": "v.mp4", "output": "out", "endpoints": endpoints, **settings})
    return dict(tier_costs(job, estimate(job, [LOAD])).items())


def ratio(cost: TierCost, to: TierCost) -> tuple[float, float]:
    assert None not in (cost.cost_usd, cost.with_cache_usd, to.cost_usd)
    return (cost.cost_usd or 0) / (to.cost_usd or 1), (cost.with_cache_usd or 0) / (to.cost_usd or 1)


def test_each_role_has_the_tiers_of_its_endpoint() -> None:
    found = costs({**OPENAI, "tier": "flex"}, BEIJING)
    assert {role: list(tiers) for role, tiers in found.items()} == {
        "vlm": ["standard", "batch_chat", "batch"],
        "llm": ["standard", "flex", "batch"],
        "reformat": ["standard", "flex", "batch"],
        "checker": ["standard", "batch_chat", "batch"],
    }
    assert [tier for tier, cost in found["llm"].items() if cost.chosen] == ["flex"]
    assert ratio(found["vlm"]["batch"], found["vlm"]["standard"]) == pytest.approx((0.5, 0.5)), (
        "clips share no captions"
    )


def test_the_discounts_of_tier_and_cache_are_combined_as_the_provider_does() -> None:
    openai, beijing, gemini = (costs(OPENAI, each)["checker"] for each in (OPENAI, BEIJING, GEMINI))
    for found in (openai, gemini):
        plain, hits = ratio(found["flex"], found["standard"])
        assert plain == pytest.approx(0.5)
        assert hits < 0.5
    assert ratio(openai["flex"], openai["standard"])[1] < ratio(openai["standard"], openai["standard"])[1]
    assert ratio(openai["batch"], openai["standard"]) == pytest.approx((0.5, 0.5)), "no leader goes first in a file"
    assert ratio(beijing["batch_chat"], beijing["standard"]) == pytest.approx((0.5, 0.5)), "no cache discount"
    assert ratio(beijing["standard"], beijing["standard"])[1] < 1


def test_what_is_not_known_is_not_zero() -> None:
    unknown = {"base_url": "https://elsewhere.example/v1", "model": "m"}
    assert costs(OPENAI, unknown)["checker"] == {"standard": TierCost(None, None, chosen=True)}
    deepseek = {"base_url": "https://api.deepseek.com", "model": "deepseek-chat", "tier": "batch"}
    found = costs(OPENAI, deepseek)["checker"]
    assert found["standard"].cost_usd
    assert found["batch"] == TierCost(None, None, chosen=True)


def test_windows_of_a_long_video_share_nothing() -> None:
    short, long = (costs(OPENAI, OPENAI, summarize={"budget": budget})["checker"] for budget in (100_000, 4_000))
    assert ratio(short["standard"], short["standard"])[1] < 0.5
    assert ratio(long["standard"], long["standard"])[1] == 1

"""Errors of a cheaper tier: which of them mean that it has no capacity now."""

from __future__ import annotations

from lvqa_ray.errors import ApiError, NoCapacity, RateLimited, TimedOut
from lvqa_ray.llm.price_tiers import Tier


def of_tier(error: ApiError, tier: Tier) -> ApiError:
    """The error of a request on a tier: `NoCapacity` if the tier is full, so that the request waits.

    OpenAI's flex answers 429 with "resource unavailable", Gemini's 503, Groq's 498. DashScope's Batch Chat gives up a
    request that it could not serve in an hour. On the standard tier a lack of capacity is an ordinary rate limit.
    """
    crowded = isinstance(error, NoCapacity)
    if tier in {"flex", "batch_chat"}:
        crowded = crowded or error.status == 503 or (tier == "batch_chat" and isinstance(error, TimedOut))
    elif not crowded:
        return error
    kind = NoCapacity if tier != "standard" else RateLimited
    if not crowded or type(error) is kind:
        return error
    other = kind(str(error), status=error.status, retry_after_s=error.retry_after_s)
    other.limits = error.limits
    return other

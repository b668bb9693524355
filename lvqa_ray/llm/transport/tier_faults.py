"""Errors of a cheaper tier: which of them mean that it has no capacity now."""

from __future__ import annotations

from lvqa_ray.errors import ApiError, NoCapacity, Overloaded, RateLimited, TimedOut
from lvqa_ray.llm.price_tiers import Tier

_SHORTEST_WAIT_S = 60.0
"""The shortest time that Batch Chat documents for keeping a request waiting (s)."""


def on_tier(kind: type[ApiError], status: int | None, tier: Tier) -> type[ApiError]:
    """The class of an error on a tier: `NoCapacity` if the tier is full, so that the request waits.

    OpenAI's flex answers 429 with "resource unavailable", Gemini's 503, Groq's 498. DashScope's Batch Chat ends a
    request that it could not serve in an hour with a timeout.
    """
    full = tier in {"flex", "batch_chat"} and status == 503 and kind in {Overloaded, RateLimited}
    return NoCapacity if full or (tier == "batch_chat" and kind is TimedOut) else kind


def keeps_waiting(tier: Tier, timeout_s: float) -> bool:
    """Whether a connected endpoint that has not answered by the deadline has kept the request waiting for capacity."""
    return tier == "batch_chat" and timeout_s >= _SHORTEST_WAIT_S

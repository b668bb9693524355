"""Price of a call, computed from its token counts."""

from __future__ import annotations

from functools import cache
from urllib.parse import urlsplit

from lvqa_ray.llm.endpoint import Endpoint, Tier, is_loopback

PER_MILLION = 1_000_000
DISCOUNTED = 0.5
"""Price of the tiers other than ``standard``, as a share of the standard price."""
_UNDISCOUNTED = {("api.groq.com", "flex")}
"""Tiers with the price of the standard one: Groq's flex has higher limits instead."""


def cost_usd(
    model: str,
    base_url: str,
    input_tokens: int,
    output_tokens: int,
    overrides: tuple[float | None, float | None] = (None, None),
    *,
    tier: Tier = "standard",
) -> float | None:
    """Price of one call in US dollars.

    Published prices are those in the package genai-prices, so nothing is downloaded. They are looked up by URL and
    model: a self-hosted or resold model has no published price. The discount of a tier is included; that for cached
    prompt tokens is not, so the result is an upper bound.

    Args:
        model: Name of the model at the endpoint.
        base_url: URL of the endpoint.
        input_tokens: Prompt tokens.
        output_tokens: Reply tokens.
        overrides: Dollars per million prompt and per million reply tokens on the standard tier; ``None`` for the
            published price.
        tier: The tier that the endpoint bills.

    Returns:
        Dollars, or ``None`` if a price is unknown.
    """
    price_in, price_out = overrides
    published = (None, None) if None not in overrides else _published(model, base_url, input_tokens, output_tokens)
    cost_in = published[0] if price_in is None else input_tokens * price_in / PER_MILLION
    cost_out = published[1] if price_out is None else output_tokens * price_out / PER_MILLION
    return None if cost_in is None or cost_out is None else (cost_in + cost_out) * tier_factor(tier, base_url)


def tier_factor(tier: Tier, base_url: str) -> float:
    """Price of a tier as a share of the standard price; docs/endpoints.md has the sources."""
    if tier == "standard" or (urlsplit(base_url).hostname, tier) in _UNDISCOUNTED:
        return 1.0
    return DISCOUNTED


def _published(model: str, base_url: str, input_tokens: int, output_tokens: int) -> tuple[float | None, float | None]:
    if not _is_published(model, base_url):
        return None, None
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415 - its tables take a third of a second to load
    from genai_prices import calc_price  # noqa: PLC0415

    try:
        price = calc_price(
            PricedUsage(input_tokens=input_tokens, output_tokens=output_tokens), model, provider_api_url=base_url
        )
    except ValueError:  # the price depends on a quantity that we do not have
        return None, None
    return float(price.input_price), float(price.output_price)


@cache
def _is_published(model: str, base_url: str) -> bool:
    """Whether there is a published price; cached, since a failing search is slow and runs for each reply."""
    if is_loopback(base_url):
        return False
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415 - as above
    from genai_prices import calc_price  # noqa: PLC0415

    try:
        calc_price(PricedUsage(), model, provider_api_url=base_url)
    except LookupError:
        return False
    except ValueError:
        return True
    return True


def sound_usd(
    at: Endpoint, seconds: float, input_tokens: int = 0, output_tokens: int = 0, *, audio_tokens: int = 0
) -> float | None:
    """Price of a transcription in US dollars: by duration, or by tokens if the endpoint counts these.

    Args:
        at: The endpoint.
        seconds: Duration of the audio (s).
        input_tokens: Input tokens that the endpoint counted; 0 if it counts none.
        output_tokens: Output tokens that the endpoint counted.
        audio_tokens: Input tokens that are audio.

    Returns:
        Dollars, or ``None`` if a price is unknown.
    """
    if at.price_minute is not None:
        return seconds / 60 * at.price_minute
    if input_tokens and None not in (prices := (at.price_in, at.price_out)):
        return cost_usd(at.model, at.base_url, input_tokens, output_tokens, prices)
    if not _is_published(at.model, at.base_url):
        return None
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415 - as above
    from genai_prices import calc_price  # noqa: PLC0415

    used = {"audio_seconds": round(seconds), "input_audio_seconds": round(seconds)}
    if input_tokens:
        used = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        used |= {"input_audio_tokens": audio_tokens} if audio_tokens else {}
    try:
        price = calc_price(PricedUsage(**used), at.model, provider_api_url=at.base_url)
    except (ValueError, TypeError):
        return None
    # A model priced by tokens has no price for seconds: the result is then 0, which does not mean free.
    return float(price.total_price) or None

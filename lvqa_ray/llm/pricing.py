"""Price of a call, computed from its token counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Literal
from urllib.parse import urlsplit

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.endpoint_url import is_loopback
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.llm.price_table import Rates, table_rates
from lvqa_ray.llm.price_tiers import Tier
from lvqa_ray.records import Usage

PER_MILLION = 1_000_000
STANDARD: Tier = "standard"
GPU_HOURS = "GPU hours instead of tokens"
"""Source of the prices of a served model: its tokens cost nothing, see `lvqa_ray.dataset.model_use`."""
JOB_PRICES = "prices in the job"
"""Source of prices that the job sets itself."""
BATCH_HOSTS = frozenset({"batch.dashscope.aliyuncs.com"})
"""Hosts that serve a discounted tier only."""
_STEP = 1000
"""Published prices change at multiples of this many prompt tokens."""


@dataclass(frozen=True, slots=True)
class TierDiscount:
    """Price of a service tier.

    Attributes:
        share: Price as a share of the standard price.
        cached: Price of prompt tokens from the prompt cache: ``too`` if they get the discount of the tier as well,
            ``standard`` if they cost what they cost on the standard tier, ``none`` if the tier has no cache discount.
    """

    share: float
    cached: Literal["too", "standard", "none"]


_HALF_AND_CACHED = TierDiscount(0.5, "too")
_HALF_OR_CACHED = TierDiscount(0.5, "standard")
_HALF_ONLY = TierDiscount(0.5, "none")
_DISCOUNTS: Mapping[str, Mapping[Tier, TierDiscount]] = {
    "openai.com": {"flex": _HALF_AND_CACHED, "batch": _HALF_AND_CACHED},
    "googleapis.com": {"flex": _HALF_OR_CACHED, "batch": _HALF_OR_CACHED},
    "dashscope.aliyuncs.com": {"batch_chat": _HALF_ONLY, "batch": _HALF_ONLY},
    "aliyuncs.com": {"batch": _HALF_ONLY},  # Batch Chat is offered in Beijing only
    "groq.com": {"flex": TierDiscount(1.0, "too"), "batch": _HALF_ONLY},  # its flex has higher limits instead
}
"""Discounts by domain and tier, subdomains first; docs/cost-and-speed.md gives the sources."""
_OWN_PRICES: Mapping[Tier, TierDiscount] = {"flex": _HALF_AND_CACHED, "batch_chat": _HALF_ONLY, "batch": _HALF_ONLY}
"""Discounts where the job sets the prices: half, as at all providers above."""


def cost_usd(at: Endpoint, used: Usage, tier: Tier = STANDARD) -> float | None:
    """Price of some calls on one service tier in US dollars.

    Prompt tokens from the prompt cache, those written to it, and the replies of models that reasoned have their own
    prices. Published prices are those in the package genai-prices and in ``dashscope_prices.toml``, so nothing is
    downloaded. They are looked up by URL and model: a self-hosted or resold model has no published price.

    Args:
        at: The endpoint.
        used: Token counts of one call; prices may depend on the length of its prompt.
        tier: Service tier that answered.

    Returns:
        Dollars, or ``None`` if a price is unknown.
    """
    rates = rates_of(at, used.input_tokens, tier)
    if rates is None:
        return None
    cached = min(used.cached_tokens or 0, used.input_tokens)
    written = min(used.cache_write_tokens or 0, used.input_tokens - cached)
    fresh = used.input_tokens - cached - written
    tokens_in = fresh * rates.input + cached * rates.cached + written * rates.cache_write
    tokens_out = used.output_tokens * (rates.thinking if used.reasoning_tokens else rates.output)
    return (tokens_in + tokens_out) / PER_MILLION


def rates_of(at: Endpoint, prompt_tokens: int = 0, tier: Tier = STANDARD) -> Rates | None:
    """Prices of an endpoint on one tier, for prompts of this length; ``None`` if one is unknown.

    Prices of the job are those of the tier that it names: on a host with a discounted tier only, a job that names no
    tier gets the discount on published prices, not on its own.
    """
    if isinstance(at, ServedEndpoint):
        return None if at.gpus and at.price_gpu_hour is None else Rates(0.0, 0.0, 0.0, 0.0, 0.0, GPU_HOURS)
    published = _published(at.model, at.base_url, math.ceil(prompt_tokens / _STEP) * _STEP)
    if tier == STANDARD and (urlsplit(at.base_url).hostname or "") in BATCH_HOSTS:
        if at.tier != STANDARD:
            tier = "batch_chat"
        elif published is not None:
            published = _on_tier(published, _HALF_ONLY)
    price_in, price_out = at.price_in, at.price_out
    if published is None:
        if price_in is None or price_out is None:
            return None
        published = Rates(price_in, price_out, price_in, price_in, price_out, JOB_PRICES)
    if price_in is not None:
        published = replace(published, input=price_in, cached=price_in, cache_write=price_in, source=JOB_PRICES)
    if price_out is not None:
        published = replace(published, output=price_out, thinking=price_out)
    rates = replace(
        published,
        cached=published.cached if at.price_cached is None else at.price_cached,
        cache_write=published.cache_write if at.price_cache_write is None else at.price_cache_write,
    )
    if tier == STANDARD:
        return rates
    discount = discount_of(at, tier)
    return None if discount is None else _on_tier(rates, discount)


def price_source(at: Endpoint) -> str:
    """Where the prices of an endpoint come from, with version or date; ``unknown`` if it has none."""
    rates = rates_of(at)
    return "unknown" if rates is None else rates.source


def discount_of(at: Endpoint, tier: Tier) -> TierDiscount | None:
    """The discount of a tier at an endpoint; ``None`` if it is unknown."""
    if domain := _domain(at):
        return _DISCOUNTS[domain].get(tier)
    return _OWN_PRICES.get(tier) if at.price_in is not None and at.price_out is not None else None


def tiers_offered(at: Endpoint) -> tuple[Tier, ...]:
    """Tiers that the provider of an endpoint is known to offer, and the one that its settings name."""
    known = _DISCOUNTS.get(_domain(at), {})
    return tuple(dict.fromkeys((STANDARD, *known, at.tier)))


def discounts_cache(at: Endpoint, tier: Tier = STANDARD) -> bool:
    """Whether prompt tokens from the endpoint's prompt cache are known to cost less than others on this tier."""
    rates = rates_of(at, tier=tier)
    return rates is not None and rates.cached < rates.input


def _domain(at: Endpoint) -> str:
    """The domain in `_DISCOUNTS` that an endpoint belongs to; empty for none."""
    host = urlsplit(at.base_url).hostname or ""
    return next((domain for domain in _DISCOUNTS if f".{host}".endswith(f".{domain}")), "")


def _on_tier(rates: Rates, discount: TierDiscount) -> Rates:
    price_in = discount.share * rates.input
    cached = {"too": discount.share * rates.cached, "standard": min(rates.cached, price_in), "none": price_in}
    return Rates(
        input=price_in,
        output=discount.share * rates.output,
        cached=cached[discount.cached],
        cache_write=price_in if discount.cached == "none" else discount.share * rates.cache_write,
        thinking=discount.share * rates.thinking,
        source=rates.source,
    )


@lru_cache(maxsize=4096)
def _published(model: str, base_url: str, prompt_tokens: int) -> Rates | None:
    """Published prices for prompts of at most this many tokens (a multiple of `_STEP`)."""
    if is_loopback(base_url):
        return None
    if (rates := table_rates(model, base_url, prompt_tokens)) is not None:
        return rates
    if not _is_published(model, base_url):
        return None
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415 - its tables take a third of a second to load
    from genai_prices import calc_price  # noqa: PLC0415

    tokens = max(prompt_tokens, _STEP)

    def per_million(**used: int) -> tuple[float, float]:
        counts = PricedUsage(input_tokens=tokens, output_tokens=tokens, **used)
        price = calc_price(counts, model, provider_api_url=base_url)
        return float(price.input_price) * PER_MILLION / tokens, float(price.output_price) * PER_MILLION / tokens

    try:
        (plain, out), (cached, _), (written, _) = (
            per_million(),
            per_million(cache_read_tokens=tokens),
            per_million(cache_write_tokens=tokens),
        )
    except ValueError:  # the price depends on a quantity that we do not have
        return None
    return Rates(plain, out, cached, written, out, f"genai-prices {version('genai-prices')}")


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
    if input_tokens and at.price_in is not None and at.price_out is not None:
        return cost_usd(at, Usage(input_tokens=input_tokens, output_tokens=output_tokens))
    if at.is_served or not _is_published(at.model, at.base_url):
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

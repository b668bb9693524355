"""What a call costs, from its token counts."""

from __future__ import annotations

from functools import cache

from lvqa_ray.llm.endpoint import Endpoint, is_loopback

PER_MILLION = 1_000_000


def cost_usd(
    model: str,
    base_url: str,
    input_tokens: int,
    output_tokens: int,
    overrides: tuple[float | None, float | None] = (None, None),
) -> float | None:
    """Price of one call in US dollars.

    Published prices are those that genai-prices carries, so nothing is fetched. They are looked up by URL and model
    together: the same model served by oneself, or resold, has no published price. They do not know of discounts, such
    as those for cached prompt tokens or batches, so the result is an upper bound.

    Args:
        model: Name of the model, as the endpoint spells it.
        base_url: URL of the endpoint.
        input_tokens: Prompt tokens.
        output_tokens: Reply tokens.
        overrides: Dollars per million prompt and per million reply tokens; ``None`` for the published price.

    Returns:
        Dollars, or ``None`` where a price is not known.
    """
    price_in, price_out = overrides
    published = (None, None) if None not in overrides else _published(model, base_url, input_tokens, output_tokens)
    cost_in = published[0] if price_in is None else input_tokens * price_in / PER_MILLION
    cost_out = published[1] if price_out is None else output_tokens * price_out / PER_MILLION
    return None if cost_in is None or cost_out is None else cost_in + cost_out


def _published(model: str, base_url: str, input_tokens: int, output_tokens: int) -> tuple[float | None, float | None]:
    if not _is_published(model, base_url):
        return None, None
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415 - its tables take a third of a second to load
    from genai_prices import calc_price  # noqa: PLC0415

    try:
        price = calc_price(
            PricedUsage(input_tokens=input_tokens, output_tokens=output_tokens), model, provider_api_url=base_url
        )
    except ValueError:  # it is priced by something we were not told
        return None, None
    return float(price.input_price), float(price.output_price)


@cache
def _is_published(model: str, base_url: str) -> bool:
    """Whether there is a price at all; to find that there is none costs a search, and is asked for every reply."""
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
    """Price of writing down sound in US dollars: by its length, or by tokens where an endpoint counts these.

    Args:
        at: Who does it.
        seconds: Length of the sound.
        input_tokens: Tokens that the endpoint counted, 0 where it counts none.
        output_tokens: The same of its reply.
        audio_tokens: Those of the former that are sound.

    Returns:
        Dollars, or ``None`` where a price is not known.
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
    # One that counts tokens has no price for seconds, which then look as if they were free.
    return float(price.total_price) or None

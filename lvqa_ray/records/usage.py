"""Token usage and cost of model calls."""

from __future__ import annotations

from dataclasses import dataclass

from lvqa_ray.errors import ApiError, Bill

REPORTED = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")
"""Fields of `Usage` that not every endpoint reports; ``None`` is not 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and cost of model calls.

    Attributes:
        calls: Paid replies, including those from the cache.
        cached: Replies from the cache.
        unusable: Replies that were truncated, filtered, refused or empty; only counted when the cache is summed up.
        input_tokens: Prompt tokens, as the endpoint counted them; they include the two cache counts below.
        output_tokens: Completion tokens, as the endpoint counted them; they include the reasoning tokens.
        cost_usd: US dollars at the price when they were paid, ``None`` if no price is known.
        cached_tokens: Prompt tokens that the endpoint read from its prompt cache, ``None`` if it reported none.
        cache_write_tokens: Prompt tokens that it wrote to that cache and bills as such, ``None`` likewise.
        reasoning_tokens: Completion tokens of hidden reasoning, ``None`` likewise.
    """

    calls: int = 0
    cached: int = 0
    unusable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def bill(self) -> Bill:
        """The tokens and cost as an error carries them."""
        return Bill(
            self.input_tokens,
            self.output_tokens,
            self.cost_usd,
            self.cached_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
        )

    @property
    def hit_share(self) -> float | None:
        """Share of the prompt tokens that came from the prompt cache; ``None`` if no endpoint reported any count."""
        if self.cached_tokens is None or not self.input_tokens:
            return None
        return self.cached_tokens / self.input_tokens

    @classmethod
    def of(cls, error: ApiError) -> Usage:
        """Usage of an unusable reply; zero if the error has no bill."""
        return cls() if error.bill is None else cls(calls=1, cached=int(error.cached), **error.bill._asdict())

    def share(self, index: int, of: int) -> Usage:
        """One of ``of`` shares that add up to this: a call that wrote several questions is split among them."""
        first = int(index == 0)

        def part(whole: int) -> int:
            return whole // of + first * (whole % of)

        return Usage(
            calls=part(self.calls),
            cached=part(self.cached),
            input_tokens=part(self.input_tokens),
            output_tokens=part(self.output_tokens),
            cost_usd=None if self.cost_usd is None else self.cost_usd / of,
            cached_tokens=None if self.cached_tokens is None else part(self.cached_tokens),
            cache_write_tokens=None if self.cache_write_tokens is None else part(self.cache_write_tokens),
            reasoning_tokens=None if self.reasoning_tokens is None else part(self.reasoning_tokens),
        )

    def __add__(self, other: Usage) -> Usage:
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            calls=self.calls + other.calls,
            cached=self.cached + other.cached,
            unusable=self.unusable + other.unusable,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=sum(costs) if costs else None,
            cached_tokens=_sum(self.cached_tokens, other.cached_tokens),
            cache_write_tokens=_sum(self.cache_write_tokens, other.cache_write_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    """Sum of two counts; a count that was not reported adds nothing."""
    return other if one is None else one if other is None else one + other


NO_USAGE = Usage()

"""Ledger of the fake endpoint: what it charges, by tier, counted apart from the program under test."""

from __future__ import annotations

import threading
from collections import Counter

SHARES = {"standard": 1.0, "flex": 0.5, "batch_chat": 0.5, "batch": 0.5}
"""Price of a tier as a share of the standard price."""


class Ledger:
    """Counts replies and charges by tier, in millionths of a cent, so that sums are exact.

    Args:
        prices: US dollars per million prompt tokens and per million reply tokens.
        cached: US dollars per million prompt tokens from the prompt cache; ``None`` if these cost what others do.
    """

    def __init__(self, prices: tuple[float, float], cached: float | None = None) -> None:
        self.prices = prices
        self.cached = cached
        self.replies: Counter[str] = Counter()
        self._charged: Counter[str] = Counter()
        self._lock = threading.Lock()

    def charge(self, tier: str, tokens_in: int, tokens_out: int, cached: int = 0) -> None:
        """Charge a reply, of whose prompt tokens some were cached; batch tiers give no discount for these."""
        hit = self.prices[0] if self.cached is None or tier.startswith("batch") else self.cached
        price = ((tokens_in - cached) * self.prices[0] + cached * hit + tokens_out * self.prices[1]) * SHARES[tier]
        with self._lock:
            self.replies[tier] += 1
            self._charged[tier] += round(price * 1e6)

    @property
    def usd(self) -> float:
        """US dollars charged on all tiers."""
        with self._lock:
            return sum(self._charged.values()) / 1e12

    def usd_of(self, tier: str) -> float:
        """US dollars charged on a tier."""
        return self._charged[tier] / 1e12

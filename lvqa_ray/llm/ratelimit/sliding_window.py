"""Sliding-window counter: how much was sent in the last minute, and when more may be sent."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0
SLACK_S = 1.25
"""The window is this much longer than a minute: the endpoint counts requests as they arrive, and one request may travel
this much longer than the next. It costs 2 % of the limit."""


@dataclass(slots=True)
class WindowEntry:
    """What one request takes of a limit; the amount is corrected once it is known."""

    at: float
    amount: int


class SlidingWindow:
    """Sliding-window log: keeps an amount under a limit in every window.

    It keeps all entries of the last window: a token bucket, the usual approximation, allows up to twice the limit in a
    minute that begins with a full bucket. An amount larger than the limit is allowed alone.

    Args:
        limit: Maximum in any window; ``None`` for no limit, and then no entries are kept.
        seconds: Length of the window (s).
    """

    def __init__(self, limit: int | None, seconds: float = WINDOW_S + SLACK_S) -> None:
        self.limit = limit
        self._seconds = seconds
        self._entries: deque[WindowEntry] = deque()  # oldest first
        self._total = 0

    def add(self, now: float, amount: int) -> WindowEntry:
        """Count an amount that is sent now."""
        entry = WindowEntry(now, amount)
        if self.limit is not None:
            self._forget(now)
            self._entries.append(entry)
            self._total += amount
        return entry

    def correct(self, entry: WindowEntry, now: float, amount: int) -> None:
        """Correct the amount of an entry; no effect once it has left the window."""
        if self.limit is None:
            return
        self._forget(now)
        if entry.at + self._seconds > now:
            self._total += amount - entry.amount
            entry.amount = amount

    def fill(self, now: float) -> None:
        """Take the window as full, since what was sent in it is unknown."""
        if self.limit is not None:
            self.add(now, self.limit)

    def wait_s(self, now: float, amount: int) -> float:
        """Seconds until an amount may be sent; 0 if it may now."""
        if self.limit is None or amount <= 0:
            return 0.0
        self._forget(now)
        left, wait_s = self._total, 0.0
        for entry in self._entries:
            if left <= max(0, self.limit - amount):
                break
            left -= entry.amount
            wait_s = entry.at + self._seconds - now
        return wait_s

    def room(self, now: float) -> float:
        """The amount that may be sent now."""
        if self.limit is None:
            return math.inf
        self._forget(now)
        return max(0, self.limit - self._total)

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].at + self._seconds <= now:
            self._total -= self._entries.popleft().amount

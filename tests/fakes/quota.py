"""Sliding-window rate limit of the fake endpoint, independent of the client's code."""

from __future__ import annotations

from collections import deque


class Quota:
    """Amounts accepted in the last window; refused amounts do not count.

    Args:
        window_s: Length of the window (s).
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._taken: deque[tuple[float, int]] = deque()

    def left(self, most: int, at: float) -> int:
        """Remaining amount under a limit."""
        while self._taken and self._taken[0][0] <= at - self._window_s:
            self._taken.popleft()
        return max(0, most - sum(amount for _, amount in self._taken))

    def fits(self, most: int, at: float, amount: int) -> bool:
        """Whether an amount is accepted; an amount above the limit is accepted into an empty window."""
        return amount <= self.left(most, at) or not self._taken

    def take(self, at: float, amount: int) -> None:
        """Record an accepted amount."""
        self._taken.append((at, amount))

    def wait_s(self, at: float) -> float:
        """Seconds until the oldest amount leaves the window."""
        return self._taken[0][0] + self._window_s - at if self._taken else 0.0

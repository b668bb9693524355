"""What a limit by the minute lets through, in any window; the endpoint's own count, made without the client's code."""

from __future__ import annotations

from collections import deque


class Quota:
    """What was let through in the last window; refused amounts do not count.

    Args:
        window_s: Length of the window in seconds.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._taken: deque[tuple[float, int]] = deque()

    def left(self, most: int, at: float) -> int:
        """What would still be let through under a limit."""
        while self._taken and self._taken[0][0] <= at - self._window_s:
            self._taken.popleft()
        return max(0, most - sum(amount for _, amount in self._taken))

    def fits(self, most: int, at: float, amount: int) -> bool:
        """Whether this much would be let through; what is larger than the limit is, alone."""
        return amount <= self.left(most, at) or not self._taken

    def take(self, at: float, amount: int) -> None:
        """Let it through."""
        self._taken.append((at, amount))

    def wait_s(self, at: float) -> float:
        """Seconds until the oldest leaves the window."""
        return self._taken[0][0] + self._window_s - at if self._taken else 0.0

"""When an endpoint is down: stop sending, look again now and then, and give up after a stated time."""

from __future__ import annotations

OPEN_AFTER = 5
FIRST_WAIT_S = 1.0
LONGEST_PAUSE_S = 30.0
PATIENCE_S = 60.0
"""A probe that has no end after this long may hang, so another one goes."""


class CircuitBreaker:
    """A circuit breaker over times that are handed in.

    *Closed*, everything goes out. A number of failures with no answer in between *opens* it: nothing goes out for a
    second, then one probe does (*half open*), at 1, 2, 4, ... and at most every 30 s. Any answer closes it. When it has
    been open for ``max_outage_s`` it is *exhausted*, and stays so.

    A pattern of M. Nygard's *Release It!* (2007); a run has no fallback, so the callers wait instead of failing.

    Args:
        max_outage_s: Longest time to wait for an endpoint that is down.
        open_after: Failures in a row that open it.
    """

    def __init__(self, max_outage_s: float, open_after: int = OPEN_AFTER) -> None:
        self._max_outage_s = max_outage_s
        self._open_after = open_after
        self._in_a_row = 0
        self._down_since: float | None = None
        self._next_probe_at = 0.0
        self._pause_s = FIRST_WAIT_S
        self._probe: object | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests are held back, but for a probe."""
        return self._down_since is not None

    def down_s(self, now: float) -> float:
        """Seconds since the first of the failures that opened it; 0 when it is closed."""
        return 0.0 if self._down_since is None else now - self._down_since

    def exhausted(self, now: float) -> bool:
        """Whether it has been open for too long."""
        return self.down_s(now) >= self._max_outage_s

    def wait_s(self, now: float) -> float:
        """Seconds until a request may go out."""
        return 0.0 if self._down_since is None else max(0.0, self._next_probe_at - now)

    def sent(self, request: object, now: float) -> None:
        """A request goes out; while the breaker is open it is the probe."""
        if self._down_since is not None:
            self._probe = request
            self._next_probe_at = now + PATIENCE_S

    def answered(self) -> None:
        """The endpoint gave an answer, of whatever kind."""
        self._in_a_row = 0
        self._down_since = self._probe = None
        self._pause_s = FIRST_WAIT_S

    def failed(self, request: object, now: float) -> None:
        """The endpoint gave none, or said that it cannot."""
        self._in_a_row += 1
        if self._down_since is None:
            if self._in_a_row >= self._open_after:
                self._down_since = now
                self._next_probe_at = now + self._pause_s
        elif request == self._probe:  # those that were under way when it opened say nothing new
            self._probe = None
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._next_probe_at = now + self._pause_s

    def lost(self, request: object, now: float) -> None:
        """A request ended and nobody knows how: if it was the probe, another goes."""
        if request == self._probe:
            self._probe = None
            self._next_probe_at = now

"""Circuit breaker: stops sending to an endpoint that is down, probes it, and gives up after a maximum outage."""

from __future__ import annotations

OPEN_AFTER = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
PROBE_LOST_AFTER_S = 60.0
"""A probe without a result for this long may hang, so another one is sent."""


class CircuitBreaker:
    """Circuit breaker (M. Nygard, *Release It!*, 2007); the caller passes the times.

    *Closed*: all requests are sent. A number of failures in a row *opens* it: nothing is sent for one second, then one
    probe (*half open*), after 1, 2, 4, ... and at most 30 s. Any answer closes it. After ``max_outage_s`` in the open
    state it is *exhausted*, for good. A run has no fallback, so callers wait instead of failing.

    Args:
        max_outage_s: Maximum time to wait for an endpoint that is down (s).
        open_after: Failures in a row that open it.
    """

    def __init__(self, max_outage_s: float, open_after: int = OPEN_AFTER) -> None:
        self._max_outage_s = max_outage_s
        self._open_after = open_after
        self._in_a_row = 0
        self._down_since: float | None = None
        self._next_probe_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._probe: object | None = None

    @property
    def is_open(self) -> bool:
        """Whether only probes are sent."""
        return self._down_since is not None

    def down_s(self, now: float) -> float:
        """Seconds since it opened; 0 if it is closed."""
        return 0.0 if self._down_since is None else now - self._down_since

    def exhausted(self, now: float) -> bool:
        """Whether it has been open for ``max_outage_s``."""
        return self.down_s(now) >= self._max_outage_s

    def wait_s(self, now: float) -> float:
        """Seconds until a request may be sent."""
        return 0.0 if self._down_since is None else max(0.0, self._next_probe_at - now)

    def sent(self, request: object, now: float) -> None:
        """Note that a request is sent; while the breaker is open it is the probe."""
        if self._down_since is not None:
            self._probe = request
            self._next_probe_at = now + PROBE_LOST_AFTER_S

    def answered(self) -> None:
        """Note an answer of any kind: the breaker closes."""
        self._in_a_row = 0
        self._down_since = self._probe = None
        self._pause_s = FIRST_PAUSE_S

    def failed(self, request: object, now: float) -> None:
        """Note a failure that counts against the endpoint."""
        self._in_a_row += 1
        if self._down_since is None:
            if self._in_a_row >= self._open_after:
                self._down_since = now
                self._next_probe_at = now + self._pause_s
        elif request == self._probe:  # other failures are of requests sent before it opened
            self._probe = None
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._next_probe_at = now + self._pause_s

    def lost(self, request: object, now: float) -> None:
        """Note a request whose outcome is unknown; if it was the probe, another one may be sent."""
        if request == self._probe:
            self._probe = None
            self._next_probe_at = now

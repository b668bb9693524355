"""Adaptive concurrency limit: how many requests an endpoint can handle in flight (AIMD)."""

from __future__ import annotations

import math

START = 8
"""Initial limit."""
TOLERATED = 0.2
"""Share of refused requests above which the limit falls."""
MEMORY = 64
"""Minimum number of outcomes over which that share is taken. Over 32 of them a refusal rate of 10 % passes 20 % by
chance, and a small limit then stays small; a server that refuses everything is still detected after 15."""
QUEUE = 0.85
"""If latency grows with this power of the requests in flight, or a higher one, additional requests only queue."""
SAMPLES = 12
"""Minimum number of replies at both levels of a comparison."""
PREFILL = 20
"""Prompt tokens that take about as long as one reply token."""


class _Level:
    """Latency per unit of work of one stage at one level of concurrency: moving averages over recent replies."""

    __slots__ = ("in_flight", "samples", "seconds")

    def __init__(self) -> None:
        self.samples = 0
        self.seconds = 0.0
        self.in_flight = 0.0

    def add(self, seconds: float, in_flight: int) -> None:
        self.samples += 1
        weight = 1 / min(self.samples, 4 * SAMPLES)
        self.seconds += weight * (seconds - self.seconds)
        self.in_flight += weight * (in_flight - self.in_flight)


class AdaptiveConcurrency:
    """Additive increase, multiplicative decrease, up to a cap; the caller passes the times.

    *Increase*: by one for each reply at first (doubles each round trip: TCP's slow start, Jacobson 1988), and by one
    per round trip after the first decrease. Only replies that arrive while the limit is nearly used count.

    *Decrease by refusals* (429, 503, 529, timeout): if more than `TOLERATED` of the last requests were refused, the
    limit falls by half of that share, once per round trip. TCP falls for each loss, and would hold 256 requests to 4 at
    a constant refusal rate of 10 % (its square-root law); the proportion is DCTCP's (Alizadeh 2010).

    *Decrease by latency*: a server with a queue, such as vLLM, never refuses. TCP Vegas and Netflix's Gradient2 compare
    with the lowest latency seen, but a batching server has a higher latency and yet a higher throughput. So this
    compares latency at the current concurrency with that at about a quarter of it: in a mere queue it grows in
    proportion (a power of 1, Little's law), and from the power `QUEUE` on the limit falls by a quarter. Only replies of
    one stage are compared, per token of work, as prompts differ. This settles at up to four times what the server
    works on at once, so it is a coarse measure. Caps below 32 skip this check.

    Args:
        most: The cap.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(min(START, most))
        self._slow_start = True
        self._refused = 0.0
        self._calm_after = -math.inf  # requests sent before the last decrease cause no further one
        self._levels: dict[tuple[str, int], _Level] = {}

    @property
    def limit(self) -> int:
        """Maximum number of requests in flight now."""
        return max(1, int(self._limit))

    def replied(
        self, now: float, *, sent_at: float, in_flight: int, stage: str = "", tokens_in: int = 0, tokens_out: int = 0
    ) -> None:
        """Count a reply.

        Args:
            now: The time (s).
            sent_at: When the request was sent (s).
            in_flight: Requests in flight when it was sent, including itself.
            stage: Stage of the request.
            tokens_in: Prompt tokens.
            tokens_out: Reply tokens.
        """
        self._note(0.0)
        work = 20 + tokens_out + tokens_in / PREFILL
        level = self._levels.setdefault((stage, in_flight.bit_length()), _Level())
        level.add((now - sent_at) / work, in_flight)
        if in_flight < self._limit / 2:
            return  # concurrency is not limited by the limit now
        if _is_queue(level, self._levels.get((stage, in_flight.bit_length() - 2))):
            self._fall(0.75, now, sent_at)
        elif sent_at >= self._calm_after:
            self._limit = min(self._most, self._limit + (1.0 if self._slow_start else 1.0 / self._limit))

    def refused(self, now: float, *, sent_at: float) -> None:
        """Count a request that was refused as one too many, or timed out."""
        self._note(1.0)
        if self._refused > TOLERATED:
            self._fall(1 - self._refused / 2, now, sent_at)

    def _note(self, refused: float) -> None:
        self._refused += (refused - self._refused) / max(MEMORY, 2 * self._limit)

    def _fall(self, factor: float, now: float, sent_at: float) -> None:
        if sent_at < self._calm_after:
            return
        self._limit = max(1.0, self._limit * factor)
        self._slow_start = False
        self._calm_after = now


def _is_queue(here: _Level, before: _Level | None) -> bool:
    """Whether latency has grown almost in proportion to the number in flight."""
    if before is None or min(here.samples, before.samples) < SAMPLES or min(here.seconds, before.seconds) <= 0:
        return False
    power = math.log(here.seconds / before.seconds) / math.log(here.in_flight / before.in_flight)
    return power >= QUEUE

"""How many requests at once an endpoint takes well."""

from __future__ import annotations

import math

START = 8
"""Requests at once to begin with."""
TOLERATED = 0.2
"""Share of requests that may be turned away before fewer go out at once."""
MEMORY = 64
"""Outcomes over which that share is taken, at least. Over 32 of them one in ten passes one in five by chance, and the
limit, once small, stays so; a server that refuses all is still noticed after 14."""
QUEUE = 0.85
"""Latency that grows with this power of the requests in flight, or a higher one: they only wait for each other."""
SAMPLES = 12
"""Replies that a comparison needs on either side."""
PREFILL = 20
"""Prompt tokens that take about as long as one token of the reply."""


class _Level:
    """How long a unit of work takes one stage while so many are in flight: moving averages over recent replies."""

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
    """Additive increase, multiplicative decrease, under a cap; times are handed in.

    *Up*: one more for every reply at first (doubling in a round trip, TCP's slow start, Jacobson 1988), and one more
    for each whole round after the first decrease. Only replies that came while the limit was nearly used count.

    *Down* by refusals (429, 503, 529, no reply in time): where more than `TOLERATED` of the last requests were refused,
    the limit falls by half of that share, once a round. TCP falls for every loss and would hold 256 requests to 4 where
    one in ten is refused for reasons of its own (its square-root law); the proportion is DCTCP's (Alizadeh 2010).

    *Down* by latency: a server with a queue, such as vLLM, never refuses. TCP Vegas and Netflix's Gradient2 compare
    with the best latency seen, but a server that batches is slower then and yet does more. So it is asked how latency
    grows with the number in flight, from about a quarter of them to now: in a mere queue it is proportional (a power of
    1, Little's law), and from `QUEUE` on the limit falls by a quarter. What is compared is of one stage, and per token
    of work, as prompts differ; it is a ramp to four times what the server works on at once, not a fine measure. Caps
    below 32 are not looked at in this way.

    Args:
        most: The cap.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(min(START, most))
        self._slow_start = True
        self._refused = 0.0
        self._calm_after = -math.inf  # outcomes of requests sent before the last decrease call for no other one
        self._levels: dict[tuple[str, int], _Level] = {}

    @property
    def limit(self) -> int:
        """Most requests at once now."""
        return max(1, int(self._limit))

    def replied(
        self, now: float, *, sent_at: float, in_flight: int, stage: str = "", tokens_in: int = 0, tokens_out: int = 0
    ) -> None:
        """A request was answered.

        Args:
            now: The time.
            sent_at: When it went out.
            in_flight: Requests under way when it went out, itself included.
            stage: Who asked.
            tokens_in: Tokens of its prompt.
            tokens_out: Tokens of the reply.
        """
        self._note(0.0)
        work = 20 + tokens_out + tokens_in / PREFILL
        level = self._levels.setdefault((stage, in_flight.bit_length()), _Level())
        level.add((now - sent_at) / work, in_flight)
        if in_flight < self._limit / 2:
            return  # the limit is not what holds the traffic back
        if _is_queue(level, self._levels.get((stage, in_flight.bit_length() - 2))):
            self._fall(0.75, now, sent_at)
        elif sent_at >= self._calm_after:
            self._limit = min(self._most, self._limit + (1.0 if self._slow_start else 1.0 / self._limit))

    def refused(self, now: float, *, sent_at: float) -> None:
        """A request was turned away for there being too many, or was not answered in time."""
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
    """Whether latency has grown nearly as much as the number in flight."""
    if before is None or min(here.samples, before.samples) < SAMPLES or min(here.seconds, before.seconds) <= 0:
        return False
    power = math.log(here.seconds / before.seconds) / math.log(here.in_flight / before.in_flight)
    return power >= QUEUE

"""Rate limiter of one endpoint and key: a pure algorithm with an injected clock."""

from __future__ import annotations

import copy
import math
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lvqa_ray.errors import EndpointDown, StopRun
from lvqa_ray.llm.ratelimit.adaptive_concurrency import AdaptiveConcurrency
from lvqa_ray.llm.ratelimit.circuit_breaker import CircuitBreaker
from lvqa_ray.llm.ratelimit.daily_quota import DailyQuota
from lvqa_ray.llm.ratelimit.limits import LONGEST_HOLD_S, Limits, SendLease
from lvqa_ray.llm.ratelimit.outcome import FailureScope, RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.rejections import Rejections
from lvqa_ray.llm.ratelimit.sliding_window import SLACK_S, WINDOW_S, SlidingWindow, WindowEntry

HOLDER_TTL_S = 20.0
"""Time to live of a holder without a heartbeat; then its leases expire (s)."""
LEASE_HEARTBEAT_S = 5.0
"""Interval at which a holder reports its leases (s)."""
REUSE_S = 1.0
"""How long a holder may reuse a lease for further requests before it has to queue again (s)."""
HANDOVER_S = LEASE_HEARTBEAT_S + 2.0
"""How long a restarted limiter waits for the heartbeats that report the leases in use (s)."""

_FULL = (
    "The endpoint's tier has had no capacity for {:.0f} s; a later run goes on from here. Set fallback_after_min to "
    "send such requests on the standard tier, or a longer max_outage_s."
)


def _never(_: str) -> bool:
    return False


@dataclass(slots=True)
class _ActiveLease:
    """A lease in use: its holder, when it was granted, and its entries in the sliding windows."""

    holder: str
    at: float
    in_flight: int
    entries: tuple[WindowEntry, ...]


class Limiter:
    """Grants leases so that no limit is exceeded, in any window of a minute.

    It never sleeps and knows no event loop: it returns how long to wait, and the caller waits. Estimated tokens are
    reserved when a lease is granted and corrected on release. Leases belong to a holder and expire `HOLDER_TTL_S` after
    its last heartbeat, however long their requests take.

    A restarted limiter does not know what was sent: it takes its windows as full (a pause of up to a minute if there
    are limits per minute), and grants nothing for `HANDOVER_S`, in which holders report their leases. The daily count
    is in a file, see `DailyQuota`.

    Args:
        limits: The limits.
        clock: Monotonic time (s).
        window_s: Length of the sliding windows (s).
        day: The daily quota; ``None`` for one in memory.
        took_over: Whether an earlier limiter granted leases that may still be in use.
        is_stopped: Whether a holder without a heartbeat is a stopped process that may continue; its leases stay, since
            the endpoint still works on its requests.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        *,
        window_s: float = WINDOW_S + SLACK_S,
        day: DailyQuota | None = None,
        took_over: bool = False,
        is_stopped: Callable[[str], bool] = _never,
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._is_stopped = is_stopped
        self._requests = SlidingWindow(limits.requests_per_minute, window_s)
        self._tokens = SlidingWindow(limits.tokens_per_minute, window_s)
        self._input = SlidingWindow(limits.input_tokens_per_minute, window_s)
        self._output = SlidingWindow(limits.output_tokens_per_minute, window_s)
        self._day = day or DailyQuota(limits.requests_per_day)
        self._concurrency = AdaptiveConcurrency(limits.max_concurrency)
        self._breaker = CircuitBreaker(limits.max_outage_s, limits.open_after)
        self._active: dict[str, _ActiveLease] = {}
        self._last_seen: dict[str, float] = {}  # time of each holder's last heartbeat or call
        self._held_until = -math.inf
        self._full_since: float | None = None  # when the tier refused a request first, since the last answer
        self._stop: StopRun | None = None
        self._rejections = Rejections(limits.max_rejections)
        self._name = uuid.uuid4().hex[:8]
        self._given = 0
        if took_over:
            now = clock()
            self._held_until = now + HANDOVER_S
            for window in (self._requests, self._tokens, self._input, self._output):
                window.fill(now)

    @property
    def in_flight(self) -> int:
        """Leases in use."""
        self._expire_dead_holders(self._clock())
        return len(self._active)

    @property
    def most_in_flight(self) -> int:
        """Maximum number of leases in use now."""
        return self._concurrency.limit

    @property
    def halted(self) -> StopRun | None:
        """Why the limiter has stopped for good; ``None`` if it has not."""
        return self._stop

    @property
    def proven(self) -> frozenset[str]:
        """Stages that the endpoint has answered."""
        return self._rejections.proven

    @property
    def down_s(self) -> float:
        """How long the circuit breaker has been open (s); 0 if it is closed."""
        return self._breaker.down_s(self._clock())

    @property
    def room(self) -> int:
        """Leases that concurrency and requests per minute allow now."""
        now = self._clock()
        return int(min(self._concurrency.limit - self.in_flight, self._requests.room(now)))

    def acquire(self, estimate: TokenEstimate, holder: str = "") -> SendLease | float:
        """A lease, or the seconds until the next try.

        Leases and probes may become free earlier, on any `release`: try again then.

        Args:
            estimate: Estimated tokens of the request and its reply.
            holder: Name of the holder.

        Raises:
            StopRun: No request can succeed any more, or the endpoint has been down for too long.
        """
        now = self._clock()
        self._expire_dead_holders(now)
        self._last_seen[holder] = now
        if self._stop is None and self._breaker.exhausted(now):
            down_s = self.limits.max_outage_s
            self._stop = EndpointDown(f"The endpoint has been down for {down_s:.0f} s; a later run goes on from here.")
        if self._stop is not None:
            raise copy.copy(self._stop)  # a copy, since each raise extends the traceback
        wait_s = max(
            self._held_until - now,
            self._concurrency_wait_s(now),
            self._breaker.wait_s(now),
            self._requests.wait_s(now, 1),
            self._tokens.wait_s(now, estimate.total),
            self._input.wait_s(now, estimate.input),
            self._output.wait_s(now, estimate.output),
        )
        if wait_s > 0:
            return wait_s
        try:
            wait_s = self._day.take()
        except StopRun as stop:
            self.halt(stop)
            raise
        if wait_s > 0:
            return wait_s
        entries = (
            self._requests.add(now, 1),
            self._tokens.add(now, estimate.total),
            self._input.add(now, estimate.input),
            self._output.add(now, estimate.output),
        )
        self._given += 1
        lease = SendLease(f"{self._name}-{self._given}", estimate, REUSE_S if self.limits.only_places else 0.0)
        self._active[lease.id] = _ActiveLease(holder, now, len(self._active) + 1, entries)
        self._breaker.sent(lease.id, now)
        return lease

    def release(self, lease: SendLease, done: RequestOutcome) -> None:
        """Release a lease, or report a request under it that keeps it. Safe to repeat, and for expired leases.

        Args:
            lease: The lease.
            done: Outcome of its request.
        """
        now = self._clock()
        active = self._active.get(lease.id) if done.keeps_place else self._active.pop(lease.id, None)
        if active is not None:
            self._last_seen[active.holder] = now
            self._settle_usage(active, done, now)
        self._update_controllers(lease, active, done, now)

    def heartbeat(self, holder: str, held: Iterable[SendLease]) -> None:
        """Record a heartbeat of a holder with its leases: all that are older than one interval, and perhaps newer ones.

        Unknown leases, of an earlier limiter or expired too early, are adopted; leases that the holder no longer has
        are dropped.
        """
        now = self._clock()
        self._last_seen[holder] = now
        held = list(held)
        for lease in held:
            if lease.id not in self._active:
                self._active[lease.id] = _ActiveLease(holder, now, len(self._active) + 1, ())
        names = {lease.id for lease in held}
        for name, active in list(self._active.items()):
            if active.holder == holder and name not in names and active.at + 2 * LEASE_HEARTBEAT_S < now:
                self._forget_lease(name, now)

    def woken(self) -> None:
        """Restart the TTL of all holders: the limiter's own process was stopped and received no heartbeats."""
        now = self._clock()
        self._last_seen = dict.fromkeys(self._last_seen, now)

    def halt(self, stop: StopRun) -> None:
        """Stop for good, for a reason found elsewhere, such as a journal that cannot be written."""
        self._stop = self._stop or copy.copy(stop)  # a copy without traceback, which would keep the request alive

    def penalise(self, retry_after_s: float) -> None:
        """Pause all requests for ``retry_after_s`` from now, at most `LONGEST_HOLD_S`."""
        self._held_until = max(self._held_until, self._clock() + min(retry_after_s, LONGEST_HOLD_S))

    def held_s(self) -> float:
        """Seconds for which no request is sent; 0 if one may be."""
        now = self._clock()
        return max(0.0, self._held_until - now, self._breaker.wait_s(now))

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker is open."""
        return self._breaker.is_open

    def _settle_usage(self, active: _ActiveLease, done: RequestOutcome, now: float) -> None:
        if not active.entries:
            return
        requests, tokens, input_, output = active.entries
        if done.failed is FailureScope.NOT_SENT:
            self._requests.correct(requests, now, 0)
            self._day.give_back(now - active.at)
        if done.used is not None:
            self._tokens.correct(tokens, now, done.used.total)
            self._input.correct(input_, now, done.used.input)
            self._output.correct(output, now, done.used.output)

    def _update_controllers(
        self, lease: SendLease, active: _ActiveLease | None, done: RequestOutcome, now: float
    ) -> None:
        sent_at = now - done.seconds
        match done.failed:
            case None:
                self._full_since = None
                self._breaker.answered()
                self._concurrency.replied(
                    now,
                    sent_at=sent_at,
                    in_flight=active.in_flight if active else 1,
                    stage=done.stage,
                    tokens_in=done.used.input if done.used else 0,
                    tokens_out=done.used.output if done.used else 0,
                )
            case FailureScope.OVERLOAD | FailureScope.DOWN:
                self._breaker.failed(lease.id, now)
                if done.failed is FailureScope.OVERLOAD:
                    self._concurrency.refused(now, sent_at=sent_at)
            case FailureScope.FULL:
                self._breaker.answered()
                self._full_since = now if self._full_since is None else self._full_since
                most_s = math.inf if self.limits.max_full_s is None else self.limits.max_full_s
                if now - self._full_since >= most_s:
                    self.halt(EndpointDown(_FULL.format(most_s)))
            case FailureScope.REQUEST:
                self._breaker.answered()
            case FailureScope.NOT_SENT | FailureScope.UNKNOWN:
                self._breaker.lost(lease.id, now)
        if (stop := self._rejections.note(done)) is not None:
            self.halt(stop)
        if done.wait_s is not None:
            self.penalise(done.wait_s)

    def _expire_dead_holders(self, now: float) -> None:
        for holder in [name for name, at in self._last_seen.items() if at + HOLDER_TTL_S <= now]:
            if self._is_stopped(holder):  # after it continues, it has a full TTL for its next heartbeat
                self._last_seen[holder] = now
                continue
            del self._last_seen[holder]
            for name in [name for name, active in self._active.items() if active.holder == holder]:
                self._forget_lease(name, now)

    def _forget_lease(self, name: str, now: float) -> None:
        del self._active[name]
        self._breaker.lost(name, now)

    def _concurrency_wait_s(self, now: float) -> float:
        if len(self._active) < self._concurrency.limit:
            return 0.0
        first = min((self._last_seen.get(active.holder, now) for active in self._active.values()), default=now)
        return max(1e-3, first + HOLDER_TTL_S - now)

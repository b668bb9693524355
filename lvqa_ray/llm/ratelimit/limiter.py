"""How many calls may go out, and when: a pure algorithm with an injected clock."""

from __future__ import annotations

import copy
import math
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lvqa_ray.errors import EndpointDown, StopRun
from lvqa_ray.llm.middleware.retry import LONGEST_WAIT_S
from lvqa_ray.llm.ratelimit.adaptive_concurrency import AdaptiveConcurrency
from lvqa_ray.llm.ratelimit.circuit_breaker import CircuitBreaker
from lvqa_ray.llm.ratelimit.daily_quota import DailyQuota
from lvqa_ray.llm.ratelimit.limits import Limits, SendLease
from lvqa_ray.llm.ratelimit.outcome import FailureScope, RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.rejections import Rejections
from lvqa_ray.llm.ratelimit.sliding_window import SLACK_S, WINDOW_S, SlidingWindow, WindowEntry

HOLDER_TTL_S = 20.0
"""A holder of leases that is not heard of for this long is dead, and its places are used again."""
BEAT_S = 5.0
"""How often a holder says which leases it has."""
REUSE_S = 1.0
"""How long a holder may use a place for one request after another before it has to queue for it again."""
HANDOVER_S = BEAT_S + 2.0
"""How long a limiter that takes over from a dead one waits to hear which leases are out."""


def _never(_: str) -> bool:
    return False


@dataclass(slots=True)
class _Out:
    """A lease that is out: whose it is, when it was given, and what it took of each window."""

    holder: str
    at: float
    in_flight: int
    entries: tuple[WindowEntry, ...]


class Limiter:
    """Gives leases so that no limit is passed, in any window of a minute, however the window is laid.

    It never sleeps and knows no event loop: it says how long to wait, and the caller waits. What a request is believed
    to take is set aside when its lease is given, and put right when it is given back. Leases belong to a holder; those
    of one that is not heard of for `HOLDER_TTL_S` are dropped, however long their requests may take.

    A limiter that takes over from one that died does not know what went out: it takes its windows for full (so there is
    a pause of up to a minute where there are limits by the minute) and gives nothing for `HANDOVER_S`, in which holders
    say what they have. The day's count is kept in a file, see `DailyQuota`.

    Args:
        limits: What holds.
        clock: The time in seconds, never running backwards.
        window_s: Length of the windows.
        day: The requests of the day; ``None`` for one that is kept in memory only.
        took_over: Whether an earlier limiter gave leases that may still be out.
        is_stopped: Tells of a holder that is not heard of whether its process was stopped and may go on: its leases
            stay, as the endpoint works on its requests.
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
        self._out: dict[str, _Out] = {}
        self._heard: dict[str, float] = {}  # when each holder was last heard of
        self._held_until = -math.inf
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
        """Leases that are out."""
        self._expire_dead_holders(self._clock())
        return len(self._out)

    @property
    def most_in_flight(self) -> int:
        """Leases that may be out at once now."""
        return self._concurrency.limit

    @property
    def halted(self) -> StopRun | None:
        """Why no more calls go out, if that is so."""
        return self._stop

    @property
    def proven(self) -> frozenset[str]:
        """The stages that the endpoint has ever answered."""
        return self._rejections.proven

    @property
    def down_s(self) -> float:
        """For how long the endpoint has been down; 0 if it is up."""
        return self._breaker.down_s(self._clock())

    @property
    def room(self) -> int:
        """Leases that could be given now, as far as places and requests go."""
        now = self._clock()
        return int(min(self._concurrency.limit - self.in_flight, self._requests.room(now)))

    def acquire(self, estimate: TokenEstimate, holder: str = "") -> SendLease | float:
        """A lease, or the seconds after which to ask again.

        A wait for a place in flight or for a probe may end sooner, whenever a lease is given back: ask again then.

        Args:
            estimate: What the request and its reply are believed to take.
            holder: Who asks.

        Raises:
            StopRun: An earlier call found that none can succeed, or the endpoint has been down for too long.
        """
        now = self._clock()
        self._expire_dead_holders(now)
        self._heard[holder] = now
        if self._stop is None and self._breaker.exhausted(now):
            down_s = self.limits.max_outage_s
            self._stop = EndpointDown(f"The endpoint has been down for {down_s:.0f} s; a later run goes on from here.")
        if self._stop is not None:
            raise copy.copy(self._stop)  # a new one, as each raise adds to the traceback of the one it raises
        wait_s = max(
            self._held_until - now,
            self._place_s(now),
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
        self._out[lease.id] = _Out(holder, now, len(self._out) + 1, entries)
        self._breaker.sent(lease.id, now)
        return lease

    def release(self, lease: SendLease, done: RequestOutcome) -> None:
        """Give a lease back, or say how a request under it ended; twice, or for one that is dropped, does no harm.

        Args:
            lease: What `acquire` gave.
            done: What became of the request.
        """
        now = self._clock()
        out = self._out.get(lease.id) if done.keeps_place else self._out.pop(lease.id, None)
        if out is not None:
            self._heard[out.holder] = now
            self._settle_usage(out, done, now)
        self._update_controllers(lease, out, done, now)

    def heartbeat(self, holder: str, held: Iterable[SendLease]) -> None:
        """A holder says which leases it has: all that are older than a beat, and perhaps newer ones.

        Leases that are not known, from a limiter before this one or dropped too early, are taken up; those that the
        holder no longer has are dropped.
        """
        now = self._clock()
        self._heard[holder] = now
        held = list(held)
        for lease in held:
            if lease.id not in self._out:
                self._out[lease.id] = _Out(holder, now, len(self._out) + 1, ())
        names = {lease.id for lease in held}
        for name, out in list(self._out.items()):
            if out.holder == holder and name not in names and out.at + 2 * BEAT_S < now:
                self._forget_lease(name, now)

    def woken(self) -> None:
        """Give all holders as long again to be heard of: the process of the limiter was stopped and heard of nobody."""
        now = self._clock()
        self._heard = dict.fromkeys(self._heard, now)

    def halt(self, stop: StopRun) -> None:
        """Give no more leases: a reason that was found elsewhere, such as a journal that cannot be written."""
        self._stop = self._stop or copy.copy(stop)  # the copy holds no traceback, and with it no request

    def penalise(self, retry_after_s: float) -> None:
        """Hold everyone for so many seconds from now, and at most for `LONGEST_WAIT_S`."""
        self._held_until = max(self._held_until, self._clock() + min(retry_after_s, LONGEST_WAIT_S))

    def held_s(self) -> float:
        """Seconds for which nothing goes out, whoever asks; 0 if something may."""
        now = self._clock()
        return max(0.0, self._held_until - now, self._breaker.wait_s(now))

    @property
    def is_open(self) -> bool:
        """Whether the endpoint is taken to be down."""
        return self._breaker.is_open

    def _settle_usage(self, out: _Out, done: RequestOutcome, now: float) -> None:
        if not out.entries:
            return
        requests, tokens, input_, output = out.entries
        if done.failed is FailureScope.NOT_SENT:
            self._requests.correct(requests, now, 0)
            self._day.give_back(now - out.at)
        if done.used is not None:
            self._tokens.correct(tokens, now, done.used.total)
            self._input.correct(input_, now, done.used.input)
            self._output.correct(output, now, done.used.output)

    def _update_controllers(self, lease: SendLease, out: _Out | None, done: RequestOutcome, now: float) -> None:
        sent_at = now - done.seconds
        match done.failed:
            case None:
                self._breaker.answered()
                self._concurrency.replied(
                    now,
                    sent_at=sent_at,
                    in_flight=out.in_flight if out else 1,
                    stage=done.stage,
                    tokens_in=done.used.input if done.used else 0,
                    tokens_out=done.used.output if done.used else 0,
                )
            case FailureScope.OVERLOAD | FailureScope.DOWN:
                self._breaker.failed(lease.id, now)
                if done.failed is FailureScope.OVERLOAD:
                    self._concurrency.refused(now, sent_at=sent_at)
            case FailureScope.REQUEST:
                self._breaker.answered()
            case FailureScope.NOT_SENT | FailureScope.UNKNOWN:
                self._breaker.lost(lease.id, now)
        if (stop := self._rejections.note(done)) is not None:
            self.halt(stop)
        if done.wait_s is not None:
            self.penalise(done.wait_s)

    def _expire_dead_holders(self, now: float) -> None:
        for holder in [name for name, at in self._heard.items() if at + HOLDER_TTL_S <= now]:
            if self._is_stopped(holder):  # continued, it has as long again to be heard of
                self._heard[holder] = now
                continue
            del self._heard[holder]
            for name in [name for name, out in self._out.items() if out.holder == holder]:
                self._forget_lease(name, now)

    def _forget_lease(self, name: str, now: float) -> None:
        del self._out[name]
        self._breaker.lost(name, now)

    def _place_s(self, now: float) -> float:
        if len(self._out) < self._concurrency.limit:
            return 0.0
        first = min((self._heard.get(out.holder, now) for out in self._out.values()), default=now)
        return max(1e-3, first + HOLDER_TTL_S - now)

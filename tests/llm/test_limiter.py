"""Never over a limit in any window, no permit lost, no one starved, and a stop that stops everyone."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from lvqa_ray import errors
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.retry import LONGEST_WAIT_S
from lvqa_ray.llm.ratelimit.limiter import BEAT_S, HANDOVER_S, HOLDER_TTL_S, Limiter
from lvqa_ray.llm.ratelimit.limits import Limits, SendLease
from lvqa_ray.llm.ratelimit.outcome import FailureScope, RequestOutcome, TokenEstimate
from lvqa_ray.llm.ratelimit.sliding_window import SLACK_S, WINDOW_S

OK = RequestOutcome()
DOWN = RequestOutcome(failed=FailureScope.DOWN)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease_of(limiter: Limiter, tokens: int = 1, holder: str = "h") -> SendLease:
    answer = limiter.acquire(TokenEstimate(tokens), holder)
    assert isinstance(answer, SendLease), f"to wait {answer} s"
    return answer


def wait_of(limiter: Limiter, tokens: int = 1) -> float:
    answer = limiter.acquire(TokenEstimate(tokens), "h")
    assert isinstance(answer, float), "not to wait"
    assert answer > 0
    return answer


SECONDS = st.integers(1, 560).map(lambda eighths: eighths / 8)  # exact as floats, and quick to shrink
TOKENS = st.sampled_from([0, 0, 0, 1, 300, 1000, 1500])  # small ones let the limit on requests be the tighter one
CONCURRENCY, RPM, TPM, IN_TPM, OUT_TPM = 4, 7, 1000, 900, 400
LIMITS = Limits(CONCURRENCY, RPM, TPM, IN_TPM, OUT_TPM, max_outage_s=1e9)
HOLDERS = st.sampled_from(["a", "b"])


class LimiterMachine(RuleBasedStateMachine):
    """Any mix of asking, giving back unused and used, failing, dying and waiting."""

    leases: Bundle[tuple[SendLease, int]] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.limiter = Limiter(LIMITS, self.clock)
        self.sent: list[
            tuple[float, TokenEstimate] | None
        ] = []  # when, and what it takes; None for one that was not sent
        self.out: dict[str, str] = {}  # leases that are out, and whose they are
        self.heard = {"a": self.clock.now, "b": self.clock.now}

    @rule(target=leases, holder=HOLDERS, tokens_in=TOKENS, tokens_out=TOKENS)
    def acquire(self, holder: str, tokens_in: int, tokens_out: int) -> tuple[SendLease, int]:
        for _ in range(40):  # several limits may be in the way, one after the other; then there is room: no one starves
            answer = self.limiter.acquire(TokenEstimate(tokens_in, tokens_out), holder)
            self.heard[holder] = self.clock.now
            if isinstance(answer, SendLease):
                self.sent.append((self.clock.now, answer.estimate))
                self.out[answer.id] = holder
                return answer, len(self.sent) - 1
            assert 0 < answer <= max(LONGEST_WAIT_S, HOLDER_TTL_S, WINDOW_S + SLACK_S)
            self.wait(answer)
        raise AssertionError("starved")

    @rule(
        taken=consumes(leases),
        used=st.sampled_from([None, 0.0, 0.5, 1.0]),
        failed=st.sampled_from([None, None, None, *FailureScope]),
    )
    def release(self, taken: tuple[SendLease, int], used: float | None, failed: FailureScope | None) -> None:
        lease, number = taken
        true = (
            None if used is None else TokenEstimate(int(lease.estimate.input * used), int(lease.estimate.output * used))
        )
        done = RequestOutcome(used=true, failed=failed)
        if lease.id in self.out:
            self.heard[self.out.pop(lease.id)] = self.clock.now
            entry = self.sent[number]
            assert entry is not None
            self.sent[number] = None if failed is FailureScope.NOT_SENT else (entry[0], true or entry[1])
        self.limiter.release(lease, done)
        self.limiter.release(lease, OK)  # twice does no harm

    @rule(holder=HOLDERS, forgets=st.booleans())
    def beat(self, holder: str, forgets: bool) -> None:
        """A holder says what it has; one that was started anew has nothing."""
        names = [name for name, owner in self.out.items() if owner == holder]
        if forgets:
            self.wait(2 * BEAT_S + 1)
            names = []
            self.out = {name: owner for name, owner in self.out.items() if owner != holder}
        self.limiter.heartbeat(holder, [SendLease(name, TokenEstimate()) for name in names])
        self.heard[holder] = self.clock.now

    @rule(_=consumes(leases))
    def lose(self, _: object) -> None:
        """A worker that never gives its lease back."""

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.out = {
            name: owner for name, owner in self.out.items() if self.heard[owner] + HOLDER_TTL_S > self.clock.now
        }

    @rule(seconds=SECONDS.map(lambda seconds: seconds * 6))
    def penalise(self, seconds: float) -> None:
        self.limiter.penalise(seconds)
        assert isinstance(self.limiter.acquire(TokenEstimate(), "a"), float)
        self.heard["a"] = self.clock.now

    @invariant()
    def never_over_the_limits(self) -> None:
        # Whatever window has just become too full holds the latest request, so looking back from there is enough.
        window = [sent[1] for sent in self.sent if sent is not None and sent[0] > self.clock.now - WINDOW_S]
        assert len(window) <= RPM
        for limit, amounts in (
            (TPM, [estimate.total for estimate in window]),
            (IN_TPM, [estimate.input for estimate in window]),
            (OUT_TPM, [estimate.output for estimate in window]),
        ):
            assert sum(amounts) <= limit or sum(sorted(amounts)[:-1]) == 0, "one larger than the limit goes alone"

    @invariant()
    def no_permit_lost(self) -> None:
        assert self.limiter.in_flight == len(self.out) <= CONCURRENCY


TestLimiter = LimiterMachine.TestCase
TestLimiter.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_a_full_burst_and_then_not_one_more() -> None:
    clock = Clock()
    limiter = Limiter(Limits(1000, 600), clock)
    for _ in range(600):
        limiter.release(lease_of(limiter), OK)
    clock.now += 59.999
    assert wait_of(limiter) == pytest.approx(SLACK_S + 0.001)
    clock.now += SLACK_S + 0.001
    assert lease_of(limiter)


def test_a_bucket_would_let_through_more() -> None:
    """Half of the limit late in one minute and the whole of it early in the next is over the limit in between."""
    clock = Clock()
    limiter = Limiter(Limits(1000, 10), clock)
    sent: list[float] = []
    clock.now += 59
    for _ in range(300):
        while isinstance(answer := limiter.acquire(TokenEstimate()), SendLease):
            limiter.release(answer, OK)
            sent.append(clock.now)
        clock.now += 0.5
    assert max(sum(start <= at < start + 60 for at in sent) for start in sent) == 10


@pytest.mark.parametrize(
    ("limits", "estimate"),
    [
        (Limits(10, tokens_per_minute=1000), TokenEstimate(500, 400)),
        (Limits(10, input_tokens_per_minute=1000), TokenEstimate(900, 9000)),
        (Limits(10, output_tokens_per_minute=1000), TokenEstimate(9000, 900)),
    ],
)
def test_tokens_come_back_when_fewer_were_used(limits: Limits, estimate: TokenEstimate) -> None:
    limiter = Limiter(limits, Clock())
    first = limiter.acquire(estimate)
    assert isinstance(first, SendLease)
    assert limiter.acquire(TokenEstimate(200, 200)) == pytest.approx(WINDOW_S + SLACK_S)
    limiter.release(first, RequestOutcome(used=TokenEstimate(10, 10)))
    second = limiter.acquire(estimate)
    assert isinstance(second, SendLease)
    limiter.release(second, DOWN)  # nobody knows what it used: the estimate stands
    assert isinstance(limiter.acquire(TokenEstimate(200, 200)), float)


def test_what_was_not_sent_does_not_count() -> None:
    limiter = Limiter(Limits(10, requests_per_minute=1, requests_per_day=1), Clock())
    for _ in range(3):
        limiter.release(lease_of(limiter), RequestOutcome(failed=FailureScope.NOT_SENT, used=TokenEstimate()))
    lease_of(limiter)
    assert wait_of(limiter)


def test_a_request_larger_than_the_limit_goes_alone() -> None:
    clock = Clock()
    limiter = Limiter(Limits(10, None, 1000), clock)
    limiter.release(lease_of(limiter, 5000), OK)
    clock.now += wait_of(limiter, 5000)
    assert lease_of(limiter, 5000)


def test_leases_of_the_dead_are_used_again_soon() -> None:
    clock = Clock()
    limiter = Limiter(Limits(2), clock)
    lease_of(limiter, holder="dies")
    alive = lease_of(limiter, holder="lives")
    for _ in range(3):
        clock.now += BEAT_S
        limiter.heartbeat("lives", [alive])
        assert wait_of(limiter)
    clock.now += BEAT_S
    limiter.heartbeat("lives", [alive])
    lease_of(limiter, holder="lives")
    assert limiter.in_flight == 2


def test_one_who_was_only_slow_has_its_leases_again() -> None:
    clock = Clock()
    limiter = Limiter(Limits(2), clock)
    slow = lease_of(limiter, holder="slow")
    clock.now += HOLDER_TTL_S
    assert limiter.in_flight == 0
    limiter.heartbeat("slow", [slow])
    assert limiter.in_flight == 1
    limiter.release(slow, OK)
    assert limiter.in_flight == 0


def test_a_limiter_that_takes_over_assumes_the_worst() -> None:
    """Its windows are full, and it learns which leases are out before it gives one."""
    clock = Clock()
    before = Limiter(Limits(3), clock)
    out = [lease_of(before, holder="a"), lease_of(before, holder="b")]
    after = Limiter(Limits(3), clock, took_over=True)
    assert wait_of(after) == pytest.approx(HANDOVER_S)
    clock.now += BEAT_S
    after.heartbeat("a", out[:1])
    after.heartbeat("b", out[1:])
    clock.now += HANDOVER_S - BEAT_S
    lease_of(after)
    assert wait_of(after)
    assert after.in_flight == 3
    assert wait_of(Limiter(Limits(3, 10), clock, took_over=True)) == pytest.approx(WINDOW_S + SLACK_S)


def test_a_wait_asked_for_holds_everyone() -> None:
    clock = Clock()
    limiter = Limiter(Limits(10), clock)
    limiter.release(lease_of(limiter), RequestOutcome(failed=FailureScope.OVERLOAD, wait_s=20))
    limiter.penalise(5)
    assert wait_of(limiter) == limiter.held_s() == pytest.approx(20)
    limiter.penalise(1e9)
    assert wait_of(limiter) == pytest.approx(LONGEST_WAIT_S)


def test_a_limit_that_is_used_up_holds_everyone_though_the_call_went_well() -> None:
    limiter = Limiter(Limits(10), Clock())
    limiter.release(lease_of(limiter), RequestOutcome(wait_s=6))
    assert wait_of(limiter) == pytest.approx(6)


def test_an_outage_is_waited_for_and_then_given_up() -> None:
    clock = Clock()
    limiter = Limiter(Limits(10, max_outage_s=100), clock)
    for lease in [lease_of(limiter) for _ in range(5)]:
        limiter.release(lease, DOWN)
    assert limiter.is_open
    for wait_s in (1, 2, 4, 8, 16, 30, 30, 30):
        assert wait_of(limiter) == wait_s
        clock.now += wait_s
        if clock.now < 1100:
            limiter.release(lease_of(limiter), DOWN)
    with pytest.raises(errors.EndpointDown, match="down for 100 s"):
        limiter.acquire(TokenEstimate())
    assert isinstance(limiter.halted, errors.StopRun)


def test_an_outage_that_ends_is_forgotten() -> None:
    clock = Clock()
    limiter = Limiter(Limits(10), clock)
    for lease in [lease_of(limiter) for _ in range(5)]:
        limiter.release(lease, DOWN)
    clock.now += wait_of(limiter)
    probe = lease_of(limiter)
    assert wait_of(limiter), "one probe at a time"
    limiter.release(probe, OK)
    assert not limiter.is_open
    lease_of(limiter)


def test_a_stop_is_for_everyone() -> None:
    limiter = Limiter(Limits(10), Clock())
    first = errors.QuotaExceeded("The account is empty.", status=402)
    limiter.release(lease_of(limiter), RequestOutcome(failed=FailureScope.REQUEST, stop=first))
    for _ in range(2):
        with pytest.raises(errors.QuotaExceeded, match="The account is empty") as caught:
            limiter.acquire(TokenEstimate())
        assert caught.value is not first
        assert caught.value.status == 402
    assert limiter.in_flight == 0
    assert isinstance(pickle.loads(pickle.dumps(limiter.halted)), errors.QuotaExceeded)  # noqa: S301 - our own


def test_roles_that_share_a_key_share_the_strictest_limits() -> None:
    def at(**limits: int) -> Endpoint:
        return Endpoint.model_validate({"base_url": "http://127.0.0.1/v1", "model": "m", **limits})

    both = Limits.of(at(max_concurrency=3, requests_per_minute=5), at(max_concurrency=9, tokens_per_minute=7))
    assert both == Limits(3, 5, 7, open_after=5, max_rejections=5)
    assert Limits.of(at(max_attempts=2)).open_after == 2
    assert Limits.of(at(max_attempts=4)).open_after == 3


def test_the_leases_of_a_stopped_holder_stay_until_it_is_gone() -> None:
    clock, stopped = Clock(), {"asleep"}
    limiter = Limiter(Limits(2), clock, is_stopped=stopped.__contains__)
    lease = limiter.acquire(TokenEstimate(1), "asleep")
    assert isinstance(lease, SendLease)
    for _ in range(10):
        clock.now += HOLDER_TTL_S
        assert limiter.in_flight == 1
    stopped.clear()  # continued: it has time to be heard of
    clock.now += HOLDER_TTL_S - 1
    assert limiter.in_flight == 1
    limiter.heartbeat("asleep", [lease])
    clock.now += HOLDER_TTL_S - 1
    assert limiter.in_flight == 1
    clock.now += 1
    assert limiter.in_flight == 0


def test_a_limiter_that_was_stopped_itself_drops_nobody_it_could_not_hear() -> None:
    clock = Clock()
    limiter = Limiter(Limits(1), clock)
    assert isinstance(limiter.acquire(TokenEstimate(1), "a"), SendLease)
    clock.now += 10 * HOLDER_TTL_S
    limiter.woken()
    assert limiter.in_flight == 1

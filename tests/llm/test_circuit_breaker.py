"""An endpoint that is down is left alone, looked at now and then, and given up after the stated time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.llm.ratelimit.circuit_breaker import LONGEST_PAUSE_S, PATIENCE_S, CircuitBreaker


def opened(max_outage_s: float = 900) -> CircuitBreaker:
    breaker = CircuitBreaker(max_outage_s, 3)
    for number in range(3):
        assert breaker.wait_s(0) == 0
        breaker.failed(number, 0.0)
    return breaker


def test_failures_with_answers_between_them_do_not_open_it() -> None:
    breaker = CircuitBreaker(900, 3)
    for number in range(50):
        breaker.failed(number, float(number))
        breaker.failed(number, float(number))
        breaker.answered()
    assert not breaker.is_open


def test_late_failures_of_what_was_under_way_change_nothing() -> None:
    breaker = opened()
    for number in range(100):
        breaker.failed(number, 0.5)
    assert breaker.wait_s(0.5) == 0.5


def test_one_probe_at_a_time_and_another_if_it_hangs_or_is_lost() -> None:
    breaker = opened()
    breaker.sent("probe", 1.0)
    assert breaker.wait_s(1.0) == PATIENCE_S
    breaker.lost("probe", 2.0)
    assert breaker.wait_s(2.0) == 0
    breaker.sent("second", 2.0)
    assert breaker.wait_s(2.0 + PATIENCE_S) == 0


@given(st.lists(st.booleans(), max_size=60), st.floats(10, 2000))
def test_it_never_waits_longer_than_stated(answers: list[bool], max_outage_s: float) -> None:
    breaker, now = opened(max_outage_s), 0.0
    for number, answer in enumerate(answers):
        if breaker.exhausted(now):
            assert now >= max_outage_s
            return
        wait_s = breaker.wait_s(now)
        assert wait_s <= LONGEST_PAUSE_S
        now += wait_s
        breaker.sent(("probe", number), now)
        if answer:
            breaker.answered()
            assert breaker.wait_s(now) == 0
            return
        breaker.failed(("probe", number), now)
        assert breaker.is_open

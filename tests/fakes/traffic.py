"""Counts of the fake endpoint's requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.endpoint import FakeEndpoint


def most_in_window(times: Iterable[float], window_s: float) -> int:
    """Maximum number of times (s) in any window."""
    most, window = 0, deque[float]()
    for at in sorted(times):
        window.append(at)
        while window[0] <= at - window_s:
            window.popleft()
        most = max(most, len(window))
    return most


def totals(fake: FakeEndpoint) -> dict[str, Any]:
    """The counters, for processes other than the endpoint's."""
    times = [asked.at for asked in fake.requests]
    return {
        "asked": fake.asked,
        "counts": dict(fake.counts),
        "answers_paid": fake.paid.total(),
        "bodies_paid": len(fake.paid),
        "tokens_in": fake.tokens_in,
        "tokens_out": fake.tokens_out,
        "most_in_flight": fake.most_in_flight,
        "most_in_60_s": most_in_window(times, 60.0),
        "seconds": max(times, default=0.0) - min(times, default=0.0),
        "most_paid_for_one_body": max(fake.paid.values(), default=0),
    }

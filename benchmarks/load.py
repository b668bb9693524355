"""Load of an endpoint and of the machine during a run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from benchmarks.watcher import Machine, Watcher
from tests.fakes.endpoint import FakeEndpoint

USED_UP = 0.9
"""CPU utilization above which a second measures the machine rather than the graph."""


class Load(Watcher):
    """Samples the load of an endpoint and the machine 20 times per second.

    Args:
        fake: The endpoint; its caption requests are counted.
    """

    def __init__(self, fake: FakeEndpoint) -> None:
        self._fake = fake
        self._captions: list[float] = []  # when each was asked for
        self._in_flight: list[tuple[float, int]] = []
        self._seconds: list[tuple[float, Machine]] = []
        fake.answer = self._count
        super().__init__(every_s=0.05)

    def look(self) -> None:
        """See `Watcher`."""
        now = time.monotonic()
        self._in_flight.append((now, self._fake.in_flight))
        if not self._seconds or now - self._seconds[-1][0] >= 1.0:
            self._seconds.append((now, Machine.now()))

    @property
    def middle(self) -> tuple[float, float]:
        """The steady state: from the first tenth of the captions to the last, when the graph is full."""
        count = len(self._captions)
        return self._captions[count // 10], self._captions[count * 9 // 10]

    @property
    def rate(self) -> float:
        """Captions per second in the steady state."""
        begin, end = self.middle
        return sum(begin <= at < end for at in self._captions) / (end - begin)

    @property
    def in_flight(self) -> float:
        """Mean number of requests in flight in the steady state."""
        return self._mean_in_flight(*self.middle)

    @property
    def in_flight_with_room(self) -> float | None:
        """The same over the seconds with spare CPU; ``None`` if there are none."""
        spans = [(one, two) for one, two, used in self._each_second() if used < USED_UP]
        return statistics.mean(self._mean_in_flight(*span) for span in spans) if spans else None

    @property
    def cpu(self) -> float:
        """CPU utilization in the steady state."""
        return statistics.mean(used for _, _, used in self._each_second())

    def _each_second(self) -> list[tuple[float, float, float]]:
        begin, end = self.middle
        looks = [look for look in self._seconds if begin <= look[0] < end]
        return [(one, two, then.share_since(before)) for (one, before), (two, then) in pairwise(looks)]

    def _mean_in_flight(self, begin: float, end: float) -> float:
        return statistics.mean(count for at, count in self._in_flight if begin <= at < end)

    def _count(self, body: Mapping[str, Any]) -> None:
        if isinstance(body["messages"][-1]["content"], list):  # it has pictures
            self._captions.append(time.monotonic())

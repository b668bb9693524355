"""Requests of any 24 hours, over restarts."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.errors import StopRun
from lvqa_ray.llm.day import DAY_S, Day
from lvqa_ray.llm.desk import LocalDesk
from lvqa_ray.llm.limiter import Limiter
from lvqa_ray.llm.limits import Limits
from lvqa_ray.llm.outcome import Estimate


class Clock:
    now = 1.8e9

    def __call__(self) -> float:
        return self.now


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "day.json"
    sent = 0
    for _ in range(4):
        day = Day(1000, path, clock)
        for _ in range(300):
            sent += day.take() == 0
        clock.now += 3600
    assert 1000 - 4 * 10 <= sent <= 1000, "what was set aside and not used is lost, at most 1 % with each restart"
    clock.now += DAY_S - 4 * 3600 - 120
    wait_s = Day(1000, path, clock).take()
    assert 0 < wait_s < 300
    clock.now += wait_s + 60
    assert Day(1000, path, clock).take() == 0


def test_no_limit_keeps_nothing(tmp_path: Path) -> None:
    assert all(Day(None, tmp_path / "day.json").take() == 0 for _ in range(10))
    assert not list(tmp_path.iterdir())


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=80), st.integers(1, 40))
def test_never_over_the_limit_in_any_day(waits: list[int], limit: int) -> None:
    clock = Clock()
    day = Day(limit, None, clock)
    sent: list[float] = []
    for wait in waits:
        while day.take() == 0:
            sent.append(clock.now)
        clock.now += wait
    assert all(sum(at <= other < at + DAY_S for other in sent) <= limit for at in sent)


def test_a_count_that_cannot_be_written_stops_the_run_in_order() -> None:
    class Full:
        def read_text(self, encoding: str) -> str:
            assert encoding == "ascii"
            raise FileNotFoundError

        def write_text(self, text: str, encoding: str) -> None:
            assert text.encode(encoding)
            raise OSError(errno.EACCES, "s3://films/out/day.json may not be written")

    async def run() -> None:
        limiter = Limiter(Limits(4), day=Day(1000, Full()))
        desk = LocalDesk(limiter)
        for answer in await asyncio.gather(*(desk.take(name, [Estimate(1, 1)] * 3) for name in "ab")):
            assert isinstance(answer, StopRun)
            assert "The count of the day's requests cannot be written (s3://films/out/day.json" in str(answer)
        assert limiter.halted is not None

    asyncio.run(run())

"""Requests of any 24 hours, over restarts."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.errors import StopRun
from lvqa_ray.llm.ratelimit.daily_quota import DAY_S, LOOK_S, DailyQuota
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.outcome import TokenEstimate
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer


def taken(day: DailyQuota) -> float:
    """What it says once nothing is being written."""
    while (wait_s := day.take()) == LOOK_S:
        time.sleep(0.0005)
    return wait_s


def settle() -> None:
    """Wait for what is being written ahead."""
    for thread in threading.enumerate():
        if thread.name == "day":
            thread.join()


class Clock:
    now = 1.8e9

    def __call__(self) -> float:
        return self.now


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "day.json"
    sent = 0
    for _ in range(4):
        day = DailyQuota(1000, path, clock)
        for _ in range(300):
            sent += taken(day) == 0
        settle()
        clock.now += 3600
    assert 1000 - 4 * 10 <= sent <= 1000, "what was set aside and not used is lost, at most 1 % with each restart"
    clock.now += DAY_S - 4 * 3600 - 120
    wait_s = taken(DailyQuota(1000, path, clock))
    assert 0 < wait_s < 300
    clock.now += wait_s + 60
    assert taken(DailyQuota(1000, path, clock)) == 0


def test_no_limit_keeps_nothing(tmp_path: Path) -> None:
    assert all(DailyQuota(None, tmp_path / "day.json").take() == 0 for _ in range(10))
    assert not list(tmp_path.iterdir())


@given(st.lists(st.tuples(st.integers(1, 30_000), st.integers(0, 3)), min_size=1, max_size=80), st.integers(1, 40))
def test_never_over_the_limit_in_any_day(waits: list[tuple[int, int]], limit: int) -> None:
    clock = Clock()
    day = DailyQuota(limit, None, clock)
    sent: list[float] = []
    for wait, unsent in waits:
        while day.take() == 0:
            sent.append(clock.now)
        clock.now += wait
        for _ in range(min(unsent, len(sent))):
            day.give_back(clock.now - sent.pop())
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
        limiter = Limiter(Limits(4), day=DailyQuota(1000, Full()))
        desk = LocalLeaseServer(limiter)
        for answer in await asyncio.gather(*(desk.acquire_batch(name, [TokenEstimate(1, 1)] * 3) for name in "ab")):
            assert isinstance(answer, StopRun)
            assert "The count of the day's requests cannot be written (s3://films/out/day.json" in str(answer)
        assert limiter.halted is not None

    asyncio.run(run())


def test_a_store_that_takes_its_time_holds_up_no_event_loop_and_nothing_is_sent_before_it_has_answered() -> None:
    answers = threading.Event()

    class Slow:
        def read_text(self, encoding: str) -> str:
            return "{}".encode(encoding).decode()

        def write_text(self, text: str, encoding: str) -> None:
            assert text.encode(encoding)
            assert answers.wait(60)

    async def run() -> None:
        desk = LocalLeaseServer(Limiter(Limits(4, requests_per_day=1000), day=DailyQuota(1000, Slow())))
        asked = asyncio.create_task(desk.acquire_batch("a", [TokenEstimate(1, 1)] * 3))
        await asyncio.sleep(5 * LOOK_S)
        assert not asked.done()
        answers.set()
        assert len(await asyncio.wait_for(asked, 60)) == 3  # type: ignore[arg-type]

    asyncio.run(run())


def test_what_is_no_count_stops_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "day.json"
    path.write_text("[1]")
    with pytest.raises(StopRun, match=r"day\.json is no count of the day's requests; delete it"):
        taken(DailyQuota(1000, path))

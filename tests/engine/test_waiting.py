"""What a run says that it waits for, and which of its processes a signal has stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvqa_ray.engine import progress as progress_module
from lvqa_ray.engine.progress import Progress, ProgressReader
from lvqa_ray.engine.reporter import Reporter
from lvqa_ray.engine.waiting import Machine, stopped_processes, waiting_for
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats

BUSY = Machine(4, 1)


@pytest.mark.parametrize(
    ("stats", "machine", "says"),
    [
        ({}, Machine(4, 1, (7, 8)), "kill -CONT 7 8"),
        ({"m at h": EndpointStats(halted="no key")}, BUSY, "requests in flight to m at h before the run stops"),
        (
            {"m at h": EndpointStats(down_s=40, failed={"overloaded": 3})},
            BUSY,
            "no usable answer for 40 s (3 x overloaded)",
        ),
        (
            {"m at h": EndpointStats(in_flight=2), "n": EndpointStats()},
            BUSY,
            "replies to requests in flight: 2 to m at h",
        ),
        ({"m at h": EndpointStats()}, BUSY, "the decoders: 3 of 4 cores are busy"),
        ({"m at h": EndpointStats()}, Machine(4, 4), "Ray to start tasks or workers"),
        ({}, Machine(0, 0), "a node with CPU cores"),
    ],
)
def test_the_most_certain_cause_comes_first(stats: dict[str, EndpointStats], machine: Machine, says: str) -> None:
    assert says in waiting_for(stats, machine)


def test_a_watch_says_it_once_nothing_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    said = [EndpointStats(in_flight=1)]
    watch = ProgressReader(tmp_path, "r", 1, lambda: {"m": said[-1]}, machine=lambda: BUSY)
    monkeypatch.setattr(progress_module, "STILL_S", 0.2)
    assert watch.look().waiting == ""
    time.sleep(0.3)
    assert watch.look().waiting == "replies to requests in flight: 1 to m"
    said.append(EndpointStats(answered=1))
    moved = watch.look()
    assert (moved.waiting, moved.still_s < 0.2) == ("", True)


def test_a_stopped_process_is_found() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert child.pid in stopped_processes()
        assert child.pid not in stopped_processes(root=child.pid + 1)
        child.send_signal(signal.SIGCONT)
        child.kill()


def test_a_long_phase_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvqa_ray.engine.reporter.PROGRESS_EVERY_S", 0.05)
    monkeypatch.setattr("lvqa_ray.engine.reporter.STILL_S", 0.2)
    seen: list[Progress] = []
    with Reporter(seen.append) as reporter:
        reporter.phase("Ray to start")
        while not seen:
            time.sleep(0.05)
    assert {one.phase for one in seen} == {"Ray to start"}
    assert all(one.still_s >= 0.2 for one in seen)

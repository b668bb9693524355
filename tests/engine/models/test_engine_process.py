"""A model server as a process: a port that another program took is exchanged, another fault ends the start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lvqa_ray.engine.ray.models import engine_process
from lvqa_ray.engine.ray.models.engine_process import EngineProcess
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from tests import fakes
from tests.fakes.endpoint import FakeEndpoint

RELAY = Path(fakes.__file__).parent / "relay.py"
FIRST_FAILS = """
import os, pathlib, sys
marker, says, relay, port, target = sys.argv[1:]
if not pathlib.Path(marker).exists():
    pathlib.Path(marker).touch()
    sys.exit(says)
os.execv(sys.executable, [sys.executable, relay, port, target])
"""
TAKEN = "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8100"


def started(fake: FakeEndpoint, marker: Path, says: str) -> str:
    """The address of a server whose first start ends with these words."""
    target = fake.base_url.split(":")[2].split("/")[0]
    served = ServedEndpoint.model_validate(
        {
            "engine": "command",
            "model": "fake-vlm",
            "command": [sys.executable, "-c", FIRST_FAILS, str(marker), says, str(RELAY), "{port}", target],
            "warmup_s": 120,
        }
    )
    process = EngineProcess(served, served.model)
    try:
        asyncio.run(process.start(lambda _: None))
        return process.base
    finally:
        process.stop()


def test_a_port_that_was_taken_is_exchanged_for_another(fake: FakeEndpoint, tmp_path: Path) -> None:
    assert started(fake, tmp_path / "tried", TAKEN).startswith("http://127.0.0.1:")


def test_another_fault_is_not_tried_again(fake: FakeEndpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fake-vlm on command does not run: The memory of the GPU is too small"):
        started(fake, tmp_path / "tried", "cudaMalloc failed: out of memory")


WRITES = """
import sys, time
print("early" * 2**15, flush=True)
while open(sys.argv[1]).read().count("early") > 2**14:
    time.sleep(0.05)
sys.exit("ValueError: the last word")
"""


def test_the_log_is_named_kept_and_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server writes on after the log was shortened, and ends only then."""
    monkeypatch.setattr(engine_process, "LOG_MAX_BYTES", 2**16)
    monkeypatch.setattr(engine_process, "LOG_KEPT_BYTES", 2**12)
    log = tmp_path / f"lvqa-engine-fake-vlm-{os.getpid()}.log"
    served = ServedEndpoint.model_validate(
        {
            "engine": "command",
            "model": "org/fake-vlm",
            "command": [sys.executable, "-c", WRITES, str(log), "{port}"],
            "warmup_s": 60,
        }
    )
    process = EngineProcess(served, served.model, str(tmp_path))
    try:
        with pytest.raises(ConfigError, match="the last word") as caught:
            asyncio.run(process.start(lambda _: None))
    finally:
        process.stop()
    assert f"(log: {log})." in str(caught.value)
    kept = log.read_text()
    assert len(kept) < 2**13
    assert "early" in kept
    assert kept.endswith("the last word\n")


HAS_WORKERS = """
import os, subprocess, sys
group, pids, relay, port, target = sys.argv[1:]
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=group == "other")
open(pids, "w").write(f"{os.getpid()} {worker.pid}")
os.execv(sys.executable, [sys.executable, relay, port, target])
"""


@pytest.mark.parametrize("group", ["same", "other"])
@pytest.mark.parametrize("killed", ["server", "nothing"])
def test_workers_of_a_server_end_with_it(fake: FakeEndpoint, tmp_path: Path, group: str, killed: str) -> None:
    """A killed server leaves workers that hold the GPU, so that its successor finds no memory: vllm#55510."""
    pids, target = tmp_path / "pids", fake.base_url.split(":")[2].split("/")[0]
    served = ServedEndpoint.model_validate(
        {
            "engine": "command",
            "model": "fake-vlm",
            "command": [sys.executable, "-c", HAS_WORKERS, group, str(pids), str(RELAY), "{port}", target],
            "warmup_s": 120,
        }
    )
    process = EngineProcess(served, served.model)
    try:
        asyncio.run(process.start(lambda _: None))
        server, worker = map(int, pids.read_text().split())
        assert Path(f"/proc/{worker}").exists()
        if killed == "server":
            os.kill(server, signal.SIGKILL)
            until(lambda: not (lives(worker) or runs(process)))
    finally:
        process.stop()
    assert not lives(server)
    assert not lives(worker)


def runs(process: EngineProcess) -> bool:
    try:
        process.check()
    except ConfigError:
        return False
    return True


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(what: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)

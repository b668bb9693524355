"""A model server as a process: a port that another program took is exchanged, another fault ends the start."""

from __future__ import annotations

import asyncio
import os
import sys
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

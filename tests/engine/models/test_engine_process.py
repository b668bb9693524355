"""A model server as a process: a port that another program took is exchanged, another fault ends the start."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

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

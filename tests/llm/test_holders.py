"""A process that was stopped is seen from another one, and one that was killed is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvqa_ray.llm.ratelimit.holders import holder_name, is_stopped

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
CHILD = (
    "from lvqa_ray.llm.ratelimit.holders import holder_name; import time; print(holder_name(), flush=1); time.sleep(60)"
)


def test_a_stopped_process_is_seen_and_a_killed_one_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            name = child.stdout.readline().strip()
            assert not is_stopped(name)
            os.kill(child.pid, signal.SIGSTOP)
            wait_for(name, stopped=True)
            other = name.split("/")
            assert not is_stopped("/".join([other[0], other[1], "1", other[3]])), "another process has this number now"
            os.kill(child.pid, signal.SIGCONT)
            wait_for(name, stopped=False)
            os.kill(child.pid, signal.SIGSTOP)
            wait_for(name, stopped=True)
        finally:
            child.kill()
    assert not is_stopped(name)


def wait_for(name: str, *, stopped: bool) -> None:
    until = time.monotonic() + 10
    while is_stopped(name) != stopped:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_names_of_other_machines_and_made_up_ones_are_nobody() -> None:
    assert holder_name() != holder_name()
    for name in ("", "a", "a/b/c/d", "/1/2/3", f"other/{os.getpid()}/1/x"):
        assert not is_stopped(name)

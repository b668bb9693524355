"""Ray's own control processes die: the run ends with one sentence and exit status 1, and the same command resumes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import Run, below, check, corpus, job_file

AT_ONCE = 3


@pytest.mark.storm
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_dead_control_process_ends_the_run_with_a_sentence(tmp_path: Path, name: str) -> None:
    with FakeEndpoint(latency_s=0.5, jitter_s=0.5) as fake:
        engine = {"executor": "ray"}
        films = corpus(tmp_path / "films", 2)
        job = job_file(tmp_path, fake, films, engine=engine, endpoint={"max_concurrency": AT_ONCE})
        with Run(job) as run:
            assert run.wait_until(lambda: fake.paid.total() >= 2), run.said()
            started = below(run.pid)
            (victim,) = [pid for pid, title in started.items() if Path(title.split()[0]).name == name]
            os.kill(victim, signal.SIGKILL)
            assert run.end() == 1, run.said()
            said = run.said()
        assert f"Ray's process {name} has died" in said
        assert "Traceback" not in said, said
        assert "the same command" in said
        # Ray's agents look for their raylet every few seconds.
        until = time.monotonic() + 60
        while left := {pid: title for pid, title in started.items() if Path(f"/proc/{pid}").exists()}:
            assert time.monotonic() < until, left
            time.sleep(0.2)
        fake.latency_s = fake.jitter_s = 0.0
        with Run(job) as run:
            assert run.end() == 0, run.said()
        check(job, fake, at_risk=AT_ONCE)

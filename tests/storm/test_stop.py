"""A run that is asked to stop, asked twice, and killed: each time the same command goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from lvqa_ray.config import Job
from lvqa_ray.engine.run import run as finish
from tests.command import lvqa
from tests.conftest import EXECUTOR
from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import Run, check, corpus, job_file

pytestmark = pytest.mark.timeout(900)
AT_ONCE = 2
SENTENCE = "run the same command to resume"


@pytest.mark.usefixtures("ray_session")
def test_a_run_that_is_stopped_in_every_way_ends_with_all_its_videos(tmp_path: Path) -> None:
    cluster = ""
    if EXECUTOR == "ray":  # starting another Ray for each run would take twice as long
        import ray

        cluster = str(ray.get_runtime_context().gcs_address)
    with FakeEndpoint(latency_s=1.0) as fake:
        job = job_file(tmp_path, fake, corpus(tmp_path / "films", 2), endpoint={"max_concurrency": AT_ONCE})
        with Run(job) as run:  # as Ctrl-C does it, to all processes of the terminal, those of its own Ray among them
            assert run.wait_until(lambda: fake.paid.total() >= 2 and fake.in_flight > 0)
            beside = lvqa("run", job)
            assert (beside.returncode, "is in use by process" in beside.stderr) == (2, True)
            run.signal(signal.SIGINT, group=True)
            assert (run.end(), run.said().count(SENTENCE)) == (130, 1), run.said()
            assert "Traceback" not in run.said()
        paid = fake.paid.total()
        assert paid >= 3
        assert fake.undelivered == 0

        with Run(job, cluster=cluster) as run:
            assert run.wait_until(lambda: fake.paid.total() > paid and fake.in_flight > 0)
            run.signal(signal.SIGTERM)
            assert run.wait_until(lambda: "when the requests in flight are answered" in run.said())
            begun = time.monotonic()
            fake.latency_s = 60.0  # nobody waits for that
            run.signal(signal.SIGTERM)
            assert (run.end(), run.said().count(SENTENCE)) == (143, 1), run.said()
            assert time.monotonic() - begun < 30
            assert "Traceback" not in run.said()

        fake.latency_s = 1.0
        paid = fake.paid.total()
        with Run(job, cluster=cluster) as run:
            assert run.wait_until(lambda: fake.paid.total() > paid and fake.in_flight > 0)
            run.signal(signal.SIGKILL)
            run.end()
        fake.latency_s = 0.0
        assert finish(Job.load(job)).exit_status == 0
        check(job, fake, at_risk=2 * AT_ONCE)  # at the second SIGTERM and at the SIGKILL

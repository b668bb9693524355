"""A run that is asked to stop, asked twice, and killed: each time the same command goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import Run, check, corpus, job_file

pytestmark = pytest.mark.timeout(900)
AT_ONCE = 2
SENTENCE = "the same command goes on where this one ended"


def test_a_run_that_is_stopped_in_every_way_ends_with_all_its_videos(tmp_path: Path) -> None:
    with FakeEndpoint(latency_s=2.0) as fake:
        job = job_file(tmp_path, fake, corpus(tmp_path / "films", 3), endpoint={"max_concurrency": AT_ONCE})
        with Run(job) as run:  # as Ctrl-C does it, to all processes of the terminal
            assert run.wait_until(lambda: fake.paid.total() >= 2 and fake.in_flight > 0)
            run.signal(signal.SIGINT, group=True)
            assert (run.end(), run.said().count(SENTENCE)) == (130, 1), run.said()
            assert "Traceback" not in run.said()
        paid = fake.paid.total()
        assert paid >= 3
        assert fake.counts["ok (client gone)"] == 0

        with Run(job) as run:
            assert run.wait_until(lambda: fake.paid.total() > paid and fake.in_flight > 0)
            run.signal(signal.SIGTERM)
            assert run.wait_until(lambda: "once the requests under way are answered" in run.said())
            begun = time.monotonic()
            fake.latency_s = 60.0  # nobody waits for that
            run.signal(signal.SIGTERM)
            assert (run.end(), run.said().count(SENTENCE)) == (143, 1), run.said()
            assert time.monotonic() - begun < 30
            assert "Traceback" not in run.said()

        fake.latency_s = 1.0
        paid = fake.paid.total()
        with Run(job) as run:
            assert run.wait_until(lambda: fake.paid.total() > paid + 1 and fake.in_flight > 0)
            run.signal(signal.SIGKILL)
            run.end()
        fake.latency_s = 0.0
        with Run(job) as run:
            assert run.end() == 0, run.said()
        # At the second SIGTERM and at the SIGKILL: what may be under way when the workers end, a little later.
        check(job, fake, twice=2 * AT_ONCE)

"""A job is handed to a cluster over HTTP: it runs, is stopped and goes on, and one that fails says so."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.dataset.verify import verify
from tests.cluster.head import Head
from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import corpus, job_file

ROOT = Path(__file__).parents[2]
ENTRY = "jobs/long_video_qa.py"
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with Head() as head:
        yield head


def test_a_job_is_stopped_and_submitted_again(head: Head, tmp_path: Path) -> None:
    working_dir = tmp_path / "work"
    for part in ("jobs", "lvqa_ray"):
        shutil.copytree(ROOT / part, working_dir / part, ignore=shutil.ignore_patterns("__pycache__"))
    with FakeEndpoint(latency_s=2.0) as fake:
        films = corpus(tmp_path / "films", 3)
        keyed = {"api_key_env": "OPENAI_API_KEY", "max_concurrency": 2}  # which only the runtime environment has
        job_file(working_dir, fake, films, output=str(tmp_path / "out"), engine={"executor": "local"}, endpoint=keyed)
        begun = head.submit(working_dir, ENTRY, "job.yaml", wait=False, name="first")
        assert begun.returncode == 0, begun.stdout + begun.stderr + head.said()
        until = time.monotonic() + 180
        while fake.paid.total() < 3:
            assert time.monotonic() < until, head.ray("job", "logs", "--address", head.address, "first").stdout
            time.sleep(0.2)
        until = time.monotonic() + 60
        wanted = {"lvqa_requests_limit", "lvqa_calls_total answered caption", "lvqa_tokens_total in caption"}
        while not wanted <= set(seen := head.metrics()):
            assert time.monotonic() < until, seen
            time.sleep(0.5)
        assert 0 < seen["lvqa_calls_total answered caption"] <= fake.paid.total()
        stopped = head.ray("job", "stop", "--address", head.address, "first")
        assert stopped.returncode == 0, stopped.stderr
        status = head.ray("job", "status", "--address", head.address, "first").stdout + stopped.stdout
        assert "STOPPED" in status.upper(), status
        assert len(list(read_rows(tmp_path / "out", "data"))) < 3

        fake.latency_s = 0.0
        ended = head.submit(working_dir, ENTRY, "job.yaml", "--limit", "3")  # the arguments of `lvqa run`
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0, said
        assert "Verified: 3 with records + 0 failed" in said, "the log is followed"
        assert "succeeded" in said.lower()
        assert verify(tmp_path / "out").ok
        assert sum(times - 1 for times in fake.paid.values()) <= 2

    failed = head.submit(working_dir, ENTRY, "nothing.yaml")
    said = failed.stdout + failed.stderr
    assert failed.returncode == 1
    assert "nothing.yaml cannot be read" in said
    assert "failed" in said.lower()

"""A role with two endpoints in a whole run, and an endpoint that goes away in the middle of one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lvqa_ray.engine.run import run
from tests import media
from tests.conftest import MODEL, JobMaker
from tests.fakes.endpoint import FakeEndpoint


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return media.make_video(tmp_path / "film.mp4", seconds=6)


@pytest.mark.usefixtures("ray_session")
def test_two_endpoints_share_the_work_and_one_of_them_finds_all_the_answers(
    film: Path, fake: FakeEndpoint, make_job: JobMaker
) -> None:
    with FakeEndpoint() as other:
        first = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None, "requests_per_minute": 2}
        second = first | {"base_url": other.base_url, "requests_per_minute": None}
        split = {"max_seconds": 0.5, "min_seconds": 0.2}
        job = make_job(film, endpoints={"vlm": [first, second], "llm": second}, split=split)
        begun = time.monotonic()
        summary = run(job)
        minutes = int((time.monotonic() - begun) / 60) + 1
        assert (summary.records, summary.exit_status) == (1, 0)
        first_took = fake.counts["ok"]
        assert 2 <= first_took <= 2 * minutes, "it has room for no more"
        assert other.counts["ok"] == summary.clips - first_took + 2, "the other captions, a question and its reasoning"
        # The first alone, and another question: no caption is asked again.
        asked = fake.counts.total() + other.counts.total()
        alone = make_job(film, endpoints={"vlm": first, "llm": second}, split=split, ask={"temperature": 0.5})
        assert run(alone).records == 1
        assert fake.counts["ok"] == first_took
        assert fake.counts.total() + other.counts.total() <= asked + 2


def test_an_outage_in_the_middle_of_a_run_fails_nothing(film: Path, fake: FakeEndpoint, make_job: JobMaker) -> None:
    fake.latency_s = 0.2
    fake.outages = [(0.5, 6.0)]
    split = {"max_seconds": 0.2, "min_seconds": 0.1}
    summary = run(make_job(film, split=split, endpoint={"max_concurrency": 4}))
    assert (summary.records, summary.failures, summary.exit_status) == (1, {}, 0)
    assert fake.counts["down"] > 0
    assert set(fake.paid.values()) == {1}

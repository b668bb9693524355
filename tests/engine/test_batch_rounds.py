"""How many rounds of file batches a run takes."""

from __future__ import annotations

from pathlib import Path

from lvqa_ray.engine.preflight.dry_run import plan
from tests import media
from tests.conftest import MODEL, JobMaker
from tests.fakes.endpoint import FakeEndpoint


def test_the_plan_says_how_many_rounds_and_hours(fake: FakeEndpoint, make_job: JobMaker, tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=2)
    at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None}
    ask = {"quota": {"goal": 4, "plot": 3}, "per_call": 2}
    assert plan(make_job(film, ask=ask)).batches.rounds == 0
    vlm_only = plan(make_job(film, ask=ask, endpoints={"vlm": at | {"tier": "batch"}, "llm": at})).batches
    assert (vlm_only.rounds, vlm_only.hours) == (1, 24)
    every = plan(make_job(film, ask=ask, endpoint={"tier": "batch", "batch_hours": 12})).batches
    assert every.rounds >= 1 + 4 + 1, "captions, four calls for seven questions, the reasoning"
    assert every.hours == 12 * every.rounds

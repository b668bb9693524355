"""The job that turns everything on, on real Ray: every check asks, pictures are read for it, and the books add up."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvqa_ray.config import Job
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.engine.run import RunSummary, run
from tests import media
from tests.conftest import MODEL
from tests.fakes.answers import media_urls, text_of
from tests.fakes.endpoint import FakeEndpoint

pytestmark = pytest.mark.usefixtures("ray_session")
CHECKS = ["structure", "grounding", "duplicates", "shuffle", "blind", "solve", "unaided", "hops", "judge"]
CHECKS += ["evidence", "watch", "prose"]
CHANGES = {
    "split": {"max_seconds": 1.0},
    "sample": {"count": 2, "short_side": 64},
    "ask": {"frames": 3, "quota": dict.fromkeys(("temporal", "goal", "spatial"), 1)},
    "engine": {"num_cpus": 2},
}
Bodies = list[dict[str, Any]]


Made = tuple[Job, RunSummary, Bodies]


def best(folder: Path, base_url: str, film: Path) -> Job:
    given = yaml.safe_load(Path("jobs/best.yaml").read_text())
    at = {"base_url": base_url, "model": MODEL, "api_key_env": None}
    given |= {"videos": [str(film)], "output": str(folder), "endpoints": dict.fromkeys(("vlm", "llm", "checker"), at)}
    given["checks"]["duplicates"] = {"corpus": False}
    given["checks"]["hops"]["policy"] = "mark"  # the questions of the fake endpoint are about single moments
    return Job.of(given | CHANGES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Made:
    folder = tmp_path_factory.mktemp("best")
    film = media.make_video(folder / "v.mp4", seconds=6, scenes=(2.0, 4.0))
    with FakeEndpoint() as fake:
        job = best(folder / "out", fake.base_url, film)
        return job, run(job), [one.body for one in fake.requests]


def test_every_check_has_its_say_on_every_question(made: Made) -> None:
    job, first, _ = made
    rows = list(read_rows(Path(job.output), "data"))
    assert (first.records, first.failures, first.verdict.ok) == (1, {}, True)
    assert len(rows) == first.questions.kept > 0
    for row in rows:
        assert [one["check"] for one in row["checks"]] == CHECKS
        assert row["solve_rate"] == 1.0
        assert {one["check"]: one["calls"] for one in row["checks"]}["evidence"] == len(
            row["parsed_reasoning"]["REASONS"]
        )
    assert first.audit.records == len(rows)
    asked = {"caption", "ask", "blind", "solve", "judge", "evidence", "watch", "prose", "reformat"}
    assert set(first.audit.cost) >= asked


def test_the_attempts_of_watch_and_solve_are_kept(made: Made) -> None:
    job, _, _ = made
    records = {row["id"]: row for row in read_rows(Path(job.output), "data")}
    traces = list(read_rows(Path(job.output), "traces"))
    tries = {"watch": job.checks.watch.tries, "solve": job.checks.solve.tries}
    for ident, record in records.items():
        mine = [row for row in traces if row["question_id"] == ident]
        assert Counter(row["check"] for row in mine) == tries
        assert record["traces"] == len(mine)
        watched = [row for row in mine if row["check"] == "watch"]
        assert record["watch_rate"] == sum(row["correct"] for row in watched) / len(watched)
        assert record["caption_fault"] is (record["watch_rate"] == 0)
        assert all(len(row["frame_times"]) == job.checks.watch.frames for row in watched)
        assert all(row["full_question"] == record["full_question"] for row in mine)
        assert sum(row["best"] for row in mine) == (record["best_trace"] is not None)
    assert [row["index"] for row in traces] == list(range(len(traces)))


def test_pictures_are_of_what_is_asked_about(made: Made) -> None:
    job, _, bodies = made
    (ask,) = [body for body in bodies if "hard multiple-choice questions" in text_of(body)]
    assert (len(media_urls(ask)), "Frame at 1.00 s:" in text_of(ask)) == (3, True)
    claims = [text_of(body) for body in bodies if 'the line "SCORE: "' in text_of(body)]
    assert claims
    for text in claims:
        start, end = map(float, re.search(r"from ([\d.]+) s to ([\d.]+) s", text).groups())  # type: ignore[union-attr]
        times = [float(time) for time in re.findall(r"Frame at ([\d.]+) s", text)]
        assert len(times) == job.checks.evidence.frames
        assert all(start <= time <= end for time in times)

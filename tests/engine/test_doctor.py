"""What is found out about a job before anything of it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lvqa_ray.cli.commands import app
from lvqa_ray.engine.preflight.doctor import check
from tests import media
from tests.conftest import MODEL, JobMaker
from tests.fakes.answers import media_urls
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault, Status


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("film") / "a film.mp4", seconds=1)


def test_all_that_a_run_needs_is_tried_by_tiny_requests(fake: FakeEndpoint, make_job: JobMaker, film: Path) -> None:
    found = list(check(make_job(film), paid=True))
    assert [finding.ok for finding in found] == [True] * len(found)
    said = {finding.what: finding.says for finding in found}
    assert said["videos"] == "1 of 1 tested videos are readable; 1 videos in total."
    assert set(said) >= {"output", "disk of the output", "vlm: accepts 2 images of 64 px", "llm: accepts a JSON schema"}
    pictures = [asked for asked in fake.requests if media_urls(asked.body)]
    assert [len(media_urls(asked.body)) for asked in pictures] == [2]
    assert not [asked for asked in fake.requests if "max_tokens" in asked.body], "a run sends none either"


def test_who_hears_is_tried_with_a_tone(fake: FakeEndpoint, make_job: JobMaker, film: Path, tmp_path: Path) -> None:
    at: dict[str, Any] = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None}
    asks: dict[str, Any] = {"endpoints": {"vlm": at, "llm": at, "speech": at}}
    found = {finding.what: finding for finding in check(make_job(film, **asks), paid=True)}
    assert found["speech: accepts audio (opus)"].ok is True
    (heard,) = (asked.body for asked in fake.requests if "sound" in asked.body)
    assert (heard["sound"]["seconds"], "max_tokens" in heard) == (pytest.approx(1, abs=0.01), False)
    priced = {"engine": {"max_cost": 1}, "speech": {"whisper_model": str(tmp_path)}}
    at |= {"price_in": 1, "price_out": 1}
    found = {finding.what: finding for finding in check(make_job(film, **asks, **priced), paid=False)}
    assert "endpoints.speech.price_minute" in found["prices"].says
    assert found["speech"].ok is False
    assert "speech.whisper_model needs faster-whisper" in found["speech"].says or "lacks model" in found["speech"].says


def test_without_consent_nothing_is_paid(fake: FakeEndpoint, make_job: JobMaker, film: Path) -> None:
    found = list(check(make_job(film), paid=False))
    assert fake.requests == []
    assert {finding.ok for finding in found} == {True, None}


def test_what_will_not_do_is_told_apart_from_what_does_not_matter(
    fake: FakeEndpoint, make_job: JobMaker, film: Path, tmp_path: Path
) -> None:
    (tmp_path / "none.mp4").write_text("This is no video.")
    no_pictures = Status(400, message="no image input")
    fake.fail_next(no_pictures, Fault.LENGTH, Status(400, message="no response_format"))
    found = {finding.what: finding for finding in check(make_job(tmp_path / "none.mp4"), paid=True)}
    assert found["videos"].ok is False
    assert "none" in found["videos"].says
    assert found["vlm: accepts 2 images of 64 px"].ok is False
    assert "no image input" in found["vlm: accepts 2 images of 64 px"].says
    assert found["llm: answers"].ok is True, "cut off after 64 tokens is an answer"
    assert found["llm: accepts a JSON schema"].ok is None, "this job asks for text"
    fake.fail_next(Fault.LENGTH, Fault.LENGTH, Status(400, message="no response_format"))
    found = {finding.what: finding for finding in check(make_job(film, ask={"reply_format": "json_schema"}), paid=True)}
    assert found["llm: accepts a JSON schema"].ok is None, "a run asks for text then"
    assert not [finding for finding in found.values() if finding.ok is False]


def test_as_many_pictures_are_tried_as_the_job_will_show(fake: FakeEndpoint, make_job: JobMaker, film: Path) -> None:
    job = make_job(film, ask={"frames": 5}, checks={"evidence": {"policy": "mark", "frames": 7}})
    assert all(finding.ok for finding in check(job, paid=True))
    assert [len(media_urls(asked.body)) for asked in fake.requests if media_urls(asked.body)] == [2, 7, 5]
    fake.requests.clear()
    fewer = make_job(film, checks={"evidence": {"policy": "mark", "frames": 1}})
    assert all(finding.ok for finding in check(fewer, paid=True))
    assert [len(media_urls(asked.body)) for asked in fake.requests if media_urls(asked.body)] == [2]


def test_a_clip_is_shown_where_the_job_shows_clips(fake: FakeEndpoint, make_job: JobMaker, film: Path) -> None:
    job = make_job(film, caption={"media": "video"}, cut={"mode": "encode"})
    assert all(finding.ok for finding in check(job, paid=True))
    (url,) = (url for asked in fake.requests for url in media_urls(asked.body))
    assert url.startswith("data:video/mp4;base64,")


def test_the_command_gives_status_2_where_a_run_would_fail(tmp_path: Path, film: Path) -> None:
    with FakeEndpoint(models=(MODEL,)) as fake:
        at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None}
        path = tmp_path / "job.yaml"
        job = {"videos": [str(film)], "output": str(tmp_path / "out"), "endpoints": {"vlm": at, "llm": at}}
        path.write_text(yaml.safe_dump(job))
        good = CliRunner().invoke(app, ["check", str(path), "--yes", "--json"])
        assert (good.exit_code, {found["ok"] for found in json.loads(good.stdout)}) == (0, {True})
        wrong = ["check", str(path), "--json", "--set", "endpoints.llm.model=none"]
        unpaid = CliRunner().invoke(app, wrong)
        assert (unpaid.exit_code, fake.paid.total()) == (0, 3), "the list is a hint, and nothing else was asked"
        assert "it offers fake-vlm" in unpaid.stdout
        bad = CliRunner().invoke(app, [*wrong, "--yes"])
        assert bad.exit_code == 2
        assert "has no model none; it offers fake-vlm" in bad.stdout

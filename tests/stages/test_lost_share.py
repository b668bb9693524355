"""Clips that are mostly lost get no caption, and a film that is mostly lost fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.engine.step_runner import run_video_steps
from lvqa_ray.pipeline import build
from lvqa_ray.records import CaptionedClip, CaptionedVideo, Clip, Failure, Video
from tests import media
from tests.conftest import JobMaker


def looked_at(job: Job, film: Path) -> list[Any]:
    """The clips of a film before a model sees them."""
    rows: list[Any] = [Video(id="film", uri=str(film), fingerprint="f")]
    pipeline = build(job)
    for steps in (pipeline.split, pipeline.look):
        rows = [out for row in rows for out in run_video_steps(steps, row, lambda *_: None)]
    return rows


def merged(job: Job, rows: Sequence[Any]) -> Any:
    captioned = [CaptionedClip(clip=row, caption="A block.") if isinstance(row, Clip) else row for row in rows]
    (made,) = build(job).merge(captioned)
    return made


@pytest.mark.parametrize("mode", ["fixed", "scenes"])
def test_a_film_that_is_mostly_lost_fails_before_it_is_captioned(make_job: JobMaker, tmp_path: Path, mode: str) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=8, size=(320, 180), faststart=True)
    job = make_job(film, split={"mode": mode, "max_seconds": 2.0}, sample={"per_second": 4.0})
    assert all(isinstance(row, Clip) for row in looked_at(job, film))
    media.scribble(film, 0.15, 0.98)
    rows = looked_at(job, film)
    lost = [row for row in rows if isinstance(row, CaptionedClip)]
    assert len(lost) >= 3
    assert {row.failure.kind for row in lost if row.failure} == {"damaged"}
    failure = merged(job, rows)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.kind, failure.retryable) == ("probe", "damaged", False)
    assert "probe.max_lost_share" in failure.message


def test_a_film_of_which_a_little_is_lost_does_without_it(make_job: JobMaker, tmp_path: Path) -> None:
    film = media.scribble(media.make_video(tmp_path / "film.mkv", seconds=8, size=(320, 180)), 0.4, 0.6)
    settings: dict[str, Any] = {"split": {"max_seconds": 2.0}, "sample": {"per_second": 4.0}}
    for share, kept in ((0.0, 0), (0.3, 1), (1.0, 1)):
        job = make_job(film, **settings, probe={"max_lost_share": share})
        rows = looked_at(job, film)
        assert isinstance(merged(job, rows), CaptionedVideo if kept else Failure)
        left_out = sum(isinstance(row, CaptionedClip) for row in rows)
        assert bool(left_out) is (share < 1)


def test_the_share_is_no_other_job(make_job: JobMaker, tmp_path: Path) -> None:
    """Outputs from before there was such a setting are those of the same job."""
    plain, same = make_job(tmp_path / "film.mkv"), make_job(tmp_path / "film.mkv", probe={"max_lost_share": 0.5})
    other = make_job(tmp_path / "film.mkv", probe={"max_lost_share": 0.6})
    assert plain.job_hash == same.job_hash != other.job_hash
    assert build(plain).recipe == build(other).recipe

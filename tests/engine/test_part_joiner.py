"""Long videos that are looked at in parts: as if each were looked at in one piece."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.engine.ray.clips_per_task import spread
from lvqa_ray.engine.ray.part_joiner import PartJoiner
from lvqa_ray.engine.row_codec import pack, unpack
from lvqa_ray.engine.run import run
from lvqa_ray.engine.step_runner import run_video_steps
from lvqa_ray.pipeline import Pipeline, Spread, build
from lvqa_ray.records import Clip, Failure, ScoredPart, Video
from tests import media
from tests.conftest import EXECUTOR, JobMaker
from tests.fakes.endpoint import FakeEndpoint

SETTINGS: dict[str, Any] = {
    "split": {"mode": "scenes", "max_seconds": 1.0},
    "sample": {"count": 8, "short_side": 64},
    "filter": {"frames_min": 16},
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return media.make_video(path, seconds=6, scenes=(0.8, 1.4, 3.0, 4.4, 5.9), b_frames=3, open_gop=True)


class Notes:
    """Remembers nothing, and what it was to keep."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def get(self, _: Any) -> None:
        return

    def put(self, row: Any, made: Sequence[Any]) -> None:
        self.kept.append((row, list(made)))


def rows_of(pipeline: Pipeline, path: Path) -> list[Any]:
    video = Video(id="film", uri=str(path), fingerprint="f")
    rows: list[Any] = list(run_video_steps(pipeline.split, video, lambda *_: None))
    return [
        out
        for row in rows
        for out in run_video_steps(pipeline.parts.look if pipeline.parts else [], row, lambda *_: None)
    ]


def given(joiner: PartJoiner, rows: Sequence[Any]) -> list[Any]:
    return [out for row in rows for packed in joiner(pack(row)) for out in unpack(packed)]


def test_parts_come_to_the_same_clips_in_any_order(make_job: JobMaker, film: Path) -> None:
    job = make_job(film, **SETTINGS)
    whole = rows_of(build(job), film)
    pipeline = build(job, spread=Spread(5, 0.0))
    assert pipeline.parts
    parts = rows_of(pipeline, film)
    assert len(parts) >= 4
    assert all(isinstance(part, ScoredPart) for part in parts)
    joiner = PartJoiner(pipeline.parts.joining, notes := Notes())
    made = given(joiner, [*parts[:0:-1], whole[0]])
    assert made == whole[:1], "nothing is told before its turn, and other rows pass by"
    made = given(joiner, parts[:1])
    assert [without_pictures(row) for row in made] == [without_pictures(row) for row in whole]
    assert [row.dropped for row in made].count("frames_min") == 3
    ((video, kept),) = notes.kept
    assert (video, kept) == (made[0].video, [without_pictures(row) for row in made])
    assert given(joiner, parts) == [], "it has its clips"


def without_pictures(row: Clip) -> Clip:
    return replace(row, frames=tuple(replace(frame, jpeg=b"") for frame in row.frames))


def test_a_video_has_one_failure_or_waits_for_a_pass_in_one_piece(make_job: JobMaker, film: Path) -> None:
    pipeline = build(make_job(film, **SETTINGS), spread=Spread(5, 0.0))
    assert pipeline.parts
    first, second, *_ = rows_of(pipeline, film)
    failure = Failure(video=first.video, stage="split", kind="decoder_crashed", message="x")
    joiner = PartJoiner(pipeline.parts.joining, notes := Notes())
    assert given(joiner, [second, failure, failure, first]) == [failure]
    joiner = PartJoiner(pipeline.parts.joining, notes)
    assert given(joiner, [replace(second, damaged=True), first, second]) == []
    assert notes.kept == []


@pytest.mark.skipif(EXECUTOR == "local", reason="it does not divide videos")
@pytest.mark.usefixtures("ray_session")
def test_a_run_in_parts(make_job: JobMaker, fake: FakeEndpoint, film: Path, tmp_path: Path) -> None:
    damaged = media.scribble(Path(shutil.copy(film, tmp_path / "damaged.mp4")), 0.7, 0.72)
    job = make_job(film, damaged, engine={"num_cpus": 2, "parts": 5}, **SETTINGS)
    assert spread(make_job(film, **SETTINGS), 2) is None, "as many videos as cores"
    assert spread(make_job(film, **SETTINGS), 1) == Spread(8, 60.0)
    summary = run(job)
    assert (summary.records, summary.unfinished, summary.verdict.ok) == (2, 0, True)
    rows = sorted(read_rows(Path(job.output), "clips"), key=lambda row: (row["video_id"] != "film", row["index"]))
    captions = sum(bool(row["caption"]) for row in rows)
    assert fake.paid.total() == captions + 2 * 2, "what both passes ask is paid once"
    rows = [row for row in rows if row["video_id"] == "film"]
    whole = rows_of(build(job), film)
    spans = [(row["timestamp_start"], row["timestamp_end"]) for row in rows]
    assert spans == [(row.span.start_s, row.span.end_s) for row in whole]
    assert [bool(row["caption"]) for row in rows] == [not row.dropped for row in whole]
    assert list((Path(job.output) / "cache" / "clips").glob("*.jsonl")), "what was found is written down"

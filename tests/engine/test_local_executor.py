"""One video in this process: rows as they come, nothing paid twice, and who goes away takes the work along."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.engine.local.analysis_document import AnalysisDocument
from lvqa_ray.engine.local.executor import LocalExecutor
from lvqa_ray.records import Analysis, AnalysisRecord, CaptionedClip, CaptionedVideo, Clip, Failure, ProbedVideo
from lvqa_ray.video.audio.pcm import RATE
from tests import media
from tests.conftest import MODEL, JobMaker
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault
from tests.fakes.told import MAP, STORY, TITLES, told
from tests.spoken import spoken, with_sound

Nothing = type(None)
WHOLE = {"tasks": ["analysis", "summary", "titles", "mind_map"]}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=4, fps=5)


def analyzed(job: Job, *, until: type = Nothing) -> list[Any]:
    """The rows of the job's first video, or those to the first of a kind."""

    async def taken() -> list[Any]:
        analyst = LocalExecutor(job)
        rows: list[Any] = []
        try:
            async with aclosing(analyst.rows(job, read_manifest(job.videos)[0])) as coming:
                async for row in coming:
                    rows.append(row)
                    if isinstance(row, until):
                        break
        finally:
            await analyst.aclose()
        return rows

    return asyncio.run(taken())


def of(kind: type, rows: Sequence[Any]) -> list[Any]:
    return [row for row in rows if isinstance(row, kind)]


def dossier(rows: Sequence[Any], job: Job) -> AnalysisDocument:
    made = AnalysisDocument(task="t", session="s", video=read_manifest(job.videos)[0], tasks=job.analysis.wanted)
    for row in rows:
        made.add(row)
    return made


@pytest.mark.parametrize("mode", ["fixed", "scenes"])
def test_everything_comes_and_a_second_time_costs_nothing(
    fake: FakeEndpoint, make_job: JobMaker, tmp_path: Path, film: Path, mode: str
) -> None:
    fake.answer = told
    own = tmp_path / "own.mp4"
    own.write_bytes(film.read_bytes())
    job = make_job(own, analysis=WHOLE, split={"mode": mode, "max_seconds": 1})
    rows = analyzed(job)
    assert [type(row) for row in rows[:2]] == [ProbedVideo, Clip]
    assert len(of(Clip, rows)) == len(of(CaptionedClip, rows)) == 4
    (told_film,) = of(CaptionedVideo, rows)
    assert told_film.num_clips == 4
    assert [result.task for result in of(Analysis, rows)] == ["analysis", "summary", "titles", "mind_map"]
    assert isinstance(rows[-1], AnalysisRecord)
    made = dossier(rows, job).document()
    assert made["state"] == "done"
    assert [(shot["start_ms"], shot["end_ms"]) for shot in made["shots"]] == [
        (at, at + 1000) for at in range(0, 4000, 1000)
    ]
    assert made["results"][1]["text"] == STORY
    assert made["results"][2]["value"] == {"titles": [*TITLES]}
    assert made["results"][3]["value"]["name"] == MAP["name"]
    assert made["usage"]["calls"] == fake.paid.total() == 7

    status = own.stat()
    own.write_bytes(b"\0" * status.st_size)  # who opened it now would fail
    os.utime(own, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = dossier(analyzed(job), job).document()
    assert fake.paid.total() == 7
    assert again["usage"]["cached"] == 7
    assert (again["shots"], again["results"][1]["text"]) == (made["shots"], STORY)

    other = job.model_copy(update={"analysis": job.analysis.model_copy(update={"language": "German"})})
    analyzed(other)
    assert fake.paid.total() == 10, "what is written is written anew, and nothing is looked at again"


def test_what_is_said_is_heard_first(fake: FakeEndpoint, make_job: JobMaker, film: Path, tmp_path: Path) -> None:
    fake.answer = told
    talk = with_sound(film, tmp_path / "talk.mkv", [(1.5, "Then we swim.")])
    fake.sentences = {"Then we swim.": len(spoken("Then we swim.")) / RATE}
    at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None}
    job = make_job(talk, analysis=WHOLE, endpoints={"vlm": at, "llm": at, "speech": at | {"max_attempts": 1}})
    fake.fail_next(Fault.SERVER_ERROR)
    rows = analyzed(job)
    assert [type(row) for row in rows] == [ProbedVideo, Failure]
    assert (rows[1].stage, rows[1].retryable) == ("transcribe", True)
    for _ in range(2):
        rows = analyzed(job)
        assert of(Failure, rows) == []
        (line,) = dossier(rows, job).document()["speech"]
        assert (line["text"], line["source"]) == ("Then we swim.", "endpoint")
        assert line["start_ms"] == pytest.approx(1500, abs=60)
    assert len([asked for asked in fake.requests if "sound" in asked.body]) == 2


def test_who_goes_away_takes_the_work_along(fake: FakeEndpoint, make_job: JobMaker, film: Path) -> None:
    """What is under way comes home and is written down; what waits for its turn is never sent."""
    fake.latency_s = 0.1
    answered: list[float] = []

    def second(_: object) -> bool:
        """The second reply is late enough that the row of the first is taken before it."""
        if fake.asked > 1:
            answered.append(time.monotonic())
        return fake.asked > 1 and time.monotonic() < answered[0] + 1

    fake.hold = second
    job = make_job(film, analysis=WHOLE, split={"max_seconds": 0.5}, endpoint={"max_concurrency": 1})
    assert len(of(Clip, analyzed(job, until=CaptionedClip))) > 2, "they wait for their captions"
    assert fake.asked <= 2
    assert fake.paid.total() == fake.asked
    fake.latency_s, fake.hold = 0, None
    fake.answer = told
    assert dossier(analyzed(job), job).state == "done"
    assert max(fake.paid.values()) == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("split", [{"mode": "fixed"}, {"mode": "scenes"}])
def test_one_decoder_is_enough_for_more_clips_than_places(
    fake: FakeEndpoint, make_job: JobMaker, film: Path, split: dict[str, Any]
) -> None:
    """The process that finds clips must not wait for clips that wait for it."""
    fake.answer = told
    job = make_job(
        film,
        analysis=WHOLE,
        split={**split, "max_seconds": 0.25},
        cut={"mode": "exact"},
        endpoint={"max_concurrency": 1},
        engine={"num_cpus": 1},
    )
    assert len(of(CaptionedClip, analyzed(job))) == 16


def test_failures_are_rows(fake: FakeEndpoint, make_job: JobMaker, film: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    (failure,) = analyzed(make_job(broken, analysis=WHOLE))
    assert isinstance(failure, Failure)
    assert failure.kind == "not_a_video"
    fake.fail_next(Fault.MALFORMED, times=20)
    rows = analyzed(make_job(film, analysis=WHOLE, split={"max_seconds": 4}, endpoint={"max_attempts": 1}))
    assert isinstance(rows[-1], Failure)
    assert rows[-1].retryable


def test_file_batches_without_a_cluster(fake: FakeEndpoint, make_job: JobMaker, tmp_path: Path, film: Path) -> None:
    fake.answer = told
    own = film_of_its_own(film, tmp_path)
    at = {"tier": "batch", "batch_wait_s": 0.5, "batch_poll_s": 0.1}
    job = make_job(own, analysis=WHOLE, split={"mode": "fixed", "max_seconds": 1}, endpoint=at)
    rows = analyzed(job)
    assert isinstance(rows[-1], AnalysisRecord)
    assert (len(of(CaptionedClip, rows)), fake.paid.total(), fake.counts["ok"]) == (4, 7, 0)
    assert max(fake.batches.asked.values()) == 1
    assert dossier(analyzed(job), job).document()["usage"]["cached"] == 7
    assert fake.paid.total() == 7


def film_of_its_own(film: Path, folder: Path) -> Path:
    own = folder / "batched.mp4"
    own.write_bytes(film.read_bytes())
    return own

"""What is said in films, from their subtitles to captions, tables and files; and once known, without opening them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pysubs2
import pytest

from lvqa_ray.config import Job
from lvqa_ray.engine.found import clips_found
from lvqa_ray.engine.run import run
from lvqa_ray.engine.verify import verify
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.book import Book
from lvqa_ray.report.films import films
from lvqa_ray.report.output import Output
from lvqa_ray.report.replay import Replay
from lvqa_ray.report.subtitles import export_subtitles
from tests import media
from tests.conftest import MODEL, tables
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.spoken import Line, srt, with_streams

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(240)]

STREAM: list[Line] = [(200, 1300, "The bridge is closed."), (2500, 2900, "Then we swim.")]
BESIDE: list[Line] = [(100, 400, "Beside the film."), (1500, 1900, "Still here.")]


def turn_into_noise(path: Path) -> None:
    """Another content under the same name, size and time, which is all that a fingerprint looks at."""
    status = path.stat()
    path.write_bytes(os.urandom(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    bare = media.make_video(folder / "silent.mp4", seconds=3, size=(64, 36))
    with_streams(bare, folder / "stream.mkv", [("eng", STREAM)], "subrip")
    (folder / "beside.mp4").write_bytes(bare.read_bytes())
    (folder / "beside.srt").write_text(srt(BESIDE))
    (folder / "broken.mp4").write_bytes(bare.read_bytes())
    (folder / "broken.srt").write_text("nothing of use")
    return folder


def job_of(folder: Path, fake: FakeEndpoint, **settings: Any) -> Job:
    at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None}
    checks = {name: {"policy": "off"} for name in ("blind", "solve", "prose", "structure")}
    return Job.of(
        {
            "videos": [str(folder / name) for name in ("silent.mp4", "stream.mkv", "beside.mp4", "broken.mp4")],
            "output": str(folder / "out"),
            "endpoints": {"vlm": at, "llm": at},
            "split": {"max_seconds": 1.5},
            "sample": {"count": 2, "short_side": 36},
            "ask": {"quota": {"goal": 1}},
            "checks": {"duplicates": {"corpus": False}, **checks},
            **settings,
        }
    )


@pytest.fixture(scope="module")
def done(folder: Path, fake: FakeEndpoint) -> dict[str, list[dict[str, Any]]]:
    job = job_of(folder, fake)
    summary = run(job)
    assert (summary.exit_status, summary.records) == (0, 4), summary
    return tables(job.output)


def test_each_clip_is_asked_about_with_what_is_said_in_it(
    done: dict[str, list[dict[str, Any]]], fake: FakeEndpoint
) -> None:
    asked = [text_of(request.body) for request in fake.requests]
    captions = [text for text in asked if "You see one clip" in text]
    heard = [text for text in captions if "This is said" in text]
    assert (len(captions), len(heard)) == (2 * 4, 4)
    assert sum("\n0.20 s: The bridge is closed.\n\nUse" in text for text in heard) == 1
    assert sum("\n1.50 s: Still here.\n\nUse" in text for text in heard) == 1
    questions = [text for text in asked if "hard multiple-choice" in text]
    assert sum('One hears: "The bridge is closed."' in text for text in questions) == 1
    merged = {row["video_id"]: row["captions"].splitlines() for row in done["data"]}
    assert [line.partition("One hears: ")[2] for line in merged["stream"]] == [
        '"The bridge is closed."',
        '"Then we swim."',
    ]
    assert "hears" not in "".join(merged["silent"] + merged["broken"])


def test_the_table_and_the_files_hold_every_line(
    done: dict[str, list[dict[str, Any]]], folder: Path, tmp_path: Path
) -> None:
    rows = sorted(done["subtitles"], key=lambda row: (row["video_id"], row["index"]))
    assert set(rows[0]) == set(SCHEMAS["subtitles"].names)
    told = [(row["video_id"], row["start_ms"], row["end_ms"], row["text"]) for row in rows]
    assert told == [("beside", *line) for line in BESIDE] + [("stream", *line) for line in STREAM]
    assert [row["source"] for row in rows] == ["sidecar"] * 2 + ["stream"] * 2
    assert [row["language"] for row in rows] == [None, None, "eng", "eng"]
    notes = {row["id"]: row["note"] for row in done["clips"] if row["note"]}
    assert list(notes) == ["broken_0"]
    assert "broken.srt holds no line of text" in notes["broken_0"]
    assert verify(folder / "out").ok
    for form in ("srt", "vtt"):
        made = export_subtitles(Output(folder / "out"), tmp_path / form, form, speech=True)
        assert made.counts == {"all": 2}
        read = pysubs2.load(str(tmp_path / form / f"stream.{form}"))
        assert [(line.start, line.end, line.plaintext) for line in read] == STREAM


def test_the_report_finds_what_was_asked(
    done: dict[str, list[dict[str, Any]]], folder: Path, fake: FakeEndpoint
) -> None:
    output = Output(folder / "out")
    replay = Replay(job_of(folder, fake), Book(output.journal), clips_found(folder / "out"))
    (shown,) = films(output, ["stream"], replay)
    assert [one["stage"] for one in shown["said"]] == ["caption", "caption", "ask", "reformat"]


def test_what_is_known_is_not_read_again_and_a_new_sidecar_is(
    done: dict[str, list[dict[str, Any]]], folder: Path, fake: FakeEndpoint
) -> None:
    """The films are noise by now; the one beside which other subtitles are is opened, and fails."""
    before = len(fake.requests)
    for name in ("silent.mp4", "stream.mkv", "beside.mp4"):
        turn_into_noise(folder / name)
    (folder / "beside.srt").write_text(srt([(0, 500, "Something else."), *BESIDE]))
    summary = run(job_of(folder, fake, ask={"quota": {"plot": 1}}))
    assert summary.failures == {"not_a_video": 1}
    asked = [text_of(request.body) for request in fake.requests[before:]]
    assert not any("You see one clip" in text for text in asked)
    rows = tables(str(folder / "out"))
    assert {row["run_id"] for row in rows["subtitles"]} == {summary.run_id}
    assert [row["text"] for row in sorted(rows["subtitles"], key=lambda row: row["index"])] == [
        text for _, _, text in STREAM
    ]
    assert verify(folder / "out").ok

"""What is said in films, from subtitles or heard, to captions, tables and files; once known, without opening them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pysubs2
import pytest

from lvqa_ray.config import Job
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.verify import verify
from lvqa_ray.engine.run import run
from lvqa_ray.journal.book import Book
from lvqa_ray.journal.found_clips import clips_found
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.films import films
from lvqa_ray.report.replay import Replay
from lvqa_ray.report.subtitle_export import export_subtitles
from lvqa_ray.video.audio.pcm import RATE
from tests import media
from tests.conftest import MODEL, tables
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.spoken import Line, spoken, srt, with_sound, with_streams

pytestmark = pytest.mark.usefixtures("ray_session")

STREAM: list[Line] = [(200, 1300, "The bridge is closed."), (2500, 2900, "Then we swim.")]
SAID = [(0.4, "Then we swim."), (4.2, "The bridge is closed today."), (9.3, "Wait for me over there, please.")]
BESIDE: list[Line] = [(100, 400, "Beside the film."), (1500, 1900, "Still here.")]


FILMS = ("silent.mp4", "stream.mkv", "beside.mp4", "broken.mp4", "talk.mkv")


def turn_into_noise(path: Path) -> None:
    """Another content under the same name, size and time, which is all that a fingerprint looks at."""
    status = path.stat()
    path.write_bytes(os.urandom(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeEndpoint]:
    lengths = {sentence: len(spoken(sentence)) / RATE for _, sentence in SAID}
    with FakeEndpoint(sentences=lengths) as endpoint:
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
    long = media.make_video(folder / "long.mp4", seconds=12, size=(64, 36))
    with_sound(long, folder / "talk.mkv", SAID, offset_s=0.25)
    return folder


def job_of(folder: Path, fake: FakeEndpoint, **settings: Any) -> Job:
    at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None}
    checks = {name: {"policy": "off"} for name in ("blind", "solve", "prose", "structure")}
    return Job.of(
        {
            "videos": [str(folder / name) for name in FILMS],
            "output": str(folder / "out"),
            "endpoints": {"vlm": at, "llm": at, "speech": at | {"price_minute": 0.6}},
            "speech": {"part_minutes": 0.1},
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
    assert (summary.exit_status, summary.records) == (0, 5), summary
    paid = summary.spent["transcribe"]
    assert (paid.calls, paid.unusable) == (3, 0)
    assert paid.cost_usd == pytest.approx(0.01 * sum(round(part["seconds"]) for part in parts_heard(fake)))
    return tables(job.output)


def parts_heard(fake: FakeEndpoint) -> list[dict[str, Any]]:
    return [request.body["sound"] for request in fake.requests if "sound" in request.body]


def test_films_whose_subtitles_are_silent_about_it_are_heard_in_parts(
    done: dict[str, list[dict[str, Any]]], fake: FakeEndpoint
) -> None:
    parts = parts_heard(fake)
    assert [(part["mime"], part["codec"], part["channels"], len(part["spoken"])) for part in parts] == [
        ("audio/ogg", "opus", 1, 1)
    ] * 3
    assert all(0.7 < part["seconds"] <= 6.1 for part in parts)
    lines = sorted((row for row in done["subtitles"] if row["video_id"] == "talk"), key=lambda row: row["index"])
    assert [(row["text"], row["source"], row["language"]) for row in lines] == [
        (sentence, "endpoint", "english") for _, sentence in SAID
    ]
    assert [row["start_ms"] / 1000 for row in lines] == pytest.approx([at for at, _ in SAID], abs=0.06)
    ends = [at + len(spoken(sentence)) / RATE for at, sentence in SAID]
    assert [row["end_ms"] / 1000 for row in lines] == pytest.approx(ends, abs=0.06)
    (merged,) = (row["captions"].splitlines() for row in done["data"] if row["video_id"] == "talk")
    heard = [line.partition("One hears: ")[2].strip('"') for line in merged if "One hears" in line]
    assert heard == [sentence for _, sentence in SAID]


def test_each_clip_is_asked_about_with_what_is_said_in_it(
    done: dict[str, list[dict[str, Any]]], fake: FakeEndpoint
) -> None:
    asked = [text_of(request.body) for request in fake.requests]
    captions = [text for text in asked if "You see one clip" in text]
    heard = [text for text in captions if "This is said" in text]
    # Of the two films that are the same and without usable subtitles, one has its captions from the journal.
    assert (len(captions), len(heard)) == (2 * 3 + 8, 4 + 5)
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
    assert {row["video_id"] for row in done["subtitles"]} == {"stream", "beside", "talk"}


def test_the_table_and_the_files_hold_every_line(
    done: dict[str, list[dict[str, Any]]], folder: Path, tmp_path: Path
) -> None:
    read_there = [row for row in done["subtitles"] if row["source"] != "endpoint"]
    rows = sorted(read_there, key=lambda row: (row["video_id"], row["index"]))
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
        made = export_subtitles(OutputReader(folder / "out"), tmp_path / form, form, speech=True)
        assert made.counts == {"all": 3}
        read = pysubs2.load(str(tmp_path / form / f"stream.{form}"))
        assert [(line.start, line.end, line.plaintext) for line in read] == STREAM


def test_the_report_finds_what_was_asked(
    done: dict[str, list[dict[str, Any]]], folder: Path, fake: FakeEndpoint
) -> None:
    output = OutputReader(folder / "out")
    replay = Replay(job_of(folder, fake), Book(output.journal), clips_found(folder / "out"))
    (shown,) = films(output, ["stream"], replay)
    assert [one["stage"] for one in shown["said"]] == ["caption", "caption", "ask", "reformat"]


def test_what_is_known_is_not_read_again_and_a_new_sidecar_is(
    done: dict[str, list[dict[str, Any]]], folder: Path, fake: FakeEndpoint
) -> None:
    """The films are noise by now; the one beside which other subtitles are is opened, and fails."""
    before = len(fake.requests)
    for name in ("silent.mp4", "stream.mkv", "beside.mp4", "talk.mkv"):
        turn_into_noise(folder / name)
    (folder / "beside.srt").write_text(srt([(0, 500, "Something else."), *BESIDE]))
    summary = run(job_of(folder, fake, ask={"quota": {"plot": 1}}))
    assert summary.failures == {"not_a_video": 1}
    asked = [text_of(request.body) for request in fake.requests[before:]]
    assert not any("You see one clip" in text for text in asked)
    assert not any("sound" in request.body for request in fake.requests[before:])
    rows = tables(str(folder / "out"))
    assert {row["run_id"] for row in rows["subtitles"]} == {summary.run_id}
    assert sorted(row["text"] for row in rows["subtitles"]) == sorted(
        [text for _, _, text in STREAM] + [sentence for _, sentence in SAID]
    )
    assert verify(folder / "out").ok

"""What is written down is not decoded for again: here the videos are noise by the time of the second run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.engine.run import run
from lvqa_ray.journal.book import Book
from lvqa_ray.journal.found_clips import ClipIndex, clips_folder, clips_of, compact, index_of, written
from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.records import Clip, Frame, Span, Video, VideoInfo
from lvqa_ray.report.films import films
from lvqa_ray.report.replay import Replay
from tests import media
from tests.conftest import JobMaker
from tests.fakes.answers import media_urls
from tests.fakes.endpoint import FakeEndpoint

VIDEO = Video(id="v", uri="/v.mp4", fingerprint="f")
INFO = VideoInfo(num_frames=250, height=90, width=160, fps=25, duration_sec=10)


def clips(count: int = 3) -> list[Clip]:
    return [
        Clip(
            video=VIDEO,
            info=INFO,
            index=n,
            span=Span(start_s=n / 3, end_s=(n + 1) / 3),
            last=n == count - 1,
            dropped="frames_min" if n == 1 else "",
            frames=() if n == 1 else (Frame(time_s=n / 3 + 0.1, jpeg=b""),),
            lost_s=0.25 * n,
            identity=f"i{n}",
        )
        for n in range(count)
    ]


def test_clips_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert clips_of(VIDEO, written(clips())) == clips()
    found = ClipIndex(tmp_path, "recipe", "run", lambda: index_of(clips_folder(tmp_path)))
    found.put(VIDEO, clips())
    found.put(replace(VIDEO, fingerprint="g"), clips()[:2])  # stopped in the middle: not all were found
    with next((tmp_path / "clips").iterdir()).open("ab") as torn:
        torn.write(b'{"key":"00')
    ClipIndex(tmp_path, "recipe", "later", lambda: KeyIndex.of({})).put(VIDEO, clips())  # a second worker was at it
    copy = replace(VIDEO, id="w", uri="/w.mp4")
    assert found.get(copy) == [replace(clip, video=copy) for clip in clips()]
    size = sum(path.stat().st_size for path in clips_folder(tmp_path).iterdir())
    for _ in range(2):
        compact(clips_folder(tmp_path))
    (segment,) = clips_folder(tmp_path).iterdir()
    assert segment.stat().st_size < size / 1.9
    assert found.get(copy) == [replace(clip, video=copy) for clip in clips()]
    assert found.get(replace(VIDEO, fingerprint="g")) is None
    other = ClipIndex(tmp_path, "another recipe", "run", lambda: index_of(clips_folder(tmp_path)))
    assert other.get(VIDEO) is None


def test_an_index_finds_what_it_was_made_of() -> None:
    places = {bytes([n, 255 - n] * 16): (f"s{n % 3}", 10 * n, n) for n in range(256)}
    index = KeyIndex.of(places)
    assert len(index) == 256
    assert all(index.place(key.hex()) == place for key, place in places.items())
    assert index.place(bytes([1, 1] * 16).hex()) is None
    assert KeyIndex.of({}).place("00" * 32) is None


def turn_into_noise(path: Path) -> None:
    """Another content under the same name, size and time, which is all that a fingerprint looks at."""
    status = path.stat()
    path.write_bytes(os.urandom(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def stop_after(fake: FakeEndpoint, captions: int) -> None:
    def answer(body: dict[str, Any]) -> None:
        if sum(fake.paid.values()) + 1 >= captions:
            fake.api_key = "another key"

    fake.answer, fake.api_key = answer, None


def stopped_after(captions: int, job: Job, fake: FakeEndpoint) -> None:
    stop_after(fake, captions)
    assert run(job).unfinished == 1
    assert sum(fake.paid.values()) == len(fake.paid) == captions
    fake.answer = fake.api_key = None


def captioned_once(job: Job, fake: FakeEndpoint, calls: int = 6 + 2) -> list[dict[str, Any]]:
    summary = run(job)
    assert (summary.records, sum(fake.paid.values())) == (1, calls)
    rows = sorted(read_rows(Path(job.output), "clips"), key=lambda row: row["index"])
    assert len(rows) == 6
    assert all(row["caption"] for row in rows)
    assert all(media_urls(request.body) for request in fake.requests[:6])
    return rows


@pytest.mark.usefixtures("ray_session")
def test_a_video_whose_captions_are_paid_is_not_opened(make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=6, scenes=(1.4, 3.0))
    scenes = {"mode": "scenes", "max_seconds": 1.0}
    checks: dict[str, Any] = {name: {"policy": "off"} for name in ("duplicates", "blind", "solve", "prose")}
    job = make_job(
        film,
        split=scenes,
        sample={"count": 8, "short_side": 64},
        endpoint={"max_concurrency": 1},
        ask={"frames": 3},
        checks=checks | {"evidence": {"policy": "mark", "frames": 2}},
    )
    steps = 2
    stopped_after(6 + 1 + steps, job, fake)
    assert [len(media_urls(request.body)) for request in fake.requests] == [*6 * [8], 3, *steps * [2], 0]
    turn_into_noise(film)
    rows = captioned_once(job, fake, calls=6 + 1 + steps + 1)
    assert [row["usage"]["cached"] for row in rows] == 6 * [1]
    (record,) = read_rows(Path(job.output), "data")
    (evidence,) = [one for one in record["checks"] if one["check"] == "evidence"]
    assert (evidence["calls"], evidence["passed"]) == (steps, True)


def test_what_was_cut_and_paid_is_not_done_again(make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=6)
    shows = {"cut": {"mode": "exact"}, "caption": {"media": "video"}}
    job = make_job(film, split={"max_seconds": 1.0}, endpoint={"max_concurrency": 1}, **shows)
    stopped_after(3, job, fake)
    rows = captioned_once(job, fake)
    assert sum(row["usage"]["cached"] for row in rows) == 3
    assert all(Path(row["media_path"]).exists() and row["media_end"] > row["media_start"] for row in rows)
    notes = (Path(job.output) / "media" / "film" / ".cuts.jsonl").read_text().split()
    assert len(notes) == 6, "each was cut once"

    output = OutputReader(Path(job.output))
    (shown,) = films(output, ["film"], Replay(job, Book(output.journal)))
    assert [one["stage"] for one in shown["said"]][:6] == ["caption"] * 6
    assert "The clip shows the video from 1.00 s to 2.00 s" in str(shown["said"][1]["messages"])

"""Videos on a real S3 server and behind URLs go through the whole run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lvqa_ray.engine.manifest import read_manifest
from lvqa_ray.engine.probing import probed
from lvqa_ray.engine.run import run
from lvqa_ray.engine.tables import read_rows
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import Failure, ProbedVideo, Video
from tests import media
from tests.conftest import JobMaker
from tests.fakes.files import FileServer, bucket, s3_server

SECRET = "abc123"  # noqa: S105 - made up
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with s3_server(tmp_path_factory.mktemp("weed")) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        films = bucket(there)
        films.mkdir("films")
        folder = tmp_path_factory.mktemp("made")
        for name in ("one", "two"):
            path = media.make_video(folder / f"{name}.mp4", seconds=2, scenes=(1.0,))
            films.put_file(str(path), f"films/long/{name}.mp4")
        films.pipe_file("films/long/notes.txt", b"no video")
        yield there


def test_a_prefix_a_pattern_and_an_object_are_videos(s3: Mapping[str, str]) -> None:
    videos = read_manifest(["s3://films/long/"])
    assert [video.uri for video in videos] == ["s3://films/long/one.mp4", "s3://films/long/two.mp4"]
    assert read_manifest(["s3://films/long/*.mp4"]) == videos
    assert read_manifest(["s3://films/long/two.mp4"]) == videos[1:]
    assert len({video.fingerprint for video in videos}) == 2


def test_a_bucket_that_is_not_there_is_one_sentence(s3: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError, match="s3://nowhere/"):
        read_manifest(["s3://nowhere/"])


def test_a_run_reads_s3_and_urls_once_and_tells_no_signature(
    s3: Mapping[str, str], ray_session: None, make_job: JobMaker, tmp_path: Path
) -> None:
    with FileServer() as server:
        server.files["/web.mp4"] = media.make_video(tmp_path / "web.mp4", seconds=2, scenes=(1.0,)).read_bytes()
        server.files["/noise.mp4"] = b"no video at all" * 100
        server.troubles["/web.mp4"] = ["drop"]
        manifest = tmp_path / "m.jsonl"
        uris = [f"{server.url}/{name}.mp4?X-Amz-Signature={SECRET}" for name in ("web", "noise", "gone")]
        manifest.write_text("".join(json.dumps({"video": uri}) + "\n" for uri in (*uris, "s3://films/long/one.mp4")))
        scratch = tmp_path / "scratch"
        job = make_job(
            manifest,
            "s3://films/long/two.mp4",
            (tmp_path / "web.mp4").as_uri(),
            split={"max_seconds": 1.0},
            engine={"num_cpus": 2, "scratch_dir": str(scratch)},
        )
        summary = run(job)  # by workers that have never heard of this server
        assert summary.failures == {"not_a_video": 1, "missing_file": 1}
        assert (summary.records, summary.exit_status) == (4, 0)
        assert (server.gets["/web.mp4"], server.gets["/noise.mp4"]) == (2, 1)
    assert len([path for path in scratch.iterdir() if path.suffix == ".mp4"]) == 4
    output = Path(job.output)
    rows = {row["id"]: row["video"] for row in read_rows(output, "data")}
    assert rows["one"] == "s3://films/long/one.mp4"
    messages = {row["id"]: row["message"] for row in read_rows(output, "failures")}
    assert messages["noise"].startswith(f"{server.url}/noise.mp4 is not a video")
    assert SECRET not in "".join(
        map(str, [row for table in ("data", "clips", "failures") for row in read_rows(output, table)])
    )
    assert SECRET not in (output / "run.json").read_text()
    assert all(SECRET.encode() not in path.read_bytes() for path in output.rglob("*") if path.is_file())


@pytest.mark.parametrize("in_parts", [True, False])
def test_a_dry_run_reads_no_more_than_it_needs_to_know(in_parts: bool, make_job: JobMaker, tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=2, scenes=(1.0,)).read_bytes()
    index, padding = film.rindex(b"moov") - 4, 40 * 2**20
    with FileServer() as server:
        server.in_parts = in_parts
        server.files["/long.mp4"] = film[:index] + padding.to_bytes(4) + b"free" + bytes(padding - 8) + film[index:]
        server.files["/noise.mp4"] = b"no video at all" * 100
        scratch = {"num_cpus": 2, "scratch_dir": str(tmp_path / "scratch")}
        uris = [f"{server.url}/{name}.mp4" for name in ("long", "noise", "gone")]
        job = make_job(uris[0], engine=scratch)
        found = probed(job, [Video(id=name, uri=uri, fingerprint="1") for name, uri in zip("abc", uris, strict=True)])
    assert isinstance(found[0], ProbedVideo)
    assert found[0].info.duration_sec == pytest.approx(2)
    assert found[0].video.uri == uris[0]
    assert [row.kind for row in found[1:] if isinstance(row, Failure)] == ["not_a_video", "missing_file"]
    assert (server.sent < 3 * 2**20) is in_parts

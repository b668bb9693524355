"""Videos on a real S3 server and behind URLs go through the whole run."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import ray

from lvqa_ray.cli.commands import app
from lvqa_ray.config import Job
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.dataset.failures import by_kind
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.dataset.verify import verify
from lvqa_ray.engine.local.analysis_store import AnalysisStore
from lvqa_ray.engine.preflight.corpus_probe import probed
from lvqa_ray.engine.preflight.validation import check_output
from lvqa_ray.engine.run import run
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import Failure, ProbedVideo, Video
from lvqa_ray.storage.lease import Lease, LeaseTakenError, ObjectLeaseStore
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.paths import ObjectPath, storage_path
from lvqa_ray.storage.remote import file_status, list_files
from lvqa_ray.storage.remote import list_names as right_below
from lvqa_ray.storage.run_lock import run_lock
from tests import media
from tests.command import cells, lvqa
from tests.conftest import JobMaker
from tests.engine.test_analysis_store import document
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.files import FileServer, bucket, s3_server
from tests.storm.storm import Run, job_file

SECRET = "abc123"  # noqa: S105 - made up
OUT = "s3://films/out"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with s3_server(tmp_path_factory.mktemp("weed")) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        films = bucket(there)
        films.mkdir("films")
        folder = tmp_path_factory.mktemp("made")
        # Not alike, or what is asked about both would look as if it were paid twice.
        for name, cut_s in (("one", 1.0), ("two", 0.6)):
            path = media.make_video(folder / f"{name}.mp4", seconds=2, scenes=(cut_s,))
            films.put_file(str(path), f"films/long/{name}.mp4")
        films.pipe_file("films/long/notes.txt", b"no video")
        yield there


def test_a_prefix_a_pattern_and_an_object_are_videos(s3: Mapping[str, str]) -> None:
    videos = read_manifest(["s3://films/long/"])
    assert [video.uri for video in videos] == ["s3://films/long/one.mp4", "s3://films/long/two.mp4"]
    assert read_manifest(["s3://films/long/*.mp4"]) == videos
    assert read_manifest(["s3://films/long/two.mp4"]) == videos[1:]
    assert len({video.fingerprint for video in videos}) == 2


def test_a_long_listing_comes_page_by_page(s3: Mapping[str, str]) -> None:
    names = [f"film{number:04d}" for number in range(5)]
    bucket(s3).pipe({f"films/many/{name}.mp4": b"x" for name in names})
    files = list_files("s3://films/many", StorageOptions.here(), page=2)
    assert isinstance(files, Iterator)
    found = list(files)
    assert [Path(file.uri).stem for file in found] == names
    assert found[-1] == file_status(found[-1].uri, StorageOptions.here()), (
        "a listing and a header write times in two ways"
    )
    bucket(s3).pipe({f"films/many/{name}/x": b"x" for name in ("film0002-a", "z")} | {"films/many/a": b"x"})
    both = sorted(["a", "film0002-a", "z", *(f"{name}.mp4" for name in names)])
    assert list(right_below("s3://films/many/", StorageOptions.here(), page=2)) == both
    assert [path.name for path in storage_path("s3://films/many").iterdir()] == both
    assert not list(storage_path("s3://films/none").iterdir())


def test_documents_in_a_bucket_are_found_again_and_forgotten(s3: Mapping[str, str]) -> None:
    kept = AnalysisStore(storage_path("s3://films/served"), kept_days=7)
    young, other, old = document("young", 1), document("other", 1) | {"task": "u"}, document("old", 8)
    for each in (young, other, old):
        kept.save(each)
    assert (kept.find("other"), kept.find("old"), kept.of("t")) == (other, None, [young])
    assert (kept.forget(), kept.forget()) == (1, 0)
    assert len(bucket(s3).find("films/served")) == 2


@pytest.mark.parametrize("prefix", ["", "one.mp4"])
def test_a_bucket_that_is_not_there_is_one_sentence(s3: Mapping[str, str], prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"s3://nowhere.*there is no such bucket"):
        read_manifest([f"s3://nowhere/{prefix}"])


def test_videos_of_which_none_can_be_reached_are_said_before_anything_is_done(
    s3: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ["s3://films/long/one.mp4", "s3://films/long/nothing.mp4"]
    assert [bool(video.fingerprint) for video in read_manifest(named)] == [True, False]
    assert not read_manifest(named[1:])[0].fingerprint, "one that is missing is a failure of its own"
    # SeaweedFS looks at this machine's clock, and botocore writes it into what it signs.
    late = datetime.now(UTC) - timedelta(hours=2)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: late)
    with pytest.raises(ConfigError, match=r"^s3://films/long: the clock of this machine is too far from the store's"):
        read_manifest(named)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    """A film behind a URL whose first transfer breaks off, and a file that is none."""
    with FileServer() as there:
        there.files["/web.mp4"] = media.make_video(tmp_path / "web.mp4", seconds=2, scenes=(1.0,)).read_bytes()
        there.files["/noise.mp4"] = b"no video at all" * 100
        there.troubles["/web.mp4"] = ["", "drop"]
        yield there
        # One more each: the content of a new file is asked for in parts, which this server does not give.
        assert (there.gets["/web.mp4"], there.gets["/noise.mp4"]) == (3, 2)


@pytest.fixture
def job(s3: Mapping[str, str], server: FileServer, make_job: JobMaker, tmp_path: Path) -> Job:
    """Two films in a bucket, one behind a URL and one here, and two that are none; the output is a bucket."""
    uris = [f"{server.url}/{name}.mp4?X-Amz-Signature={SECRET}" for name in ("web", "noise", "gone")]
    lines = [json.dumps({"video": uri}) for uri in (*uris, "long/one.mp4")]
    bucket(s3).pipe_file("films/films.jsonl", "\n".join(lines).encode())
    return make_job(
        "s3://films/films.jsonl",
        "s3://films/long/two.mp4",
        (tmp_path / "web.mp4").as_uri(),
        output=OUT,
        storage={"endpoint_url": s3["AWS_ENDPOINT_URL"], "path_style": True},
        endpoint={"requests_per_day": 1000},
        split={"max_seconds": 1.0},
        cut={"mode": "copy"},
        engine={"num_cpus": 2, "scratch_dir": str(tmp_path / "scratch")},
    )


def test_a_run_from_buckets_and_urls_into_a_bucket(
    s3: Mapping[str, str],
    ray_session: None,
    server: FileServer,
    job: Job,
    fake: FakeEndpoint,
    *,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    scratch = Path(job.engine.scratch_dir)
    summary = run(job)  # by workers that have never heard of this server
    assert (summary.records, summary.exit_status) == (4, 0)
    assert summary.failures == {"not_a_video": 1, "missing_file": 1}
    assert sum(stage.calls for stage in summary.spent.values()) == fake.paid.total()
    assert {path.suffix for path in scratch.iterdir()} == {".mp4", ""}
    assert not list(scratch.with_name("scratch-media").rglob("*.mp4"))

    place = storage_path(OUT)
    rows = {row["video_id"]: row["video"] for row in read_rows(place, "data")}
    assert rows["one"] == "s3://films/long/one.mp4"
    for row in read_rows(place, "clips"):
        assert row["media_path"].startswith(f"{OUT}/media/")
        assert bucket(s3).info(row["media_path"])["size"] > 1000
    messages = {row["id"]: row["message"] for row in read_rows(place, "failures")}
    assert "noise.mp4 is not a video" in messages["noise"]
    files = bucket(s3)
    content = b"".join(files.cat_file(name) for name in files.find(OUT))
    assert not any(secret.encode() in content for secret in (SECRET, s3["AWS_SECRET_ACCESS_KEY"]))
    assert not [name for name in files.find(OUT) if ".lease" in name or ".clock" in name or ".writable" in name]

    again = run(job)
    assert (again.already_done, again.spent, again.verdict.ok) == (6, {}, True)
    assert verify(place).ok
    assert {kind.kind for kind in by_kind(place)} == {"not_a_video", "missing_file"}
    assert said(capsys, "verify", OUT).startswith("Verified: 4 with records + 2 failed")
    assert "missing_file" in said(capsys, "failures", OUT)
    said(capsys, "cache", "compact", OUT)

    # Who is not told by the environment where the store is takes the job file, which says it.
    here = scratch.with_name("job.yaml")
    here.write_bytes((place / "job.yaml").read_bytes())
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert said(capsys, "report", str(here)).strip() == f"{OUT}/report.html"
    packed = re.findall(rb'id="film-\d+">([^<]+)<', files.cat_file(f"{OUT}/report.html"))
    films = [json.loads(zlib.decompress(base64.b64decode(one))) for one in packed]
    told = {film["id"]: sorted(exchange["stage"] for exchange in film["said"]) for film in films}
    assert told["one"] == ["ask", "caption", "caption", "reformat"], {film["id"]: film["unsaid"] for film in films}
    assert "4 (100.0 %)" in said(capsys, "audit", str(here))

    # One that has come meanwhile is done, in the bucket, and nothing else.
    # Not a copy of another: what is asked about a copy can come from the cache.
    new = media.make_video(scratch.with_name("gone.mp4"), seconds=2, scenes=(0.4,))
    server.files["/gone.mp4"] = new.read_bytes()
    paid = fake.paid.total()
    said(capsys, "retry", str(here), "--kind", "missing_file")
    assert paid < fake.paid.total() <= paid + 4
    said(capsys, "export", str(here), "--to", str(scratch / "out.json"))
    assert len(json.loads((scratch / "out.json").read_text())) == 5
    shown = said(capsys, "preview", str(here), "-n", "2")
    options = re.findall(r"^  [* ] A\. ", shown, flags=re.MULTILINE)  # a star marks the key, which is another each time
    assert (shown.count("/web.mp4"), len(options)) == (1, 1), "of the first two videos one has a question"


def said(capsys: Any, *words: str) -> str:
    """What a command prints."""
    app(words, standalone_mode=False)
    return str(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("output", "settings", "sentence"),
    [
        ("s3://nowhere/out", {}, "there is no such bucket"),
        ("s3://films/out", {"AWS_ACCESS_KEY_ID": "another"}, "does not know this access key"),
        ("s3://films/out", {"AWS_SECRET_ACCESS_KEY": "another"}, "refuses the signature"),
        ("s3://films/out", {"AWS_ACCESS_KEY_ID": "reader"}, "not open to these credentials"),
    ],
)
def test_a_bucket_that_cannot_be_written_is_one_sentence(
    s3: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, output: str, settings: Mapping[str, str], sentence: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=sentence) as raised:
        check_output(storage_path(output))
    assert "another" not in str(raised.value)


def test_one_run_at_a_time_holds_a_bucket(s3: Mapping[str, str]) -> None:
    place = storage_path("s3://films/held")
    assert isinstance(place, ObjectPath)
    elsewhere = Lease(host="far", pid=1, kernel="other", token="t")  # noqa: S106 - no secret
    held = ObjectLeaseStore(place).put(elsewhere, None)
    with pytest.raises(LeaseTakenError):
        ObjectLeaseStore(place).put(Lease.mine(), None)
    with pytest.raises(ConfigError, match="process 1 on far"), run_lock(place):
        pass
    time.sleep(2)  # the store tells whole seconds
    with run_lock(place, expires_s=0.5) as hold:
        with pytest.raises(LeaseTakenError):
            ObjectLeaseStore(place).renew(held)
        with pytest.raises(ConfigError, match="in use by process"), run_lock(place):
            pass
        assert not hold.lost
    assert ObjectLeaseStore(place).latest() is None
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    ObjectLeaseStore(place).put(replace(Lease.mine(), pid=int(dead.stdout)), None)
    with run_lock(place):  # of a process of this machine that is gone: without a wait
        pass


def test_an_upload_that_was_broken_off_leaves_nothing(s3: Mapping[str, str]) -> None:
    files = bucket(s3)

    def begin() -> None:
        at = {"Bucket": "films", "Key": "torn/data/a.parquet"}
        begun = files.call_s3("create_multipart_upload", **at)
        files.call_s3("upload_part", **at, UploadId=begun["UploadId"], PartNumber=1, Body=b"x")

    def left() -> Any:
        return files.call_s3("list_multipart_uploads", Bucket="films", Prefix="torn/").get("Uploads")

    begin()
    assert left()
    with run_lock(storage_path("s3://films/torn")):
        assert not left(), "of a run that died"
        begin()
    assert not left(), "of a worker that died in this run"
    assert not storage_path("s3://films/torn").exists()


def test_a_killed_run_goes_on_in_its_bucket(s3: Mapping[str, str], ray_session: None, tmp_path: Path) -> None:
    with FakeEndpoint(latency_s=0.5) as fake:
        path = job_file(
            tmp_path,
            fake,
            ["s3://films/long/"],
            output="s3://films/killed",
            endpoint={"max_concurrency": 2},
            cut={"mode": "copy"},
        )
        with Run(path, cluster=str(ray.get_runtime_context().gcs_address)) as killed:
            assert killed.wait_until(
                lambda: (
                    fake.paid.total() >= 4
                    and bool(bucket(s3).glob("films/killed/cache/*.jsonl"))
                    and bool(bucket(s3).glob("films/killed/cache/files/*.jsonl"))
                )
            )
            killed.signal(signal.SIGKILL)
            killed.end()
        time.sleep(1)  # the store tells whole seconds
        before = {
            name: info["LastModified"] for name, info in bucket(s3).find("films/killed/media", detail=True).items()
        }
        summary = run(Job.load(path))
        assert (summary.records, summary.exit_status) == (2, 0)
        # What was under way, and what was answered in the second before that.
        assert sum(times - 1 for times in fake.paid.values()) <= 2 + 2 * 2
        clips = list(read_rows(storage_path("s3://films/killed"), "clips"))
        assert all(bucket(s3).info(row["media_path"])["size"] > 1000 for row in clips)
        names = {row["media_path"].removeprefix("s3://") for row in clips if row["usage"]["cached"]}
        same = [name for name in names if before.get(name) == bucket(s3).info(name)["LastModified"]]
        assert len(same) >= max(1, len(names) - 3), "what is paid and kept is not cut again"
        objects = bucket(s3).find("films/killed")
        anew = lvqa("plan", path, "--fresh")
        assert anew.returncode == 0, anew.stderr
        assert "Starting over in s3://films/killed-2. s3://films/killed stays as it is" in anew.stderr
        assert cells(anew.stdout)["already done"] == "0"
        assert bucket(s3).find("films/killed") == objects


@pytest.mark.parametrize("in_parts", [True, False])
def test_a_dry_run_reads_no_more_than_it_needs_to_know(in_parts: bool, make_job: JobMaker, tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=2, scenes=(1.0,)).read_bytes()
    index, padding = film.rindex(b"moov") - 4, 40 * 2**20
    with FileServer() as server:
        server.in_parts = in_parts
        server.files["/long.mp4"] = film[:index] + padding.to_bytes(4) + b"free" + bytes(padding - 8) + film[index:]
        server.files["/noise.mp4"] = b"no video at all" * 100
        scratch = {"num_cpus": 2, "scratch_dir": str(tmp_path / "scratch")}
        uris = [f"{server.url}/{name}.mp4?sig={SECRET}" for name in ("long", "noise", "gone")]
        job = make_job(uris[0], engine=scratch)
        found = probed(job, [Video(id=name, uri=uri, fingerprint="1") for name, uri in zip("abc", uris, strict=True)])
    assert isinstance(found[0], ProbedVideo)
    assert found[0].info.duration_sec == pytest.approx(2)
    assert found[0].video.uri == uris[0]
    assert [row.kind for row in found[1:] if isinstance(row, Failure)] == ["not_a_video", "missing_file"]
    assert not any(SECRET in row.message for row in found if isinstance(row, Failure))
    assert (server.sent < 3 * 2**20) is in_parts

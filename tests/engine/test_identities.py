"""A film is its content: where it is, and when it was written, only spares the read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.corpus import content
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.identities import FILE, Identities
from lvqa_ray.dataset.outcomes import outcomes
from lvqa_ray.dataset.resume import RerunReason, remaining
from lvqa_ray.dataset.shards import read_shard
from lvqa_ray.dataset.stored_manifest import store_manifest, with_stable_ids
from lvqa_ray.storage.options import StorageOptions
from tests.dataset.test_resume import line, put
from tests.fakes.files import FileServer, bucket, s3_server


def write(path: Path, head: bytes = b"", middle: bytes = b"", tail: bytes = b"", size: int = 3 * 2**20) -> Path:
    """A file of some MB that differs from others in one place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytearray(os.urandom(1) * size) if not (head or middle or tail) else bytearray(size)
    data[: len(head)] = head
    data[size // 2 // 2**20 * 2**20 :][: len(middle)] = middle
    at = (size - content.WINDOW) // 2 // content.WHOLE * content.WHOLE
    data[at : at + len(middle)] = middle
    data[size - len(tail) :] = tail
    path.write_bytes(data)
    return path


def planned(out: Path, *sources: Path | str) -> Videos:
    """The videos as a run has them before it begins; nothing is written."""
    done = outcomes(out)
    videos = Identities(out, done).identify(read_manifest([str(source) for source in sources]), StorageOptions.here())
    return with_stable_ids(videos, done, out)


def done(out: Path, *sources: Path | str, job_hash: str = "j") -> Videos:
    """Give every video a record, as a run would."""
    so_far = outcomes(out)
    identities = Identities(out, so_far)
    named = read_manifest([str(source) for source in sources])
    videos = with_stable_ids(identities.identify(named, StorageOptions.here()), so_far, out)
    store_manifest(out, videos, job_hash)
    identities.store()
    rows = [
        line(
            video.id,
            0,
            id=f"{video.id}_q0",
            video=video.uri,
            fingerprint=video.fingerprint,
            input_hash=video.input_hash,
            job_hash=job_hash,
        )
        for video in videos
    ]
    put(out, "data", "-".join(video.id for video in videos), *rows)
    return videos


def left(out: Path, videos: Videos) -> list[RerunReason]:
    return [reason.why for reason in remaining(videos, outcomes(out), "j").reasons]


def changed_time(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write(tmp_path / "a/film.mp4", b"head", b"middle", b"tail")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize("how", ["touched", "moved", "renamed", "copied", "restored", "linked"])
def test_the_same_content_is_the_same_film(film: Path, out: Path, tmp_path: Path, how: str) -> None:
    (before,) = done(out, film)
    match how:
        case "touched":
            changed_time(film)
            there = film
        case "moved":
            there = tmp_path / "b/film.mp4"
            there.parent.mkdir()
            film.rename(there)
        case "renamed":
            there = film.rename(film.with_name("other.mp4"))
        case "copied":
            there = Path(shutil.copyfile(film, tmp_path / "film.mp4"))
        case "restored":  # under its old name, with a time of its own
            data = film.read_bytes()
            film.unlink()
            film.write_bytes(data)
            changed_time(film)
            there = film
        case _:
            there = tmp_path / "linked.mp4"
            os.link(film, there)
    now = planned(out, there)
    assert (now[0].id, now[0].fingerprint, left(out, now)) == (before.id, before.fingerprint, [])


@pytest.mark.parametrize("where", ["head", "middle", "tail", "size"])
def test_a_changed_file_is_new_work_under_its_id(film: Path, out: Path, where: str) -> None:
    (before,) = done(out, film)
    parts: dict[str, Any] = {"head": b"head", "middle": b"middle", "tail": b"tail"}
    write(film, **(parts | ({"size": 3 * 2**20 + 1} if where == "size" else {where: b"other"})))
    changed_time(film)
    (now,) = videos = planned(out, film)
    assert now.id == before.id
    assert now.fingerprint != before.fingerprint
    assert left(out, videos) == [RerunReason.FILE]


def test_a_small_file_is_hashed_as_a_whole(tmp_path: Path) -> None:
    one, other = (tmp_path / name for name in ("a.mp4", "b.mp4"))
    one.write_bytes(bytes(500_000))
    other.write_bytes(bytes(100_000) + b"!" + bytes(399_999))
    assert len(set(content.contents([os.fsencode(one), os.fsencode(other)], StorageOptions.here()))) == 2


def test_files_that_are_known_are_not_read(film: Path, out: Path) -> None:
    (before,) = done(out, film)
    status = film.stat()
    write(film, b"other")  # a change that only a read would show
    os.utime(film, ns=(status.st_atime_ns, status.st_mtime_ns))
    (now,) = videos = planned(out, film)
    assert (now.fingerprint, left(out, videos)) == (before.fingerprint, [])


def test_nothing_is_written_where_nothing_is_new(film: Path, out: Path) -> None:
    done(out, film)
    before = (out / FILE).stat().st_mtime_ns
    done(out, film)
    assert (out / FILE).stat().st_mtime_ns == before
    assert read_shard(out / FILE).num_rows == 1


def test_files_that_are_empty_or_missing_are_no_copies_of_each_other(out: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    gone = tmp_path / "gone.jsonl"
    gone.write_text('{"video": "/nowhere/x.mp4"}\n{"video": "/nowhere/y.mp4"}\n')
    a, b, x, y = done(out, tmp_path / "a.mp4", tmp_path / "b.mp4", gone)
    assert a.fingerprint != b.fingerprint
    assert (x.fingerprint, y.fingerprint) == ("", "")
    assert left(out, planned(out, tmp_path / "a.mp4", tmp_path / "b.mp4")) == []


def test_two_copies_in_one_corpus_have_an_id_each_and_keep_it(film: Path, out: Path, tmp_path: Path) -> None:
    second = tmp_path / "b/film.mp4"
    second.parent.mkdir()
    shutil.copyfile(film, second)
    one, two = done(out, film, second)
    assert one.fingerprint == two.fingerprint
    assert one.id != two.id
    there = tmp_path / "elsewhere"
    shutil.move(tmp_path / "a", there / "a")
    shutil.move(tmp_path / "b", there / "b")
    now = planned(out, there)
    assert {video.id for video in now} == {one.id, two.id}
    assert left(out, now) == []


def test_a_copy_that_joins_takes_no_id(film: Path, out: Path, tmp_path: Path) -> None:
    (before,) = done(out, film)
    shutil.copyfile(film, tmp_path / "copy.mp4")
    videos = planned(out, tmp_path / "copy.mp4", film)
    assert [video.id for video in videos] == ["copy", before.id]
    assert left(out, videos) == [RerunReason.NEW]


def test_files_that_change_places_keep_their_ids(out: Path, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.mp4", b"a"), write(tmp_path / "b.mp4", b"b")
    done(out, a, b)
    a.rename(tmp_path / "c.mp4")
    b.rename(a)
    (tmp_path / "c.mp4").rename(b)
    videos = planned(out, a, b)
    assert [(Path(video.uri).name, video.id) for video in videos] == [("a.mp4", "b"), ("b.mp4", "a")]
    assert left(out, videos) == []


def test_a_new_file_under_the_name_of_one_that_moved_gets_an_id_of_its_own(
    film: Path, out: Path, tmp_path: Path
) -> None:
    (before,) = done(out, film)
    moved = tmp_path / "b.mp4"
    film.rename(moved)
    write(film, b"another")
    new, old = planned(out, film, moved)
    assert old.id == before.id
    assert new.id.startswith("film-")


def test_a_download_is_the_film_of_the_server_and_the_other_way_round(film: Path, out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with FileServer() as server:
        server.in_parts = True
        server.files["/film.mp4"] = film.read_bytes()
        (far,) = done(out, f"{server.url}/film.mp4")
        (near,) = videos = planned(out, film)
        assert (near.id, near.fingerprint, left(out, videos)) == (far.id, far.fingerprint, [])
        (near,) = done(other, film)
        (far,) = videos = planned(other, f"{server.url}/film.mp4?signature=1")
        assert (far.id, far.fingerprint, left(other, videos)) == (near.id, near.fingerprint, [])
        asked = server.gets.total()
        done(out, f"{server.url}/film.mp4?signature=2")
        assert server.gets.total() == asked, "its address, size and version are known"
        server.in_parts = False
        server.files["/whole.mp4"] = film.read_bytes()
        (whole,) = planned(out, f"{server.url}/whole.mp4")
        assert whole.fingerprint not in ("", far.fingerprint)
        assert server.gets["/whole.mp4"] <= 2, "an answer with the whole file is given up"


def test_a_film_in_a_bucket_is_the_one_on_the_disk(tmp_path: Path, out: Path) -> None:
    film, multipart = write(tmp_path / "film.mp4", b"head", size=12 * 2**20), 5 * 2**20
    (weed := tmp_path / "weed").mkdir()
    with s3_server(weed) as there:
        files = bucket(there)
        for name in ("films", "others"):
            files.mkdir(name)
        files.put_file(str(film), "films/film.mp4")
        files.put_file(str(film), "others/long/film.mp4", chunksize=multipart, max_concurrency=1)
        access = StorageOptions(
            there["AWS_ENDPOINT_URL"],
            path_style=True,
            key=there["AWS_ACCESS_KEY_ID"],
            secret=there["AWS_SECRET_ACCESS_KEY"],
        )
        named = ["s3://films/film.mp4", "s3://others/long/film.mp4", str(film)]
        each = [read_manifest([name], access=access) for name in named]
        assert len({videos[0].fingerprint for videos in each}) == 3, "by ETag and location they are three"
        found = [Identities(out, outcomes(out)).identify(videos, access)[0].fingerprint for videos in each]
    assert len(set(found)) == 1


def test_an_id_of_the_manifest_stays_with_its_row_whatever_moved(film: Path, out: Path, tmp_path: Path) -> None:
    other, manifest = write(tmp_path / "a/other.mp4", b"other"), tmp_path / "m.jsonl"
    manifest.write_text(f'{{"video": "{film}", "id": "film"}}\n{{"video": "{other}", "id": "other"}}\n')
    done(out, manifest)
    film.rename(tmp_path / "between")
    other.rename(film)
    (tmp_path / "between").rename(other)
    videos = planned(out, manifest)
    assert videos.ids.to_pylist() == ["film", "other"]
    assert left(out, videos) == [RerunReason.FILE, RerunReason.FILE]
    # Nor does a moved file that brings no id take it from another row.
    film.rename(tmp_path / "a/moved.mp4")
    write(film, b"third")
    manifest.write_text(f'{{"video": "{tmp_path}/a/moved.mp4"}}\n{{"video": "{film}", "id": "other"}}\n')
    moved, third = planned(out, manifest)
    assert third.id == "other"
    assert moved.id != "other"

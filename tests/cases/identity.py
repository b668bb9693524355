"""Cases of file identity: files that were moved, touched or copied, and clocks that run ahead."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lvqa_ray.dataset.identities import identified
from lvqa_ray.journal.run_ids import FORM, next_run_id
from lvqa_ray.records import Video
from lvqa_ray.storage.options import StorageOptions
from tests.cases import Row, case

SIZE = 2 * 2**20


def content(path: Path) -> str:
    return identified(Video(id="v", uri=str(path), fingerprint=""), path.parent, StorageOptions.here()).fingerprint


def moved(film: Path) -> Path:
    (folder := film.with_name("renamed library")).mkdir()
    return film.rename(folder / film.name)


def touched(film: Path) -> Path:
    os.utime(film, ns=(1, 1))
    return film


def restored(film: Path) -> Path:
    data = film.read_bytes()
    film.unlink()
    film.write_bytes(data)
    return touched(film)


def copied(film: Path) -> Path:
    return Path(shutil.copyfile(film, film.with_name("copy.mkv")))


def edited(film: Path) -> Path:
    """Change bytes in the head of a file, keeping its size."""
    data = film.read_bytes()
    film.write_bytes(b"?" + data[1:])
    return film


SAME: dict[str, Callable[[Path], Path]] = {
    "moved with its library (immich-app/immich 5629)": moved,
    "mtime changed, same content (rust-lang/cargo 6529)": touched,
    "restored from a backup": restored,
    "copied under another name": copied,
}


@case("40", "a film is its content")
def identity(folder: Path) -> Iterator[Row]:
    for number, (name, change) in enumerate(SAME.items()):
        (here := folder / str(number)).mkdir()
        (film := here / "film.mp4").write_bytes(os.urandom(SIZE))
        before = content(film)
        yield name, "the same film", "the same film" if content(change(film)) == before else "another film"
    (film := folder / "film.mp4").write_bytes(os.urandom(SIZE))
    before = content(film)
    seen = "the same film" if content(edited(film)) == before else "another film"
    yield "same name and size, other content (aws-samples/amazon-s3-resumable-upload 1)", "another film", seen


@case("41", "runs are ordered whatever the clock says")
def order(_: Path) -> Iterator[Row]:
    ahead = f"{datetime.now(UTC) + timedelta(days=50):{FORM}}"
    found = next_run_id([ahead])
    yield "the clock was 50 days ahead (RobThree/IdGen 59)", "later", "later" if found > ahead else "earlier"
    yield "the clock is right", "now", "now" if next_run_id(["20260101T000000000000Z"]) < ahead else "later"

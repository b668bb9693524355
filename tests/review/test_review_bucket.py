"""`lvqa review` of an output and videos in a bucket, on a real S3 server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import pytest

from lvqa_ray.dataset.shards import read_rows, read_whole, replace_shard, shards
from lvqa_ray.storage.paths import storage_path
from tests import media
from tests.fakes.files import bucket, s3_server
from tests.report.made import make_output
from tests.review.test_review_page import session


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with s3_server(tmp_path_factory.mktemp("weed")) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in {**there, "AWS_EC2_METADATA_DISABLED": "true"}.items():
            patch.setenv(name, value)
        bucket(there).mkdir("films")
        yield there


def asked(address: str, path: str, **body: Any) -> Any:
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(address + path, data=data)) as answer:  # noqa: S310 - loopback
        return answer.read()


def seconds(data: bytes, folder: Path) -> float:
    (path := folder / "played.mp4").write_bytes(data)
    with av.open(str(path)) as file:
        return (file.duration or 0) / 1e6


def test_a_session_over_a_bucket(s3: Mapping[str, str], tmp_path: Path) -> None:
    """The film is fetched and cut, a clip that the run has stored is played, and the tables change in the bucket."""
    film = media.make_video(tmp_path / "film #1.mp4", seconds=60, fps=5, scenes=(10.0, 20.0, 30.0, 40.0, 50.0))
    clip = media.make_video(tmp_path / "clip.mp4", seconds=3, fps=5)
    make_output(tmp_path / "out", 3, video="s3://films/film #1.mp4")
    files = bucket(s3)
    files.put(str(film), "films/film #1.mp4")
    files.put(str(clip), "films/clips/clip.mp4")
    files.put(str(tmp_path / "out") + "/", "films/out/", recursive=True)
    out = storage_path("s3://films/out")
    with session("s3://films/out") as (process, address):
        queue = json.loads(asked(address, "api/queue"))
        count = len(queue["actions"])
        assert count == len(list(read_rows(out, "data")))
        record = json.loads(asked(address, "api/records/0"))
        step = record["steps"][0]
        played = seconds(asked(address, "clips/0-0.mp4"), tmp_path)
        assert played == pytest.approx(step["end"] - step["start"], abs=0.5)
        asked(address, "api/records/0", action="drop", reason="not shown")
        asked(address, "api/records/1", action="accept")
        asked(address, "api/finish", end=True)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "1 accepted, 0 edited, 1 dropped." in said
    assert record["id"] not in {row["id"] for row in read_rows(out, "data")}
    assert [row["reason"] for row in read_rows(out, "drops") if row["check"] == "review"] == ["not shown"]

    for shard in shards(out, "clips"):  # as if the run had stored clips, and the film is gone
        rows = read_whole(shard, "clips")
        path = "s3://films/clips/clip.mp4"
        stored = [row | {"media_path": path if row["video_id"] == "film-0" else None} for row in rows.to_pylist()]
        replace_shard(rows.from_pylist(stored, rows.schema), shard)
    files.rm("films/film #1.mp4")
    with session("s3://films/out", "--reviewer", "bob") as (_, address):
        ids = [json.loads(asked(address, f"api/records/{n}"))["id"] for n in range(count - 1)]
        one, other = (
            next(n for n, ident in enumerate(ids) if ident.startswith(film)) for film in ("film-0_", "film-1_")
        )
        assert seconds(asked(address, f"clips/{one}-0.mp4"), tmp_path) == pytest.approx(3, abs=0.3)
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(address, f"clips/{other}-0.mp4")
    why = json.loads(refused.value.read())["error"]
    assert why.startswith("The video cannot be fetched: "), why
    assert "Traceback" not in why

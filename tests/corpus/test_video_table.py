"""Videos as columns are the videos that they were made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lvqa_ray.corpus import fingerprints, manifest_files
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.corpus.video_ids import unique
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.records import Turn, Video

VIDEOS = [
    Video(id="a", uri="/films/a.mp4", fingerprint="f"),
    Video(id="caf_", uri="/films/caf\udce9.mp4", fingerprint=""),
    Video(id="b", uri="https://u:p@h/b.mp4?sig=1", fingerprint="g", extra='{"said": "\ud800"}'),
    Video(id="é", uri="/films/é.mp4", fingerprint="h", conversation=(Turn(speaker="human", value="What\n?"),)),
]


def test_videos_are_what_they_were_made_of() -> None:
    videos = Videos.of(VIDEOS)
    assert list(videos) == VIDEOS
    assert [videos[at] for at in (0, -1)] == [VIDEOS[0], VIDEOS[-1]]
    assert list(videos[1:3]) == VIDEOS[1:3]
    assert list(videos[::-2]) == VIDEOS[::-2]
    assert list(videos.talked_about) == VIDEOS[3:]
    assert videos.input_hashes.to_pylist() == [video.input_hash for video in VIDEOS]
    assert videos.places.to_pylist() == ["/films/a.mp4", "/films/caf?.mp4", "https://h/b.mp4", "/films/é.mp4"]
    assert videos.renamed({2: "c"}).ids.to_pylist() == ["a", "caf_", "c", "é"]
    with pytest.raises(IndexError):
        videos[4]
    assert list(Videos.of([])) == []


def test_names_that_a_file_system_may_take_for_the_same_are_kept_apart() -> None:
    given = [
        Video(id=name, uri=f"/{place}/x.mp4", fingerprint="") for name, place in ("xa", "Xb", "Xb", "éc", "Éd", "ze")
    ]
    ids = unique(Videos.of(given)).ids.to_pylist()
    assert [ident.partition("-")[0] for ident in ids] == ["x", "X", "é", "É", "z"]
    assert [len(ident) for ident in ids] == [10, 10, 10, 10, 1]


def test_rows_and_files_are_read_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["plain.mp4", "a.b.mp4", "none", "two..mp4", "dot/.hid.mp4", "~tilde.mp4", "end.", "sp ace.mp4"]
    rows = [
        {"video": f"{tmp_path}/{name}"} | ({"id": f"n{at}"} if at % 3 == 2 else {}) for at, name in enumerate(names)
    ]
    (tmp_path / "dot").mkdir()
    for row in rows:
        Path(row["video"]).write_text(row["video"])
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(f" {json.dumps(row)} " for row in rows))
    whole = read_manifest([str(manifest)])
    assert whole.ids.to_pylist() == ["plain", "a.b", "n2", "two.", "hid", "n5", "end.", "sp_ace"]
    assert [video.uri for video in whole] == [row["video"] for row in rows]
    assert whole.fingerprints.to_pylist() == [fingerprints.fingerprint(row["video"]) for row in rows]
    monkeypatch.setattr(manifest_files, "VIDEOS_AT_ONCE", 3)
    monkeypatch.setattr(fingerprints, "A_LOOK", 1)
    monkeypatch.setattr(fingerprints, "LOOKS_AT_ONCE", 2)
    monkeypatch.setattr(fingerprints, "SLOW_S", 0.0)
    assert read_manifest([str(manifest)]) == whole

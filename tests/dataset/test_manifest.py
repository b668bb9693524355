"""A video keeps the id of its rows, whatever else is called alike, and no id passes to another video unsaid."""

from __future__ import annotations

import json
from pathlib import Path

from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.outcomes import outcomes
from lvqa_ray.dataset.resume import RerunReason, remaining
from lvqa_ray.dataset.stored_manifest import store_manifest, stored_manifest, with_stable_ids
from lvqa_ray.records import Video
from tests.dataset.test_resume import line, put


def films(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return [str(folder / name) for name in names]


def ids(sources: list[str], out: Path) -> dict[str, str]:
    """The name of each file's folder, with the id that the file has."""
    videos = with_stable_ids(read_manifest(sources), outcomes(out), out)
    assert len({video.id for video in videos}) == len(videos)
    return {Path(video.uri).parent.name: video.id for video in videos}


def done(out: Path, sources: list[str], *, failed: bool = False) -> None:
    """Give every video of these sources a row, as a run would."""
    videos = with_stable_ids(read_manifest(sources), outcomes(out), out)
    rows = [
        line(video.id, 0, video=video.uri, fingerprint=video.fingerprint, input_hash=video.input_hash)
        for video in videos
    ]
    put(out, "failures" if failed else "data", "-".join(video.id for video in videos), *rows)


def test_a_second_file_of_the_same_name_changes_no_id(tmp_path: Path) -> None:
    (first, second), out = films(tmp_path, "a/x.mp4", "b/x.mp4"), tmp_path / "out"
    done(out, [first], failed=True)
    both = ids([first, second], out)
    assert both["a"] == "x"
    assert both["b"].startswith("x-")
    todo = remaining(with_stable_ids(read_manifest([first, second]), outcomes(out), out), outcomes(out), "j")
    assert [(video.uri, reason.why) for video, reason in zip(todo.videos, todo.reasons, strict=True)] == [
        (second, RerunReason.NEW)
    ]
    done(out, [first, second])
    assert ids([second, first], out) == both
    assert ids([second], out) == {"b": both["b"]}
    assert ids([first], out) == {"a": "x"}


def test_another_video_takes_no_id_whose_file_is_there(tmp_path: Path) -> None:
    (first, second), out = films(tmp_path, "a/x.mp4", "b/x.mp4"), tmp_path / "out"
    done(out, [first])
    assert ids([second], out)["b"].startswith("x-")


def test_a_file_that_moved_keeps_its_id_and_is_new_work(tmp_path: Path) -> None:
    (first, second), out = films(tmp_path, "a/x.mp4", "b/x.mp4"), tmp_path / "out"
    done(out, [first])
    Path(first).unlink()
    assert ids([second], out) == {"b": "x"}
    todo = remaining(read_manifest([second]), outcomes(out), "j")
    assert [reason.why for reason in todo.reasons] == [RerunReason.FILE]


def test_an_id_of_the_manifest_is_left_alone(tmp_path: Path) -> None:
    (first, second), out = films(tmp_path, "a/x.mp4", "b/x.mp4"), tmp_path / "out"
    done(out, [first])
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps([{"video": first, "id": "one"}, {"video": second, "id": "two"}]))
    assert ids([str(manifest)], out) == {"a": "one", "b": "two"}


def test_one_file_with_other_data_beside_it_keeps_the_id_of_each(tmp_path: Path) -> None:
    (first,), out, manifest = films(tmp_path, "a/x.mp4"), tmp_path / "out", tmp_path / "m.json"
    manifest.write_text(json.dumps([{"video": first, "take": 1}]))
    done(out, [str(manifest)])
    manifest.write_text(json.dumps([{"video": first, "take": 1}, {"video": first, "take": 2}]))
    one, two = with_stable_ids(read_manifest([str(manifest)]), outcomes(out), out)
    assert one.id == "x"
    assert two.id.startswith("x-")


def test_a_manifest_is_stored_without_signatures(tmp_path: Path) -> None:
    assert stored_manifest(tmp_path) is None
    store_manifest(tmp_path, Videos.of([Video(id="v", uri="https://h/v.mp4?signature=s", fingerprint="f")]), "j")
    stored = stored_manifest(tmp_path)
    assert stored is not None
    assert stored[0]["video"].to_pylist() == ["https://h/v.mp4"]
    assert stored[1] == "j"

"""What a job names as its videos becomes one row each, or one sentence that says what is wrong and where."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import Turn


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two folders that hold a film of the same name, and a film of its own."""
    for name in ("a/x.mp4", "b/x.mp4", "b/y.MKV", "b/note.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def written(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_folder_gives_its_videos_and_nothing_else(films: Path) -> None:
    videos = read_manifest([str(films)])
    assert [Path(video.uri).name for video in videos] == ["x.mp4", "x.mp4", "y.MKV"]


def test_the_output_is_not_searched_for_videos(films: Path) -> None:
    kept = [Path(video.uri).parent.name for video in read_manifest([str(films)], without=films / "a")]
    assert kept == ["b", "b"]
    assert [video.id for video in read_manifest([f"{films}/*/x.*"], without=films / "b")] == ["x"]


def test_a_name_in_another_encoding_is_a_name(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(path, "wb") as file:  # noqa: PTH123 - bytes are the point
        file.write(b"x")
    (video,) = read_manifest([str(tmp_path)])
    assert video.fingerprint
    assert video.id == "caf_"


def test_an_id_that_cannot_be_a_file_name_is_kept_beside(tmp_path: Path) -> None:
    rows = [{"video": "a.mp4", "id": "_aBc-1"}, {"video": "b.mp4", "id": "S01:E02"}]
    first, second = read_manifest([written(tmp_path / "m.json", rows)])
    assert (first.id, first.extra) == ("_aBc-1", "{}")
    assert (second.id, json.loads(second.extra)) == ("S01_E02", {"id": "S01:E02"})


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    line = json.dumps({"video": "a.mp4", "note": "one\u2028two"}, ensure_ascii=False)
    (video,) = read_manifest([written(tmp_path / "m.jsonl", line + "\r\n")])
    assert json.loads(video.extra) == {"note": "one\u2028two"}


def test_a_path_that_means_two_files_is_refused(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = written(films / "a" / "m.json", {"video": "x.mp4"})
    monkeypatch.chdir(films / "b")
    with pytest.raises(ConfigError, match="is there twice"):
        read_manifest([manifest])


def test_a_glob_gives_what_matches(films: Path) -> None:
    assert [video.id for video in read_manifest([f"{films}/*/y.*"])] == ["y"]


def test_videos_of_the_same_name_get_ids_of_their_own(films: Path) -> None:
    first, second, third = read_manifest([str(films)])
    assert first.id.startswith("x-")
    assert second.id.startswith("x-")
    assert first.id != second.id
    assert third.id == "y"
    assert [first.id, second.id, "y"] == [video.id for video in read_manifest([str(films)])]


def test_numbers_stay_names(tmp_path: Path) -> None:
    rows = [{"video": "0001.mp4"}, {"video": "0002.mp4"}, {"video": "z.mp4", "id": 7}]
    assert [video.id for video in read_manifest([written(tmp_path / "m.json", rows)])] == ["0001", "0002", "7"]


def test_one_object_is_a_manifest_of_one(tmp_path: Path) -> None:
    seed = {"video": ["./test/example_video.mp4"], "conversation": [{"from": "human", "value": ""}]}
    (video,) = read_manifest([written(tmp_path / "m.json", seed)])
    assert video.id == "example_video"
    assert video.conversation == (Turn(speaker="human", value=""),)


def test_jsonl_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    rows = [{"video": "a.mp4", "genre": "news"}, {"video": "b.mp4", "genre": "sport"}]
    sources = [
        written(tmp_path / "m.jsonl", "\n".join(json.dumps(row) for row in rows)),
        written(tmp_path / "m.csv", "video,genre\na.mp4,news\nb.mp4,sport\n"),
        str(tmp_path / "m.parquet"),
        written(tmp_path / "m.json", rows),
    ]
    pq.write_table(pa.Table.from_pylist(rows), sources[2])
    first, *others = [read_manifest([source]) for source in sources]
    assert all(other == first for other in others)
    assert [json.loads(video.extra) for video in first] == [{"genre": "news"}, {"genre": "sport"}]


@pytest.mark.parametrize(
    "last", ['{"video": "/f/c d.mp4"}', '{"video":"/f/c\\u0020d.mp4"}', '  { "video": "/f/c d.mp4" }']
)
def test_lines_that_name_nothing_but_a_video_are_read_as_json_is(tmp_path: Path, last: str) -> None:
    lines = ['{"video": "/f/a.mp4"}', '{"video": "/f/b\u2028 \x85.mp4"}', last]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    (tmp_path / "n.json").write_text(f"[{','.join(lines)}]")
    videos = read_manifest([str(tmp_path / "m.jsonl")])
    assert videos == read_manifest([str(tmp_path / "n.json")])
    assert videos[2].uri == "/f/c d.mp4"


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": ["a.mp4"], "score": [float("nan")], "raw": [b"x"]}), tmp_path / "m.parquet")
    (video,) = read_manifest([str(tmp_path / "m.parquet")])
    assert json.loads(video.extra) == {"raw": "b'x'", "score": None}


def test_paths_may_be_relative_to_the_manifest(films: Path) -> None:
    (video,) = read_manifest([written(films / "m.json", {"video": "b/y.MKV"})])
    assert video.uri == str(films / "b/y.MKV")
    assert video.fingerprint


def test_a_missing_file_is_a_row_that_fails_later(tmp_path: Path) -> None:
    (video,) = read_manifest([written(tmp_path / "m.json", {"video": "/nowhere/x.mp4"})])
    assert video.fingerprint == ""


def test_a_changed_file_has_another_fingerprint(films: Path) -> None:
    before = read_manifest([str(films / "a/x.mp4")])[0].fingerprint
    (films / "a/x.mp4").write_bytes(b"longer than it was")
    assert read_manifest([str(films / "a/x.mp4")])[0].fingerprint != before


def test_a_limit_does_not_change_ids(films: Path) -> None:
    assert read_manifest([str(films)], limit=1) == read_manifest([str(films)])[:1]


def test_a_line_that_stands_twice_counts_once(tmp_path: Path) -> None:
    rows = [{"video": "a.mp4"}, {"video": "a.mp4"}, {"video": "a.mp4", "genre": "news"}]
    videos = read_manifest([written(tmp_path / "m.json", rows)])
    assert len(videos) == 2
    assert len({video.id for video in videos}) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.jsonl", '{"video": "a.mp4"}\n{"video": ', "m.jsonl, line 2 is not valid JSON"),
        ("m.jsonl", '{"video": "a.mp4"}\n\n{"film": "b.mp4"}', "m.jsonl, line 3 names no video"),
        ("m.jsonl", "[1]", "line 1 is not an object"),
        ("m.json", '[{"video": "a.mp4"},]', "is not valid JSON"),
        ("m.json", '[{"video": []}]', "entry 1 names no video"),
        ("m.json", '[{"video": 5}]', "entry 1 names no video"),
        ("m.json", '[{"video": "a.mp4", "id": [1]}]', "entry 1: `id`"),
        ("m.json", '[{"video": "a.mp4", "conversation": ["hi"]}]', "`conversation` must be a list"),
        ("m.json", "[]", "there is no video"),
        ("m.csv", "film\na.mp4\n", "line 2 names no video"),
        ("m.parquet", "no parquet", "no readable Parquet"),
        ("m.json", '[{"video": "ftp://b/a.mp4"}]', "only files, s3://"),
        ("m.json", '[{"video": "a\\u0000b.mp4"}]', "embedded null"),
        ("m.json", '[{"video": "a.mp4", "n": ' + "9" * 5000 + "}]", "cannot be read"),
    ],
)
def test_a_wrong_manifest_is_one_sentence_with_its_place(tmp_path: Path, name: str, content: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_manifest([written(tmp_path / name, content)])
    assert says in str(caught.value)


@pytest.mark.parametrize("source", ["nothing.mp4", "nothing/*.mp4", "."])
def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"does not exist|no file matches|holds no video"):
        read_manifest([source])


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (r'"a\u001b[31mred"', '"ared"'),
        ('"\u202etxt"', '"txt"'),
        (r'"a\ud83d"', '"a\ufffd"'),
        ("[1.5, NaN]", "[1.5, null]"),
        ('{"b\u200b": 1}', '{"b": 1}'),
        (r'"a\nb"', r'"a\nb"'),
    ],
)
def test_further_columns_hold_no_control_characters_and_no_number_that_json_lacks(
    tmp_path: Path, written: str, stored: str
) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"video": "/a.mp4", "plain": "x", "odd": {written}}}\n', encoding="utf-8")
    (video,) = read_manifest([str(path)])
    assert video.extra == f'{{"odd": {stored}, "plain": "x"}}'

# ruff: noqa: RUF001 -- a full-width mark
"""Decontamination: what a benchmark lists is found by id, content and question, in the forms of public benchmarks."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvqa_ray.config import Job
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.engine.preflight.validation import check_benchmarks
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import QuestionedVideo
from lvqa_ray.stages.checks.overlap import CheckOverlap, normalized, read_benchmark
from lvqa_ray.storage.options import StorageOptions
from tests.stages.test_checks import SOUND, asked, film, with_stem

ROW = {"videoID": "fFjv93ACGo8", "video_id": "001", "question": "Why does the woman go back, into the house"}


def written(path: Path, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(value), path)
    else:
        path.write_text(text, encoding="utf-8")
    return str(path)


FORMS: dict[str, tuple[str, Any]] = {
    "Video-MME": ("mme.parquet", [ROW]),
    "LongVideoBench": (
        "lvb.json",
        [{"video_id": "x" * 9, "video_path": "fFjv93ACGo8.mp4", "question": ROW["question"]}],
    ),
    "LVBench": ("lvbench.jsonl", json.dumps({"key": "fFjv93ACGo8", "qa": [{"question": ROW["question"]}]})),
    "by video": ("own.json", {"fFjv93ACGo8": {"question": ROW["question"]}}),
    "lists by video": ("lists.json", {"fFjv93ACGo8": [{"question": ROW["question"]}, {"question": "Why?"}]}),
    "lists by video, in an object": (
        "inner.json",
        {"info": {"year": 2026}, "questions": {"fFjv93ACGo8": [{"question": ROW["question"]}]}},
    ),
    "csv": ("own.csv", f'video,question\nclips/fFjv93ACGo8.mkv,"{ROW["question"]}"\n'),
    "text": ("own.txt", f"fFjv93ACGo8\n{ROW['question']}\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_questions_and_videos_are_found(form: str, tmp_path: Path) -> None:
    name, value = FORMS[form]
    check = CheckOverlap(against=(written(tmp_path / name, value),))
    other = asked(with_stem("Why does the man go back into the garden?"), "v_q1")
    (row,) = check(QuestionedVideo(film=film(), questions=(asked(SOUND, "v_q0"), other)))
    assert [drop.reason for drop in row.drops] == [f"the question is in {Path(name).stem}"]
    assert [one.id for one in row.questions] == ["v_q1"]
    listed = film("FFJV93ACGO8")
    (gone,) = check(QuestionedVideo(film=listed, questions=(other,)))
    assert [drop.reason for drop in gone.drops] == [f"the video is in {Path(name).stem}, by its name"]
    moved = replace(film(), video=replace(film().video, uri="https://host/a/fFjv93ACGo8.webm"))
    assert check(QuestionedVideo(film=moved, questions=(other,)))[0].questions == ()


def test_a_video_is_found_by_its_content(tmp_path: Path) -> None:
    path = written(tmp_path / "test.jsonl", json.dumps({"fingerprint": "abc", "question": "?"}))
    known = replace(film(), video=replace(film().video, fingerprint="abc"))
    check = CheckOverlap(policy="mark", against=(path,))
    verdicts = [check.judge(asked(), one) for one in (known, film())]
    assert [one.reason for one in verdicts] == ["the video is in test, by its content", ""]


@pytest.mark.parametrize(
    "value",
    [
        {"questions": [{"question": ROW["question"]}]},
        {"fFjv93ACGo8": {"multiple_choice": [{"question": ROW["question"]}]}},
        {"data": {"fFjv93ACGo8": [{"question": ROW["question"]}]}},
        {"questions": {"fFjv93ACGo8": [{"question": ROW["question"]}]}},
        {"any_split": [{"video_id": "fFjv93ACGo8", "question": ROW["question"]}]},
        [{"question": ROW["question"], "candidates": [{"text": "A dog"}]}],
        {"fFjv93ACGo8": [{"question": ROW["question"]}], "licences": ["MIT"]},
    ],
)
def test_a_key_of_a_list_that_names_no_video(value: object, tmp_path: Path) -> None:
    found = read_benchmark(written(tmp_path / "own.json", value))
    assert found.videos <= {"ffjv93acgo8"}
    assert found.questions == {normalized(ROW["question"])}


def test_short_questions_and_row_numbers_prove_nothing(tmp_path: Path) -> None:
    assert normalized("What happens next?") == ""
    assert normalized("Ｗhat—HAPPENS next, then?") == "what happens next then"
    assert normalized("视频最后他拿走了什么？") == "视频最后他拿走了什么"
    path = written(tmp_path / "b.json", [{"video_id": "001", "question": "What happens next in the end?"}])
    assert CheckOverlap(against=(path,)).judge(asked(with_stem("What happens next?")), film("001")).passed


BAD = {"x.json": "{", "y.parquet": "no", "z.csv": "a,b\n1,2\n", "w.jsonl": '{"text": "x"}'}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_lists_nothing_is_named_before_anything_is_paid(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(BAD[name])
    with pytest.raises(ConfigError, match=rf"^checks\.overlap: .*{name} [^\n]*\.$"):
        read_benchmark(str(path))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_benchmark(str(tmp_path / "gone.json"))


def test_the_start_of_a_run_says_which_videos_a_benchmark_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    at = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    path = written(tmp_path / "mme.json", [ROW])
    for name in ("fFjv93ACGo8.mp4", "own_film.mp4"):
        (tmp_path / name).touch()
    given = {"videos": [str(tmp_path / "*.mp4")], "output": "out", "endpoints": {"vlm": at, "llm": at}}
    job = Job.of({**given, "checks": {"overlap": {"against": [path]}}})
    videos = read_manifest(job.videos, None, without=tmp_path / "out", access=StorageOptions())
    with caplog.at_level(logging.WARNING):
        check_benchmarks(job, videos)
    assert "mme contains 1 of the videos, such as fFjv93ACGo8" in caplog.text
    assert [check.name for check in Job.of(given).checks.wanted if check.name == "overlap"] == []
    with pytest.raises(ConfigError, match="cannot be read"):
        check_benchmarks(Job.of({**given, "checks": {"overlap": {"against": ["gone.json"]}}}), videos)

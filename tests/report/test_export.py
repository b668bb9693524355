"""Each export loads in the tool that it is for, and no video is on both sides of a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pysubs2
import pytest
import yaml
from typer.testing import CliRunner, Result

from lvqa_ray.cli.commands import app
from lvqa_ray.dataset.shards import read_rows
from tests.report.made import CLIPS, make_output

VIDEOS = 40


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("export") / "an output", VIDEOS, prefix="ünnamed film")


def export(*args: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, args)])


def loaded(path: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """What `datasets` reads."""
    rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    return [dict(row) for row in rows]


@pytest.mark.parametrize("form", ["llava", "sharegpt", "long-rl", "open-ended", "dataflow-json"])
def test_every_record_is_there_and_loads(out: Path, tmp_path: Path, form: str) -> None:
    records = {row["id"]: row for row in read_rows(out, "data")}
    done = export(out, "--format", form, "--to", tmp_path / "made" / "x.jsonl")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "made" / "x.jsonl")
    rows = loaded(tmp_path / "made" / "x.jsonl", tmp_path)
    assert len(rows) == len(records)
    assert f"{len(rows)} records" in done.stderr
    record = records["ünnamed film-1_q2"]
    parsed = record["parsed_reasoning"]
    row = next(row for row in rows if "ünnamed film-1 go for the 2th" in json.dumps(row, ensure_ascii=False))
    if form == "llava":
        assert (row["id"], row["video"]) == (record["id"], record["video"])
    if form in {"llava", "sharegpt"}:
        human, gpt = row["conversations"]
        place = {"llava": "<image>\n", "sharegpt": "<video>"}[form]
        assert (human["from"], human["value"], gpt["from"]) == ("human", place + record["full_question"], "gpt")
        assert gpt["value"] == f"{record['reformatted_reasoning']}\n\nAnswer: {parsed['ANSWER']}"
    if form == "sharegpt":
        assert row["videos"] == [record["video"]]
    if form == "long-rl":
        assert row == {
            "problem_id": record["id"],
            "data_type": "video",
            "videos": record["video"],
            "problem": record["full_question"],
            "problem_type": record["category"],
            "reasoning": record["reformatted_reasoning"],
            "answer": parsed["ANSWER"],
        }
    if form == "open-ended":
        assert (row["question"], row["answer"]) == (parsed["QUESTION"], parsed["OPTIONS"][parsed["ANSWER"]])


def test_what_each_trainer_asks_of_its_file(out: Path, tmp_path: Path) -> None:
    """LLaVA's reads one array; LLaMA-Factory's finds the columns that its `dataset_info.json` names."""
    assert export(out, "--format", "llava", "--to", tmp_path / "llava.json").exit_code == 0
    array = json.loads((tmp_path / "llava.json").read_text(encoding="utf-8"))
    assert [set(row) for row in array] == [{"id", "video", "conversations"}] * len(list(read_rows(out, "data")))
    assert export(out, "--format", "llamafactory", "--to", tmp_path / "lf").exit_code == 0
    info = json.loads((tmp_path / "lf" / "dataset_info.json").read_text(encoding="utf-8"))["lvqa"]
    for row in loaded(tmp_path / "lf" / info["file_name"], tmp_path):
        said, videos = (row[info["columns"][name]] for name in ("messages", "videos"))
        assert [turn["from"] for turn in said] == ["human", "gpt"]
        assert sum(turn["value"].count("<video>") for turn in said) == len(videos) == 1


def test_a_split_is_by_video_and_stays_when_the_corpus_grows(out: Path, tmp_path: Path) -> None:
    def videos(folder: Path, to: Path) -> dict[str, set[str]]:
        done = export(folder, "--format", "long-rl", "--to", to, "--test-fraction", 0.3)
        assert done.exit_code == 0, done.output
        train, test = map(Path, done.stdout.split("\n")[:2])
        assert (train.name, test.name) == ("x.train.jsonl", "x.test.jsonl")
        return {
            path.name: {json.loads(line)["problem_id"].rpartition("_q")[0] for line in path.open(encoding="utf-8")}
            for path in (train, test)
        }

    parts = videos(out, tmp_path / "x.jsonl")
    train, test = parts["x.train.jsonl"], parts["x.test.jsonl"]
    assert not train & test
    assert len(train | test) == VIDEOS * 9 // 10
    assert 4 <= len(test) <= 18
    larger = videos(
        make_output(tmp_path / "larger", VIDEOS + 20, prefix="ünnamed film"), tmp_path / "larger" / "x.jsonl"
    )
    assert test <= larger["x.test.jsonl"]
    assert train <= larger["x.train.jsonl"]


def test_a_folder_for_the_hub_with_a_card(out: Path, tmp_path: Path) -> None:
    to = tmp_path / "hf"
    done = export(out, "--format", "hf", "--to", to, "--test-fraction", 0.3, "--license", "cc-by-4.0")
    assert done.exit_code == 0, done.output
    splits = datasets.load_dataset(str(to), cache_dir=str(tmp_path / "cache"))
    assert set(splits) == {"train", "test"}
    assert not set(splits["train"]["video_id"]) & set(splits["test"]["video_id"])
    assert splits["train"].num_rows + splits["test"].num_rows == len(list(read_rows(out, "data")))
    assert splits["train"][0]["parsed_reasoning"]["REASONS"][0]["end_s"] == 10.0
    card = (to / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    for said in (
        "| caption | seer | 240 |",
        "| grounding | ",
        "- goal: ",
        f"| split `train` | {splits['train'].num_rows} |",
    ):
        assert said in card
    assert "Before you publish" not in card
    assert "holds something already" in str(export(out, "--format", "hf", "--to", to).exception)
    unset = tmp_path / "hf2"
    assert "Set the licence" in " ".join(export(out, "--format", "hf", "--to", unset).stderr.split())
    assert "Before you publish this, set `license`" in (unset / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_captions_as_subtitles(out: Path, tmp_path: Path, form: str) -> None:
    done = export(out, "--format", form, "--to", tmp_path / "subs")
    assert done.exit_code == 0, done.output
    made = sorted((tmp_path / "subs").iterdir())
    assert len(made) == VIDEOS * 9 // 10
    lines = pysubs2.load(str(tmp_path / "subs" / f"ünnamed film-0.{form}"), encoding="utf-8")
    assert [(line.start, line.end) for line in lines] == [
        (n * 10_000, (n + 1) * 10_000) for n in range(CLIPS) if n != 3
    ]
    assert lines[1].plaintext == "A dog runs past tree 1."


def test_what_cannot_be_exported_is_said(out: Path, tmp_path: Path) -> None:
    for args, says in (
        ((out, "--format", "srt", "--test-fraction", "0.1"), "is for records"),
        ((out, "--format", "llava", "--license", "mit"), "--license is only for the dataset card of hf"),
        ((tmp_path, "--format", "hf"), "holds no output"),
        ((tmp_path, "--format", "vtt"), "holds no"),
        ((out, "--to", out / "run.json" / "x.json"), "cannot be written"),
    ):
        done = export(*args)
        assert done.exit_code != 0
        assert says in f"{done.stderr}{done.exception}"

"""Trainer formats: what each row holds for every kind of answer, and the options of `lvqa export`.

`make trainers` loads the same files with the trainers' own readers.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from lvqa_ray.cli.commands import app
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.records.question_columns import without_closing
from lvqa_ray.report.trainers.formats import TRAINER_FORMATS
from lvqa_ray.report.trainers.training_sample import AnswerStyle, SampleStyle, reply_of, sample_of
from tests.report.made import make_output

STEPS = [{"start_s": 70.0, "end_s": 80.5, "reasons": ["She opens", "the door."], "clip_ids": ["f_7"]}]
RECORD: dict[str, Any] = {
    "id": "f_q0",
    "video": "/films/a.mp4",
    "video_id": "f",
    "category": "goal",
    "full_question": "Why?\nA. x\nB. y",
    "reformatted_reasoning": "She opens the door, so the answer is B.",
    "parsed_reasoning": {"QUESTION": "Why?", "OPTIONS": {"A": "x", "B": "y"}, "ANSWER": "B", "REASONS": STEPS},
}
TYPED: dict[str, dict[str, Any]] = {
    "choice": {"letter": "B"},
    "span": {"spans": [{"start_s": 70.0, "end_s": 80.5}]},
    "number": {"number": 3.0, "tolerance": None},
    "order": {"order": [2, 1, 3]},
    "open": {"text": "a red <video> car", "accepted": [], "rubric": ""},
}
TEXTS = {"choice": "B", "span": "70-80.5", "number": "3", "order": "2, 1, 3", "open": "a red < video> car"}


def of_kind(kind: str) -> dict[str, Any]:
    return RECORD | {"kind": kind, "typed_answer": TYPED[kind]}


@pytest.mark.parametrize("kind", TYPED)
def test_the_answer_of_each_kind_as_text(kind: str) -> None:
    sample = sample_of(of_kind(kind), SampleStyle(answer="tagged"))
    assert sample.answer == TEXTS[kind]
    assert sample.reply.endswith(f"\n\n<answer>{TEXTS[kind]}</answer>")
    assert sample.options == (("A. x", "B. y") if kind == "choice" else ())


def test_a_record_of_an_earlier_release_is_multiple_choice() -> None:
    assert sample_of(RECORD, SampleStyle()).typed == {"kind": "choice", "typed_answer": {"letter": "B"}}


@pytest.mark.parametrize(
    ("form", "kinds"),
    [
        ("verl", {"choice", "span", "number", "order", "open"}),
        ("ms-swift", {"choice", "span", "number", "order", "open"}),
        ("easyr1", {"choice", "number"}),
        ("easyvideor1", {"choice", "span", "number", "open"}),
        ("video-r1", {"choice", "number", "open"}),
        ("long-rl", {"choice", "number"}),
    ],
)
def test_the_kinds_that_a_format_holds(form: str, kinds: set[str]) -> None:
    made = {kind: TRAINER_FORMATS[form].convert(of_kind(kind), SampleStyle()) for kind in TYPED}
    assert {kind for kind, row in made.items() if row is not None} == kinds


def test_reply_styles_state_the_answer_once() -> None:
    prose = RECORD["reformatted_reasoning"]
    assert reply_of(prose, "B", "letter") == "She opens the door.\n\nAnswer: B"
    assert reply_of(prose, "B", "tagged") == "She opens the door.\n\n<answer>B</answer>"
    assert reply_of(prose, "B", "think_tagged") == "<think>\nShe opens the door.\n</think>\n<answer>B</answer>"


@pytest.mark.parametrize(
    ("prose", "kept"),
    [
        ("She leaves. Therefore, the correct answer is B.", "She leaves."),
        ("She leaves, so the answer is **B**.", "She leaves."),
        ("She leaves. Answer: (B)", "She leaves."),
        (
            "\u5979\u79bb\u5f00\u4e86\uff0c\u56e0\u6b64\u6b63\u786e\u7b54\u6848\u662fB\u3002",
            "\u5979\u79bb\u5f00\u4e86\u3002",
        ),
        ("She leaves, so the answer is C.", "She leaves, so the answer is C."),
        ("The answer is B.", "The answer is B."),
        ("The best option is B because she leaves.", "The best option is B because she leaves."),
        ("I thought that the answer is A. But it is B.", "I thought that the answer is A. But it is B."),
    ],
)
def test_a_closing_clause_is_removed_only_if_it_states_the_key_alone(prose: str, kept: str) -> None:
    assert without_closing(prose, "B") == kept


def test_timed_reasoning_has_the_times_of_the_steps() -> None:
    assert sample_of(RECORD, SampleStyle(reasoning="timed")).reasoning == "[01:10-01:20] She opens the door."


def export(*args: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, args)])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("trainers") / "out", 20)


def test_options_of_the_export(out: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.jsonl"
    done = export(
        *(out, "--format", "easyvideor1", "--to", to, "--video-root", "/films", "--columns", "solve_rate, category"),
        *("--where", "category in ['goal', 'plot'] and not (id == 'film-0_q1')"),
    )
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in to.open(encoding="utf-8")]
    ids = {row["id"] for row in read_rows(out, "data") if row["category"] in {"goal", "plot"}}
    assert {row["problem_id"] for row in rows} == ids - {"film-0_q1"}
    assert {row["videos"][0].partition("-")[0] for row in rows} == {"film"}
    assert rows[0]["solve_rate"] is None
    assert "17 of 17 videos are not at their path on this machine." in " ".join(done.stderr.split())


def test_what_the_options_cannot_do_is_said(out: Path, tmp_path: Path) -> None:
    for args, says in (
        (("--format", "verl", "--video-root", "/elsewhere"), "is not below /elsewhere"),
        (("--format", "verl", "--where", "id == 'none'"), "fulfils --where id == 'none'"),
        (("--format", "verl", "--columns", "nothing"), "data/ has no column nothing"),
        (("--format", "verl", "--answer-style", "loud"), "unknown --answer-style: loud"),
        (("--format", "verl", "--reasoning", "long"), "unknown --reasoning: long"),
        (("--format", "srt", "--where", "id == 'a'"), "--where is for records"),
        (("--format", "hf", "--answer-style", "tagged"), "hf holds all columns unchanged"),
        (("--format", "lmms-eval"), "--test-fraction"),
        (("--format", "webdataset"), "the job cut no clip files"),
    ):
        done = export(out, *args, "--to", tmp_path / "made")
        assert done.exit_code != 0
        assert says in f"{done.stderr}{done.exception}"
        assert not (tmp_path / "made").exists()


def test_verl_reads_parquet_with_one_schema(out: Path, tmp_path: Path) -> None:
    to = tmp_path / "verl.parquet"
    assert export(out, "--format", "verl", "--to", to, "--columns", "solve_rate", "--test-fraction", 0.3).exit_code == 0
    table = pq.read_table(tmp_path / "verl.train.parquet")
    row = table.to_pylist()[0]
    assert row["prompt"][0]["content"].startswith("<video>Where does the dog")
    assert (row["videos"], row["reward_model"]["style"]) == ([{"video": "/films/film-0.mp4"}], "rule")
    record = json.loads(row["extra_info"]["record"])
    assert record == {"kind": "choice", "typed_answer": {"letter": row["reward_model"]["ground_truth"]}}
    assert table.schema.equals(pq.read_table(tmp_path / "verl.test.parquet").schema)
    assert str(table.schema.field("solve_rate").type) == "double"


def test_a_folder_for_llamafactory(out: Path, tmp_path: Path) -> None:
    done = export(out, "--format", "llamafactory", "--to", tmp_path / "lf", "--test-fraction", 0.3)
    assert done.exit_code == 0, done.output
    info = json.loads((tmp_path / "lf" / "dataset_info.json").read_text())
    assert {name: entry["file_name"] for name, entry in info.items()} == {
        "lvqa_train": "lvqa.train.json",
        "lvqa_test": "lvqa.test.json",
    }
    rows = json.loads((tmp_path / "lf" / "lvqa.train.json").read_text(encoding="utf-8"))
    assert {"id", "conversations", "videos"} == set(rows[0])


def test_a_task_folder_for_lmms_eval(out: Path, tmp_path: Path) -> None:
    done = export(out, "--format", "lmms-eval", "--to", tmp_path / "task", "--test-fraction", 0.3)
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "task").iterdir()} == {"lvqa.yaml", "test.parquet", "utils.py"}

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: f"function {loader.construct_scalar(node)}")  # type: ignore[arg-type]
    task = yaml.load((tmp_path / "task" / "lvqa.yaml").read_text(), Loader)  # noqa: S506 - a safe loader
    assert task["process_results"] == "function utils.process_results"
    assert Path(task["dataset_kwargs"]["data_files"]["test"]) == tmp_path / "task" / "test.parquet"
    assert pq.read_table(tmp_path / "task" / "test.parquet").num_rows == int(done.stderr.split()[0])


def test_webdataset_shards_hold_clips_and_the_questions_that_cite_them(out: Path, tmp_path: Path) -> None:
    clips = pq.read_table(out / "clips" / "part-1.parquet").to_pylist()
    media = tmp_path / "media"
    media.mkdir()
    for clip in clips[:9]:
        (media / f"{clip['id']}.mp4").write_bytes(clip["id"].encode())
        clip["media_path"] = str(media / f"{clip['id']}.mp4")
    (media / f"{clips[1]['id']}.mp4").unlink()
    copy = make_output(tmp_path / "cut", 20)
    table = pq.read_table(copy / "clips" / "part-1.parquet")
    pq.write_table(table.from_pylist(clips, table.schema), copy / "clips" / "part-1.parquet")
    done = export(copy, "--format", "webdataset", "--to", tmp_path / "wds")
    assert done.exit_code == 0, done.output
    assert "1 clip files are not at their path any more" in " ".join(done.stderr.split())
    with tarfile.open(tmp_path / "wds" / "train-000000.tar") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert len(files) == 8 * 3
    assert files["film-0_2.mp4"] == b"film-0_2"
    assert files["film-0_2.txt"] == b"A dog runs past tree 2."
    row = json.loads(files["film-0_2.json"])
    assert (row["start_s"], [asked["id"] for asked in row["questions"]]) == (
        20.0,
        ["film-0_q0", "film-0_q1", "film-0_q2"],
    )


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize("style", ["letter", "tagged", "think_tagged"])
def test_the_reply_of_each_kind_has_the_full_reward_and_a_wrong_one_has_none(kind: str, style: AnswerStyle) -> None:
    """With the adapters for verl and trl."""
    from lvqa_ray.rewards import compute_score, trl_reward

    verl, trl = (TRAINER_FORMATS[form].convert(of_kind(kind), SampleStyle(answer=style)) for form in ("verl", "trl"))
    assert verl is not None
    assert trl is not None
    reply = trl["completion"][0]["content"][0]["text"]
    truth, info = verl["reward_model"]["ground_truth"], verl["extra_info"]
    given = {"data_source": verl["data_source"], "ground_truth": truth, "extra_info": info}
    for said, expected in ((reply, 1.0), ("<answer>zebra</answer>", 0.0), ("", 0.0)):
        assert compute_score(solution_str=said, **given) == expected
        message, blocks = {"role": "assistant", "content": said}, [{"type": "text", "text": said}]
        for completion in (said, [message], [{"content": blocks}]):
            assert trl_reward([completion], record=[trl["record"]], prompts=[""]) == [expected]
    assert compute_score(solution_str="B", ground_truth="B") == 1.0

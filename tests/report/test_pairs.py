"""Preference pairs: which traces make one, what a trainer gets, and what the audit says of their biases."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from lvqa_ray.cli.commands import app
from lvqa_ray.dataset.reader import opened
from lvqa_ray.dataset.shards import write_shard
from lvqa_ray.dataset.statistics.audit import pass_at
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.dataset.statistics.preference_pairs import PairCounter, pair_of
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.export_files import Selection
from lvqa_ray.report.row_filter import RowFilter
from lvqa_ray.report.trainers.preference import export_dpo
from lvqa_ray.report.trainers.training_sample import SampleStyle
from tests.report.made import make_output


def trace(check: str, length: int, *, right: bool, attempt: int = 0, **fields: Any) -> dict[str, Any]:
    made = {
        "question_id": "v_q0",
        "kept": True,
        "check": check,
        "attempt": attempt,
        "answer": "A" if right else "B",
        "correct": right,
        "readable": True,
        "letters_unclear": False,
        "option_order": "CDAB",
        "thoughts": "x" * length,
        "reply": "ANSWER: A",
        "length": length,
    }
    return made | fields


@pytest.mark.parametrize(
    ("traces", "lengths"),
    [
        ([trace("watch", 100, right=True), trace("watch", 90, right=False)], (100, 90)),
        ([trace("watch", 100, right=True), trace("watch", 300, right=False)], None),
        (
            [trace("watch", 100, right=True), trace("watch", 140, right=False), trace("watch", 70, right=True)],
            (100, 140),
        ),
        (
            [trace("watch", 100, right=True), trace("solve", 50, right=True), trace("solve", 50, right=False)],
            (50, 50),
        ),
        ([trace("watch", 100, right=True), trace("solve", 90, right=False)], None),
        ([trace("watch", 100, right=True), trace("watch", 100, right=False, letters_unclear=True)], None),
        ([trace("watch", 100, right=True), trace("watch", 100, right=False, answer=None)], None),
        ([trace("watch", 100, right=True), trace("watch", 100, right=False, correct=None)], None),
        ([trace("watch", 100, right=True, correct=None), trace("watch", 100, right=False)], None),
        ([trace("watch", 100, right=True), trace("watch", 100, right=False, readable=False)], None),
        ([trace("watch", 100, right=True), trace("watch", 0, right=False)], None),
        ([trace("prose", 100, right=False), trace("prose", 101, right=True, attempt=1)], (101, 100)),
        ([trace("watch", 100, right=True)], None),
    ],
)
def test_a_pair_is_a_right_and_a_wrong_trace_of_similar_length(
    traces: list[dict[str, Any]], lengths: tuple[int, int] | None
) -> None:
    for order in itertools.permutations(traces):
        pair = pair_of(order)
        assert (pair and (pair.chosen["length"], pair.rejected["length"])) == lengths
        assert pair is None or (pair.chosen["correct"], pair.rejected["correct"]) == (True, False)


def test_a_trainer_gets_one_pair_a_question(tmp_path: Path) -> None:
    out = opened(make_output(tmp_path / "out", 8))
    done = export_dpo(out, tmp_path / "dpo.jsonl", Selection(fraction=0.5), SampleStyle())
    lines = [json.loads(line) for path in done.paths for line in path.read_text().splitlines()]
    kept = {row["id"] for batch in out.batches("data", ["id"]) for row in batch.to_pylist()}
    assert done.what == "pairs"
    assert sum(done.counts.values()) == len(lines)
    assert len(lines) + done.left_out == len(kept)
    assert len({line["id"] for line in lines}) == len(lines)
    assert {line["id"] for line in lines} <= kept, "dropped questions make no pair"
    for line in lines:
        assert set(line) == {"prompt", "chosen", "rejected", "id", "category", "videos", "source"}
        (prompt,), (chosen,), (rejected,) = line["prompt"], line["chosen"], line["rejected"]
        assert (prompt["role"], chosen["role"], rejected["role"]) == ("user", "assistant", "assistant")
        assert prompt["content"].startswith("Where does the dog of")
        assert chosen["content"].startswith("Thought ")
        assert chosen["content"][-1] != rejected["content"][-1], "the letters of their answers"
        assert chosen["content"] != rejected["content"]


def test_trl_takes_the_pairs_as_they_are(tmp_path: Path) -> None:
    """The columns and types of trl's conversational preference format with an explicit prompt."""
    out = opened(make_output(tmp_path / "out", 8))
    export_dpo(out, tmp_path / "dpo.jsonl", Selection(), SampleStyle())
    table = pa.Table.from_pylist([json.loads(line) for line in (tmp_path / "dpo.jsonl").read_text().splitlines()])
    message = pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))
    for name in ("prompt", "chosen", "rejected"):
        assert sorted(field.name for field in table.schema.field(name).type.value_type) == ["content", "role"]
        assert pa.types.is_list(message)


def test_the_style_and_the_condition_of_other_exports_apply(tmp_path: Path) -> None:
    out = opened(make_output(tmp_path / "out", 8))
    selection = Selection(where=RowFilter("category == 'plot'"), columns=("num_clips",))
    style = SampleStyle(answer="think_tagged", video_root="/films")
    done = export_dpo(out, tmp_path / "dpo.json", selection, style)
    lines = json.loads((tmp_path / "dpo.json").read_text())
    assert {line["category"] for line in lines} == {"plot"}
    assert len(lines) == done.counts["all"] > 0
    for line in lines:
        assert line["num_clips"] == 5
        assert not line["videos"][0].startswith("/")
        assert line["chosen"][0]["content"].startswith("<think>\n")
        assert line["chosen"][0]["content"].endswith("</answer>")


def test_an_output_without_traces_is_one_sentence(tmp_path: Path) -> None:
    folder = make_output(tmp_path / "out", 2)
    (folder / "traces" / "part-1.parquet").unlink()
    with pytest.raises(ConfigError, match=r"holds no traces: run the job with checks.watch.policy"):
        export_dpo(opened(folder), tmp_path / "dpo.jsonl", Selection(), SampleStyle())


def test_the_audit_finds_a_bias_that_was_planted() -> None:
    def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
        names = ["question_id", "kept", "check", "attempt", "answer", "correct", "readable", "letters_unclear"]
        fields = [SCHEMAS["traces"].field(name) for name in [*names, "option_order", "thoughts", "reply"]]
        plain = [{key: value for key, value in row.items() if key != "length"} for row in rows]
        return pa.RecordBatch.from_pylist(plain, schema=pa.schema(fields))

    rows = []
    for n in range(40):
        one: dict[str, Any] = {"question_id": f"v_q{n}"}
        rows += [
            trace("watch", 120, right=True, option_order="ABCD" if n % 2 else "CDAB", **one),
            trace("watch", 100, right=False, attempt=1, option_order="BACD", **one),
        ]
    for size in (1, 3, 80):  # a question may lie in two batches
        counter = PairCounter()
        for start in range(0, len(rows), size):
            counter.add(batch(rows[start : start + size]))
        found = counter.audit()
        assert (found.pairs, found.records) == (40, 40)
        assert (found.longer.share, found.longer.p < 1e-9) == (1.0, True)
        assert found.positions == {
            "chosen": {"A": 20, "B": 0, "C": 20, "D": 0},
            "rejected": {"A": 40, "B": 0, "C": 0, "D": 0},
        }
        assert max(found.positions_p.values()) < 1e-6


def test_pass_at_k_is_that_of_the_formula() -> None:
    watched = {(0, 4): 1, (1, 4): 2, (4, 4): 1}
    for k, value in pass_at(watched).items():
        exact = 0.0
        for (right, of), number in watched.items():
            draws = list(itertools.combinations(range(of), k))
            exact += number * sum(any(one < right for one in draw) for draw in draws) / len(draws)
        assert value == pytest.approx(exact / 4)
    assert list(pass_at(watched)) == [1, 2, 3, 4]
    assert pass_at({}) == {}


def test_the_audit_shows_pass_at_k_and_captions_against_the_film(tmp_path: Path) -> None:
    folder = make_output(tmp_path / "out", 20)
    found = count(opened(folder)).audit
    assert set(found.watched) == {"0", "0.25", "0.5", "0.75"}
    assert sum(found.watched.values()) == 18 * 4, "of kept and of dropped questions"
    assert found.watch["all"].mean == pytest.approx(0.375)
    assert found.pass_at[1] == pytest.approx(0.375)
    assert found.success["temporal"]["watch"].mean == 0.0
    assert found.success["plot"]["watch"].mean == 0.75
    assert found.success["temporal"]["solve"].mean == pytest.approx(10 / 18)
    said = CliRunner().invoke(app, ["audit", str(folder)], env={"COLUMNS": "200"}).output
    for words in ("75 % of its answers are right", "pass@k", "captions 56%, film 75%", "preference pairs", "█"):
        assert words in said, said


def test_a_table_without_rows_counts_nothing(tmp_path: Path) -> None:
    folder = make_output(tmp_path / "out", 2)
    write_shard(folder, "traces", "none", [])
    (folder / "traces" / "part-1.parquet").unlink()
    assert count(opened(folder)).audit.pairs.pairs == 0

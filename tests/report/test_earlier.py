"""Shards of an earlier release are read with the columns of this one, beside new ones and alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lvqa_ray.cli.commands import app
from lvqa_ray.dataset.compaction import compact_shards
from lvqa_ray.dataset.reader import opened
from lvqa_ray.dataset.shards import is_current, read_rows, read_whole, shards
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.dataset.verify import verify
from lvqa_ray.records.question_columns import training_messages
from lvqa_ray.records.tables import SCHEMAS, TableName
from lvqa_ray.report.export_files import export_records
from lvqa_ray.report.subtitle_export import export_subtitles
from tests.report import earlier
from tests.report.made import make_output

VIDEOS = 12


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return make_output(tmp_path / "out", VIDEOS)


@pytest.fixture(params=["old", "mixed"])
def mixed(request: pytest.FixtureRequest, out: Path) -> Path:
    """The same output with old shards only, or with an old one beside a new one."""
    for table in SCHEMAS:
        if table == "traces":  # they had none
            continue
        (shard,) = (out / table).glob("*.parquet")
        whole = pq.read_table(shard)
        at = whole.num_rows // 2 if request.param == "mixed" else whole.num_rows
        if at < whole.num_rows:
            pq.write_table(whole.slice(at), shard.with_name("part-2.parquet"))
        pq.write_table(whole.slice(0, at), shard)
        earlier.rewritten(shard, table)
    return out


def shown(out: Path, tmp_path: Path) -> dict[str, Any]:
    """What the commands tell of an output."""
    output = opened(out)
    lines = {}
    for form in ("dataflow-json", "sharegpt", "llava", "open-ended", "long-rl"):
        export_records(output, tmp_path / "x.json", form)
        lines[form] = sorted((tmp_path / "x.json").read_text(encoding="utf-8").split("\n"))
    numbers = count(output)
    found = numbers.audit
    return lines | {
        "audit": (found.quota, found.checks, found.dropped, found.keys, found.videos),
        "counts": (numbers.questions, numbers.failed),
    }


def test_old_shards_say_the_same_as_new_ones(mixed: Path, tmp_path: Path) -> None:
    new = make_output(tmp_path / "new", VIDEOS)
    assert shown(mixed, tmp_path) == shown(new, tmp_path)
    (record, *_) = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert record["problem_id"]


def test_every_column_of_this_release_is_read_from_an_old_shard(mixed: Path) -> None:
    (first, *_) = shards(mixed, "data")
    for row in read_whole(first, "data").to_pylist():
        parsed = row["parsed_reasoning"]
        assert list(row) == SCHEMAS["data"].names
        assert row["messages"] == training_messages(
            row["full_question"], row["reformatted_reasoning"], parsed["ANSWER"]
        )
        assert row["rewrite_prompt"] == "Rewrite."
        assert row["requested_category"] == row["category"]
        assert row["video_info"]["aspect_ratio"] == 160 / 90
        assert all(step["clip_ids"] is None for step in parsed["REASONS"])
    (first, *_) = shards(mixed, "clips")
    assert {row["aspect_ratio"] for row in read_whole(first, "clips").to_pylist()} <= {160 / 90, None}


def test_a_run_writes_old_shards_anew_so_that_any_reader_takes_the_table(mixed: Path) -> None:
    before = sorted(row["id"] for row in read_rows(mixed, "data", ["id"]))
    assert "missing or wrong columns" not in str(verify(mixed).problems)
    compact_shards(mixed, "20990101T000000000000Z", 1000)
    for table in SCHEMAS:
        assert all(is_current(shard, table) for shard in shards(mixed, table))
        assert duckdb.read_parquet(f"{mixed}/{table}/*.parquet").columns == SCHEMAS[table].names
    ratios = (
        duckdb.read_parquet(f"{mixed}/clips/*.parquet").aggregate("min(aspect_ratio), max(aspect_ratio)").fetchall()
    )
    assert ratios == [(160 / 90, 160 / 90)]
    assert sorted(row["id"] for row in read_rows(mixed, "data", ["id"])) == before


def test_the_report_and_the_hub_folder_are_made_of_old_shards(mixed: Path, tmp_path: Path) -> None:
    for args in (["report", str(mixed)], ["export", str(mixed), "--format", "hf", "--to", str(tmp_path / "hf")]):
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 0, done.output
    rows = pq.read_table(tmp_path / "hf" / "data")
    assert rows.column_names == SCHEMAS["data"].names
    assert rows["messages"].null_count == 0
    shutil.rmtree(tmp_path / "hf")


def test_control_characters_of_old_shards_are_not_exported(out: Path, tmp_path: Path) -> None:
    unsafe = "A \x1b[31mred\u202e car\x07."
    columns: tuple[tuple[TableName, str], ...] = (("clips", "caption"), ("data", "full_question"))
    for table, column in columns:
        (shard,) = (out / table).glob("*.parquet")
        rows = pq.read_table(shard)
        texts = pa.array([unsafe] * rows.num_rows)
        pq.write_table(rows.set_column(rows.column_names.index(column), column, texts), shard)
        earlier.rewritten(shard, table)
    export_records(opened(out), tmp_path / "x.json", "dataflow-json")
    export_subtitles(opened(out), tmp_path / "srt", "srt")
    files = [tmp_path / "x.json", *(tmp_path / "srt").iterdir()]
    assert len(files) > VIDEOS // 2
    for file in files:
        assert "A red car." in (text := file.read_text(encoding="utf-8"))
        assert not {"\x1b", "\u202e", "\\u202e", "\\u001b"} & {*text, *(text[at : at + 6] for at in range(len(text)))}

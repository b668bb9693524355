"""The whole job on real Ray, real videos and a real endpoint, over videos of every kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.dataset.reader import opened
from lvqa_ray.engine.run import RunSummary, run
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.export_files import export_records
from lvqa_ray.report.export_formats import DATAFLOW as COLUMNS
from tests import media
from tests.conftest import MODEL, tables
from tests.fakes.answers import media_urls, text_of
from tests.fakes.endpoint import FakeEndpoint

pytestmark = pytest.mark.usefixtures("ray_session")

FAULTY = {
    "gone": "missing_file",
    "empty": "empty_file",
    "half": "truncated",
    "cut": "unreadable",
    "sound": "no_video_stream",
    "text": "not_a_video",
}
USABLE = ("0001", "0002", "twin-a", "twin-b", "odd", "phone", "vfr", "single")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of videos of every kind, good and hostile."""
    folder = tmp_path_factory.mktemp("corpus")
    for twin in ("a", "b"):
        (folder / twin).mkdir()
    shutil.copy(media.bikes(), folder / "0001.mp4")
    media.make_video(folder / "0002.mp4", seconds=3, scenes=(1.0, 2.0), audio_seconds=5)
    media.make_video(folder / "a" / "twin.mp4", seconds=2, scenes=(0.7,))
    media.make_video(folder / "b" / "twin.mp4", seconds=2, static=True)
    media.make_video(folder / "odd.mp4", size=(161, 91), pix_fmt="yuv444p")
    media.make_video(folder / "phone.mp4", rotation=90)
    media.make_video(folder / "vfr.mp4", seconds=3, vfr=True)
    media.make_video(folder / "single.mp4", seconds=0.01)
    (folder / "empty.mp4").write_bytes(b"")
    media.truncate(media.make_video(folder / "half.mp4", seconds=6, faststart=True), 0.5)
    media.truncate(media.make_video(folder / "cut.mp4", seconds=3), 0.5)
    media.make_sound(folder / "sound.mp4")
    (folder / "text.mp4").write_text("This is no video.\n" * 50)
    rows: list[dict[str, Any]] = [
        {"video": f"{name}.mp4"} for name in ("0001", *FAULTY, "odd", "phone", "vfr", "single")
    ]
    rows += [{"video": ["0002.mp4"], "genre": "test", "conversation": [{"from": "human", "value": "Say what moves."}]}]
    rows += [{"video": "a/twin.mp4"}, {"video": "b/twin.mp4"}]
    (folder / "manifest.json").write_text(json.dumps(rows))
    return folder


class Finished:
    """One run of the corpus, which many tests look at."""

    def __init__(self, job: Job, summary: RunSummary, fake: FakeEndpoint) -> None:
        self.job, self.summary, self.fake = job, summary, fake
        self.rows = tables(job.output)


@pytest.fixture(scope="module")
def finished(corpus: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    with FakeEndpoint() as fake:
        at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None}
        job = Job.of(
            {
                "videos": [str(corpus / "manifest.json")],
                "output": str(tmp_path_factory.mktemp("run") / "out"),
                "endpoints": {"vlm": at, "llm": at},
                "split": {"max_seconds": 2.0},
                "sample": {"count": 2, "short_side": 64},
                "ask": {"quota": {"goal": 1}},
                "analysis": {"tasks": ["mind_map"]},
            }
        )
        yield Finished(job, run(job), fake)


def test_every_video_ends_as_a_record_or_as_a_failure_with_a_reason(finished: Finished) -> None:
    summary = finished.summary
    assert (summary.videos, summary.records, summary.unfinished) == (14, len(USABLE), 0)
    assert {row["id"]: row["kind"] for row in finished.rows["failures"]} == FAULTY
    assert len(finished.rows["data"]) + len(finished.rows["failures"]) == summary.videos
    assert all(row["message"] and not row["retryable"] for row in finished.rows["failures"])
    assert summary.exit_status == 0


def test_ids_stay_names_and_twins_stay_apart(finished: Finished) -> None:
    ids = {row["video_id"] for row in finished.rows["data"]}
    assert {row["id"] for row in finished.rows["data"]} == {f"{name}_q0" for name in ids}
    assert {"0001", "0002", "odd", "phone", "vfr", "single"} < ids
    twins = {row["id"]: row for row in finished.rows["data"] if row["video_id"].startswith("twin-")}
    assert len(twins) == 2
    assert len({row["captions"] for row in twins.values()}) == 2


def test_every_question_is_about_its_own_video(finished: Finished) -> None:
    captions = {row["id"]: row["caption"] for row in finished.rows["clips"]}
    for record in finished.rows["data"]:
        lines = record["captions"].splitlines()
        own = [captions[f"{record['video_id']}_{index}"] for index in range(record["num_clips"])]
        assert [line.split(", ", 1)[1].lower() for line in lines] == [caption.lower() for caption in own]
        question = parse_question(record["reasoning"])
        right = question.options[question.answer]
        assert right.lower() in lines[0].lower()
        assert record["parsed_reasoning"]["ANSWER"] == question.answer


def test_every_caption_request_held_a_prompt_and_pictures(finished: Finished) -> None:
    asked = [request.body for request in finished.fake.requests if media_urls(request.body)]
    assert len(asked) == len(finished.rows["clips"])
    for body in asked:
        assert 1 <= len(media_urls(body)) <= 2  # a video of one frame has but one picture
        assert "Frame at" in text_of(body)
    own = [body for body in asked if text_of(body).startswith("Say what moves.")]
    assert len(own) == 2  # the 3 s video with a prompt of its own, in clips of 2 s: the rest is no sliver


def test_clips_tell_where_they_are(finished: Finished) -> None:
    clips = [row for row in finished.rows["clips"] if row["video_id"] == "0002"]
    clips.sort(key=lambda row: row["index"])
    assert [(row["id"], row["timestamp_start"], row["timestamp_end"]) for row in clips] == [
        ("0002_0", 0.0, 2.0),
        ("0002_1", 2.0, 3.0),
    ]
    assert [(row["start"], row["end"]) for row in clips] == [
        ("00:00:00.000", "00:00:02.000"),
        ("00:00:02.000", "00:00:03.000"),
    ]
    assert [(row["frame_start"], row["frame_end"], row["num_frames"]) for row in clips] == [(0, 50, 50), (50, 75, 25)]


def test_the_phone_video_is_upright(finished: Finished) -> None:
    (record,) = (row for row in finished.rows["data"] if row["video_id"] == "phone")
    info = record["video_info"]
    assert (info["width"], info["height"], info["success"]) == (90, 160, True)
    assert info["aspect_ratio"] == pytest.approx(90 / 160)


def test_the_bill_is_the_endpoints_own_count(finished: Finished) -> None:
    spent = finished.summary.spent
    assert sum(stage.calls for stage in spent.values()) == len(finished.fake.requests)
    assert sum(stage.input_tokens for stage in spent.values()) == finished.fake.tokens_in
    assert sum(stage.output_tokens for stage in spent.values()) == finished.fake.tokens_out
    assert all(times == 1 for times in finished.fake.paid.values())


def test_each_usable_video_has_a_summary_and_a_mind_map(finished: Finished) -> None:
    rows = finished.rows["analysis"]
    assert sorted((row["video_id"], row["index"], row["task"], row["style"]) for row in rows) == sorted(
        (row["video_id"], *each)
        for row in finished.rows["data"]
        for each in ((0, "summary", "plot_detail"), (1, "mind_map", None))
    )
    assert all(row["text"] and not row["error"] and not row["alone"] for row in rows)
    captions = {row["video_id"]: row["captions"].casefold() for row in finished.rows["data"]}
    for row in rows:
        if row["task"] == "mind_map":
            assert json.loads(row["value"])["name"].casefold() in captions[row["video_id"]]
    assert finished.summary.spent["mind_map"].calls == len(USABLE)
    assert sum(row["usage"]["calls"] for row in rows) == 2 * len(USABLE)


def test_extra_columns_ride_along(finished: Finished) -> None:
    (record,) = (row for row in finished.rows["data"] if row["video_id"] == "0002")
    assert json.loads(record["extra"]) == {"genre": "test"}


def test_a_finished_run_is_done_again_without_a_call(finished: Finished) -> None:
    before = len(finished.fake.requests)
    again = run(finished.job)
    assert (again.already_done, again.records, again.spent) == (14, len(USABLE), {})
    assert len(finished.fake.requests) == before
    assert tables(finished.job.output) == finished.rows


def test_pandas_polars_datasets_and_duckdb_read_every_table(finished: Finished, tmp_path: Path) -> None:
    """Also those without rows: nothing was dropped here, and nothing is said."""
    import datasets
    import duckdb
    import pandas as pd
    import polars as pl

    for table, schema in SCHEMAS.items():
        folder = Path(finished.job.output) / table
        count = len(finished.rows[table])
        assert list(pd.read_parquet(folder).columns) == schema.names
        for source in (folder, folder / "*.parquet"):
            found = pl.scan_parquet(source).collect()
            assert (found.columns, found.height) == (schema.names, count)
        assert duckdb.read_parquet(f"{folder}/*.parquet").columns == schema.names
        if not count:  # `datasets` loads nothing from a table without rows, whatever file there is
            assert [shard.name for shard in folder.iterdir()] == ["empty.parquet"]
            continue
        loaded = datasets.load_dataset(
            "parquet", data_files=f"{folder}/*.parquet", cache_dir=str(tmp_path), split="train"
        )
        assert (loaded.num_rows, loaded.column_names) == (count, schema.names)
        assert duckdb.read_parquet(f"{folder}/*.parquet").aggregate("count(*)").fetchall() == [(count,)]
    data = duckdb.read_parquet(f"{finished.job.output}/data/*.parquet")
    assert all(option for (option,) in data.project("parsed_reasoning.OPTIONS.A").fetchall())


def test_messages_are_the_question_and_the_reasoning_and_nothing_holds_the_key_beside_them(finished: Finished) -> None:
    """Columns by which trl, ms-swift, verl, LLaMA-Factory and Axolotl find training text."""
    taken = {"prompt", "completion", "chosen", "rejected", "text", "conversation", "conversations", "query", "response"}
    taken |= {"instruction", "input", "output", "answer", "question", "problem", "solution", "content", "history"}
    taken |= {"target", "targets", "answers", "answer_key", "label", "system", "tools", "images", "image", "videos"}
    for table in ("data", "drops"):
        assert not taken & {*SCHEMAS[table].names}
    for record in finished.rows["data"]:
        user, assistant = record["messages"]
        assert user == {"role": "user", "content": record["full_question"]}
        assert assistant["role"] == "assistant"
        assert assistant["content"].startswith(record["reformatted_reasoning"].strip())
        assert assistant["content"].endswith(f"Answer: {record['parsed_reasoning']['ANSWER']}")
        steps = record["parsed_reasoning"]["REASONS"]
        clips = {row["id"]: row for row in finished.rows["clips"]}
        assert all(step["clip_ids"] and {*step["clip_ids"]} <= {*clips} for step in steps)
        for step in steps:
            first, last = clips[step["clip_ids"][0]], clips[step["clip_ids"][-1]]
            assert (step["start_s"], step["end_s"]) == (first["timestamp_start"], last["timestamp_end"])


def test_the_reference_json_has_its_columns_in_its_order(finished: Finished, tmp_path: Path) -> None:
    made = export_records(opened(Path(finished.job.output)), tmp_path / "out.json", "dataflow-json")
    assert made.counts == {"all": len(USABLE)}
    records = json.loads((tmp_path / "out.json").read_text())
    (record,) = (row for row in records if row["id"] == "0002_q0")
    assert list(record) == [*COLUMNS, "genre"]
    assert list(record["parsed_reasoning"]) == ["QUESTION", "OPTIONS", "ANSWER", "REASONS"]
    assert set(record["parsed_reasoning"]["REASONS"]["Step 1"]) == {"timestamp", "reasons"}
    assert record["conversation"] == [{"from": "human", "value": record["prompt"]}]
    assert record["reformatted_reasoning"]


def test_run_json_says_what_was_done(finished: Finished) -> None:
    report = json.loads((Path(finished.job.output) / "run.json").read_text())
    assert report["finished"]
    assert report["job_hash"] == finished.job.job_hash
    assert report["job"]["split"]["max_seconds"] == 2.0

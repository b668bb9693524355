"""The check of a whole output says what is wrong with it, and says nothing is where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.compaction import compact_shards
from lvqa_ray.dataset.failures import by_kind, failures
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.dataset.stored_manifest import store_manifest
from lvqa_ray.dataset.verify import VerifyResult, verify
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import TableName
from tests.dataset.test_resume import RUNS, clip, line, put, result, video


def whole(folder: Path) -> None:
    """An output in order: two records, with a caption, a gap and a clip that was filtered, and one failure."""
    store_manifest(folder, Videos.of([video("v"), video("w"), video("x")]), "j")
    put(
        folder,
        "data",
        "a",
        line("v", 0, num_clips=2, gaps=[]),
        line("w", 0, num_clips=1, gaps=[{"start_s": 1.0}]),
    )
    put(
        folder,
        "clips",
        "a",
        *(clip("v", 0, id=f"v_{index}", index=index, caption="A street.") for index in (0, 1)),
        clip("w", 0, caption="A street."),
        clip("w", 0, id="w_1", index=1, error="refused"),
        clip("w", 0, id="w_2", index=2, dropped="frames_min"),
    )
    put(
        folder,
        "failures",
        "a",
        line("x", 0, kind="empty_file", stage="probe", retryable=False, message="is empty."),
    )


def test_results_alone_count_and_a_task_that_failed_is_told(tmp_path: Path) -> None:
    whole(tmp_path)
    store_manifest(tmp_path, Videos.of([video(name) for name in "vwxyz"]), "j")
    lost = {"kind": "timed_out", "retryable": True, "error_message": "no reply", "task": "titles", "index": 1}
    put(tmp_path, "clips", "y", clip("y", 0, caption="A street."))
    put(tmp_path, "analysis", "a", result("v", 0), result("v", 0, **lost), result("y", 0, alone=True))
    verdict = verify(tmp_path)
    assert (verdict.records, verdict.alone, verdict.lacking, verdict.unfinished) == (3, 1, 1, 1)
    assert verdict.retryable == 1
    assert "2 with records + 1 analyzed + 1 failed = 4 of 5 videos. 1 videos are not finished" in verdict.line
    told = [(row["id"], row["stage"], row["kind"], row["message"]) for row in failures(tmp_path)]
    assert told == [("x", "probe", "empty_file", "is empty."), ("v", "titles", "timed_out", "no reply")]
    assert [kind.kind for kind in by_kind(tmp_path, ["timed_out"])] == ["timed_out"]
    put(tmp_path, "analysis", "b", result("v", 0))
    assert "1 rows of analysis/ are duplicates" in verify(tmp_path).line


def test_an_output_in_order_is_one_line(tmp_path: Path) -> None:
    whole(tmp_path)
    verdict = verify(tmp_path)
    assert verdict == VerifyResult(videos=3, records=2, failures={"empty_file": 1}, clips=5, shards=3)
    assert verdict.ok
    assert verdict.line == (
        "Verified: 2 with records + 1 failed = 3 of 3 videos, no duplicate ids, 3 shards readable, 5 clips complete."
    )
    assert verify(tmp_path, since=4e9) == verdict


def rewrite(table: TableName, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (shard,) = (folder / table).glob("*.parquet")
        pq.write_table(change(pq.read_table(shard)), shard)

    return do


def cut_off(folder: Path) -> None:
    (shard,) = (folder / "clips").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-20])


def spoil_a_page(folder: Path) -> None:
    """Damage that the footer does not show."""
    (shard,) = (folder / "clips").glob("*.parquet")
    at = pq.read_metadata(shard).row_group(0).column(0).data_page_offset
    content = bytearray(shard.read_bytes())
    content[at : at + 20] = b"\xff" * 20
    shard.write_bytes(bytes(content))


def again(table: TableName, *rows: dict[str, Any]) -> Callable[[Path], None]:
    return lambda folder: put(folder, table, "b", *rows)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (rewrite("data", lambda rows: rows.slice(1)), "1 videos are not finished: run the same command"),
        (again("data", line("v", 0, num_clips=2, gaps=[])), "1 rows of data/ are duplicates or outdated (v)"),
        (again("failures", line("x", 0, kind="k")), "1 rows of failures/ are duplicates or outdated (x)"),
        (again("failures", line("v", 0, kind="k")), "1 rows of failures/ are duplicates or outdated (v)"),
        (rewrite("clips", lambda rows: rows.slice(0, 3)), "1 records have missing or extra rows in clips/ (w)"),
        (rewrite("clips", lambda rows: rows.slice(1)), "1 records have missing or extra rows in clips/ (v)"),
        (
            again("clips", clip("v", 0, id="v_1", index=1, caption="x")),
            "1 records have missing or extra rows in clips/ (v)",
        ),
        (
            rewrite("clips", lambda rows: rows.set_column(16, "caption", pa.nulls(5, pa.string()))),
            "2 records have missing or extra rows in clips/",
        ),
        (
            rewrite("data", lambda rows: rows.set_column(0, "id", pa.array([1, 2]))),
            "has missing or wrong columns for data/ (id)",
        ),
        (cut_off, "is not a readable shard"),
        (spoil_a_page, "is not a readable shard"),
        (lambda folder: (folder / "manifest.parquet").unlink(), "There is no manifest of a run"),
        (
            lambda folder: store_manifest(folder, Videos.of([replace(video("v"), fingerprint="g")]), "j"),
            "1 videos are not finished",
        ),
        (
            lambda folder: store_manifest(folder, Videos.of([video("v")]), "k"),
            "0 of 1 videos. 1 videos are not finished",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, damage: Callable[[Path], None], says: str) -> None:
    whole(tmp_path)
    damage(tmp_path)
    verdict = verify(tmp_path)
    assert not verdict.ok
    assert verdict.line.startswith("Verification failed: ")
    assert says in verdict.line


def test_several_questions_of_a_video_are_several_records(tmp_path: Path) -> None:
    store_manifest(tmp_path, Videos.of([video("v_q1")]), "j")
    rows = [line("v_q1", 0, id=f"v_q1_q{number}", num_clips=1, gaps=[]) for number in range(3)]
    put(tmp_path, "data", "a", *rows)
    put(tmp_path, "drops", "a", line("v_q1", 0, id="v_q1_q3", check="structure"))
    put(tmp_path, "clips", "a", clip("v_q1", 0, caption="A street."))
    assert verify(tmp_path) == VerifyResult(videos=1, records=1, clips=1, shards=3)
    put(tmp_path, "data", "b", rows[1])
    assert "1 rows of data/ are duplicates" in verify(tmp_path).line
    compact_shards(tmp_path, RUNS[0], 100)
    assert verify(tmp_path).ok
    assert sorted(row["id"] for row in read_rows(tmp_path, "data")) == [row["id"] for row in rows]
    put(tmp_path, "data", "c", line("v_q1", 1, num_clips=1, gaps=[]))
    put(tmp_path, "clips", "c", clip("v_q1", 1, caption="A street."))
    compact_shards(tmp_path, RUNS[1], 100)
    assert [row["id"] for row in read_rows(tmp_path, "data")] == ["v_q1"]
    assert list(read_rows(tmp_path, "drops")) == []


def test_an_earlier_record_and_those_of_other_videos_are_no_fault(tmp_path: Path) -> None:
    whole(tmp_path)
    again("failures", line("v", 1, kind="timed_out", retryable=True))(tmp_path)
    store_manifest(tmp_path, Videos.of([video("v"), video("x")]), "j")
    verdict = verify(tmp_path)
    assert (verdict.records, verdict.failures, verdict.retryable) == (0, {"timed_out": 1, "empty_file": 1}, 1)
    assert (verdict.kept, verdict.others, verdict.ok) == (1, 1, True)


def test_failures_are_those_that_stand(tmp_path: Path) -> None:
    whole(tmp_path)
    again("failures", line("w", 1, kind="timed_out", retryable=True, message="late"))(tmp_path)
    put(tmp_path, "failures", "c", line("v", 0, kind="refused"))
    put(tmp_path, "data", "c", line("v", 1))
    assert [row["id"] for row in failures(tmp_path)] == ["x", "w"]
    assert [row["kind"] for row in failures(tmp_path, ["timed_out"])] == ["timed_out"]
    first, second = by_kind(tmp_path)
    assert (first.kind, first.count, first.retryable, first.example) == ("empty_file", 1, 0, "x")
    assert (second.kind, second.retryable, second.reason) == ("timed_out", 1, "late")
    assert "timeout_s" in second.mend


def test_no_output_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no failures"):
        by_kind(tmp_path)

"""What is done stays done, what a later run replaced goes, and a kill between the two leaves nothing wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.compaction import compact_shards
from lvqa_ray.dataset.outcomes import outcomes
from lvqa_ray.dataset.resume import RerunReason, remaining
from lvqa_ray.dataset.shards import read_rows, shards, write_shard
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import Turn, Video
from lvqa_ray.records.tables import TableName

NOTHING = Video(id="", uri="", fingerprint="").input_hash
RUNS = ("20260101T000000Z", "20260102T000000Z")


def line(video_id: str, run: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": video_id,
        "video_id": video_id,
        "run_id": RUNS[run],
        "job_hash": "j",
        "fingerprint": "f",
        "input_hash": NOTHING,
    } | changes


def clip(video_id: str, run: int, **changes: Any) -> dict[str, Any]:
    return line(f"{video_id}_0", run) | {"video_id": video_id, "index": 0} | changes


def put(folder: Path, table: TableName, name: str, *rows: dict[str, Any]) -> None:
    write_shard(folder, table, name, [{k: v for k, v in row.items() if k in _columns(table)} for row in rows])


def _columns(table: TableName) -> set[str]:
    from lvqa_ray.records.tables import SCHEMAS

    return set(SCHEMAS[table].names)


def video(name: str, fingerprint: str = "f") -> Video:
    return Video(id=name, uri=f"/{name}.mp4", fingerprint=fingerprint)


def test_only_what_has_no_lasting_outcome_remains(tmp_path: Path) -> None:
    put(tmp_path, "data", "s", line("done", 0), line("other-job", 0, job_hash="k"), line("changed", 0))
    put(tmp_path, "failures", "s", line("broken", 0, retryable=False), line("flaky", 0, retryable=True))
    videos = [video("done"), video("other-job"), video("changed", "g"), video("broken"), video("flaky"), video("new")]
    left = remaining(Videos.of(videos), outcomes(tmp_path), "j")
    assert [row.id for row in left.videos] == ["other-job", "changed", "flaky", "new"]
    assert left.reasons == [
        (RerunReason.SETTINGS, "k"),
        (RerunReason.FILE, ""),
        (RerunReason.RETRY, ""),
        (RerunReason.NEW, ""),
    ]
    assert sum(left.counts.values()) == 6


def test_settling_keeps_the_latest_outcome_of_each_video(tmp_path: Path) -> None:
    put(tmp_path, "failures", "a", line("v", 0, retryable=True), line("w", 0, retryable=True))
    put(tmp_path, "clips", "a", clip("v", 0), clip("w", 0))
    put(tmp_path, "data", "b", line("v", 1))
    put(tmp_path, "clips", "b", clip("v", 1, caption="new"))
    compact_shards(tmp_path, RUNS[1], 100)
    assert [row["id"] for row in read_rows(tmp_path, "data")] == ["v"]
    assert [row["id"] for row in read_rows(tmp_path, "failures")] == ["w"]
    assert [(row["id"], row["caption"]) for row in read_rows(tmp_path, "clips")] == [("w_0", None), ("v_0", "new")]


def result(video_id: str, run: int, **changes: Any) -> dict[str, Any]:
    row = line(video_id, run) | {"index": 0, "task": "summary", "alone": False, "retryable": False}
    return row | ({"error": changes["kind"]} if "kind" in changes else {}) | changes


def test_a_task_that_failed_is_tried_again_and_results_alone_are_an_outcome(tmp_path: Path) -> None:
    names = ("good", "flaky", "broken", "alone", "alone-flaky", "none")
    videos = Videos.of([video(name) for name in names])
    put(tmp_path, "data", "a", *(line(name, 0) for name in ("good", "flaky", "broken")))
    again, never = {"kind": "timed_out", "retryable": True}, {"kind": "bad_tree"}
    put(
        tmp_path,
        "analysis",
        "a",
        result("good", 0),
        result("flaky", 0),
        *(result("flaky", 0, index=index, **again) for index in (1, 2)),
        result("broken", 0, **never),
        result("alone", 0, alone=True),
        result("alone-flaky", 0, alone=True),
        result("alone-flaky", 0, index=1, alone=True, **again),
        result("none", 0),  # what was written before its questions were
    )
    done = outcomes(tmp_path)
    assert done.num_rows == 5
    assert sum(done["failed"].to_pylist()) == 0

    def left(**how: Any) -> list[str]:
        return [row.id for row in remaining(videos, done, "j", **how).videos]

    assert left() == ["flaky", "alone-flaky", "none"]
    assert left(retry_failures=True) == ["flaky", "broken", "alone-flaky", "none"]
    assert left(only=["bad_tree"]) == ["broken"]
    # A later run did one of them again, another video failed for now, and a third for good.
    put(tmp_path, "analysis", "b", result("flaky", 1))
    put(tmp_path, "data", "b", line("flaky", 1))
    put(tmp_path, "failures", "b", line("alone", 1, retryable=True), line("good", 1, retryable=False))
    compact_shards(tmp_path, RUNS[1], 100)
    kept = {(row["video_id"], row["index"], row["run_id"]) for row in read_rows(tmp_path, "analysis")}
    assert kept == {
        ("flaky", 0, RUNS[1]), ("broken", 0, RUNS[0]), ("alone", 0, RUNS[0]),
        ("alone-flaky", 0, RUNS[0]), ("alone-flaky", 1, RUNS[0]),
    }  # fmt: skip
    assert {row["id"] for row in read_rows(tmp_path, "data")} == {"flaky", "broken"}


def test_a_failure_that_may_pass_takes_no_record_away(tmp_path: Path) -> None:
    put(tmp_path, "data", "a", line("v", 0), line("w", 0))
    put(tmp_path, "clips", "a", clip("v", 0), clip("w", 0))
    put(tmp_path, "failures", "b", line("v", 1, retryable=True), line("w", 1, retryable=False))
    put(tmp_path, "clips", "b", clip("v", 1), clip("w", 1))
    compact_shards(tmp_path, RUNS[1], 100)
    assert [row["id"] for row in read_rows(tmp_path, "data")] == ["v"]
    assert {row["id"] for row in read_rows(tmp_path, "failures")} == {"v", "w"}
    assert {(row["id"], row["run_id"]) for row in read_rows(tmp_path, "clips")} == {("v_0", RUNS[0]), ("w_0", RUNS[1])}
    assert [row.id for row in remaining(Videos.of([video("v"), video("w")]), outcomes(tmp_path), "j").videos] == ["v"]


def test_what_comes_along_is_part_of_what_is_done(tmp_path: Path) -> None:
    put(tmp_path, "data", "a", line("v", 0))
    same = video("v")
    other = replace(same, extra='{"split": "test"}')
    prompted = replace(same, conversation=(Turn(speaker="human", value="Name the colours."),))
    assert not remaining(Videos.of([same]), outcomes(tmp_path), "j").videos
    assert list(remaining(Videos.of([other]), outcomes(tmp_path), "j").videos) == [other]
    assert list(remaining(Videos.of([prompted]), outcomes(tmp_path), "j").videos) == [prompted]


def test_half_a_character_does_not_cost_a_row(tmp_path: Path) -> None:
    put(tmp_path, "data", "a", line("v", 0, extra="bad \ud800 emoji"), line("w", 0))
    assert [row["extra"] for row in read_rows(tmp_path, "data")] == ["bad ? emoji", None]


def test_small_shards_are_joined_and_repeated_lines_go(tmp_path: Path) -> None:
    for name in "abcde":
        put(tmp_path, "data", name, line(f"v{name}", 0))
    put(tmp_path, "data", "f", line("va", 0))  # what a kill between writing and deleting leaves
    compact_shards(tmp_path, RUNS[1], 2)
    assert sorted(row["id"] for row in read_rows(tmp_path, "data")) == ["va", "vb", "vc", "vd", "ve"]
    for most in (100, 4, 2, 100):
        compact_shards(tmp_path, RUNS[1], most)
        assert sorted(row["id"] for row in read_rows(tmp_path, "data")) == ["va", "vb", "vc", "vd", "ve"]
    assert len(shards(tmp_path, "data")) == 1


def test_settling_twice_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "data", "a", line("v", 0))
    put(tmp_path, "data", "b", line("w", 0))
    compact_shards(tmp_path, RUNS[0], 100)
    before = [(path.name, path.stat().st_mtime) for path in shards(tmp_path, "data")]
    compact_shards(tmp_path, RUNS[1], 100)
    assert [(path.name, path.stat().st_mtime) for path in shards(tmp_path, "data")] == before


def test_a_file_that_is_not_complete_is_no_shard(tmp_path: Path) -> None:
    put(tmp_path, "data", "a", line("v", 0))
    (tmp_path / "data" / ".b.parquet.17.partial").write_bytes(b"PAR1")
    assert outcomes(tmp_path)["id"].to_pylist() == ["v"]


def test_a_broken_shard_is_named_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.parquet").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"a\.parquet is not a readable shard .*move it away"):
        outcomes(tmp_path)


def test_shards_of_a_release_with_fewer_columns_are_joined_with_those_of_today(tmp_path: Path) -> None:
    put(tmp_path, "data", "a", line("v", 0))
    put(tmp_path, "data", "b", line("w", 1))
    put(tmp_path, "clips", "a", clip("v", 0))
    put(tmp_path, "clips", "b", clip("w", 1, lost_sec=1.5))
    old = tmp_path / "clips" / "a.parquet"
    pq.write_table(pq.read_table(old).drop_columns(["lost_sec"]), old)
    compact_shards(tmp_path, RUNS[1], 100)
    assert [(row["id"], row["lost_sec"]) for row in read_rows(tmp_path, "clips")] == [("v_0", None), ("w_0", 1.5)]

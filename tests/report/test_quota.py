"""Requested and delivered questions by category: the same in the run's summary, the audit and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from lvqa_ray.dataset.reader import opened
from lvqa_ray.dataset.shards import write_shard
from lvqa_ray.dataset.statistics.output_statistics import count

ORIGIN = {"video": "v.mp4", "fingerprint": "f", "input_hash": "i", "job_hash": "j", "run_id": "20260101T000000000000Z"}


def record(video: str, category: str, requested: str) -> dict[str, Any]:
    return {
        "id": f"{video}_{category}_{requested}",
        "video_id": video,
        "category": category,
        "requested_category": requested,
        "parsed_reasoning": {"QUESTION": "?", "OPTIONS": dict.fromkeys("ABCD", "x"), "ANSWER": "A", "REASONS": []},
        "checks": [],
        **ORIGIN,
    }


def drop(video: str, category: str) -> dict[str, Any]:
    told = {"id": f"{video}_d", "video_id": video, "category": category, "requested_category": category}
    return told | {"check": "structure", "kind": "structure", "reason": "alike", "checks": [], **ORIGIN}


def failure(video: str, requested: list[str]) -> dict[str, Any]:
    told = {"id": video, "stage": "ask", "kind": "bad_answer", "attempts": 4, "message": "no", "retryable": False}
    return told | {"requested_categories": requested, **ORIGIN}


def test_requested_and_delivered_by_category(tmp_path: Path) -> None:
    """Of three videos with two questions each: one question of another kind, one dropped, one video without any."""
    write_shard(tmp_path, "data", "a", [record("a", "goal", "temporal"), record("a", "goal", "goal")])
    write_shard(tmp_path, "data", "b", [record("b", "temporal", "temporal")])
    write_shard(tmp_path, "drops", "b", [drop("b", "goal")])
    write_shard(tmp_path, "failures", "c", [failure("c", ["temporal", "goal"]), failure("d", [])])
    expected = {"goal": {"requested": 3, "delivered": 2}, "temporal": {"requested": 3, "delivered": 1}}
    counted = count(opened(tmp_path), pa.array(["a", "b", "c", "d"]))
    assert counted.questions.quota == counted.selected.quota == counted.audit.quota == expected


def test_a_failure_beside_an_earlier_record_is_not_counted_twice(tmp_path: Path) -> None:
    write_shard(tmp_path, "data", "a", [record("a", "goal", "goal")])
    later = failure("a", ["goal"]) | {"retryable": True, "run_id": "20260202T000000000000Z"}
    write_shard(tmp_path, "failures", "a", [later])
    expected = {"goal": {"requested": 1, "delivered": 1}}
    counted = count(opened(tmp_path), pa.array(["a"]))
    assert counted.questions.quota == counted.selected.quota == counted.audit.quota == expected

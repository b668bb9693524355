"""A run id is later than all that it is told of, whatever the clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lvqa_ray.journal.run_ids import FORM, next_run_id


def test_a_run_id_is_the_time_where_the_clock_is_right() -> None:
    before = f"{datetime.now(UTC):{FORM}}"
    assert before <= next_run_id(["20260101T000000000000Z"]) <= f"{datetime.now(UTC):{FORM}}"
    assert next_run_id([]) >= before


def test_a_run_id_is_later_than_those_of_a_clock_that_was_ahead() -> None:
    ahead = f"{datetime.now(UTC) + timedelta(hours=2):{FORM}}"
    assert ahead < (following := next_run_id(["20260101T000000000000Z", f"caption-{ahead}_1a2b3c4d.jsonl", "notes"]))
    assert following < next_run_id([f"clips-compact_{following}.jsonl"])
    assert next_run_id(["20991231T235959999999Z"]) == "21000101T000000000000Z"

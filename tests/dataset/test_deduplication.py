"""Questions that repeat one of another video, and the counts: on tables as runs leave them, without a Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.compaction import compact_shards
from lvqa_ray.dataset.deduplication import drop_repeated_questions
from lvqa_ray.dataset.outcomes import outcomes
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.resume import remaining
from lvqa_ray.dataset.shards import read_rows, write_shard
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.records import (
    AskedQuestion,
    CaptionedVideo,
    FinishedVideo,
    Question,
    QuestionedVideo,
    Record,
    Usage,
    Video,
)
from lvqa_ray.records.table_rows import data_row, drop_row, failure_row
from lvqa_ray.stages.checks.duplicates import CheckDuplicates
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.checks.structure import CheckStructure
from tests.stages.test_checks import SOUND, asked, film, with_options, with_span, with_stem

RUN, LATER = "20260101T000000Z", "20260102T000000Z"
OTHER = with_options(A="To feed the cat", B="To look for a coat", C="To post a letter", D="To meet the doctor")
THIRD = with_stem("How does the wedding at the lake come to its end, seen from the boat house?")


def record(on: CaptionedVideo, row: AskedQuestion) -> Record:
    usage = {stage: Usage() for stage in ("caption", "ask", "reformat")}
    return Record(
        film=on,
        id=row.id,
        category=row.category,
        reasoning="",
        question=row.question,
        prompt="",
        full_question="",
        reformatted_reasoning="",
        usage=usage,
        verdicts=row.verdicts,
    )


def put(folder: Path, name: str, *questions: Question, run_id: str = RUN, job_hash: str = "j") -> Video:
    """The shards of one video with these questions, after the checks."""
    on = film(name)
    rows = tuple(asked(question, f"{name}_q{n}") for n, question in enumerate(questions))
    row = QuestionedVideo(film=on, questions=rows)
    for check in (CheckStructure(), CheckGrounding(), CheckDuplicates()):
        (row,) = check(row)
    finished = FinishedVideo(video=on.video, records=tuple(record(on, one) for one in row.questions), drops=row.drops)
    origin = {"run_id": run_id, "job_hash": job_hash}
    shard = f"part-{run_id}-{name}"
    write_shard(folder, "drops", shard, [drop_row(drop, on.video) | origin for drop in finished.drops])
    write_shard(folder, "data", shard, [data_row(one) | origin for one in finished.records])
    return on.video


def ids(folder: Path, table: Any) -> list[str]:
    return sorted(row["id"] for row in read_rows(folder, table))


def test_of_two_that_are_the_same_the_first_by_id_stays(tmp_path: Path) -> None:
    videos = [put(tmp_path, "b", SOUND, OTHER), put(tmp_path, "a", SOUND, THIRD), put(tmp_path, "c", OTHER)]
    drop_repeated_questions(tmp_path, CheckDuplicates(), "j", RUN)
    assert ids(tmp_path, "data") == ["a_q0", "a_q1", "b_q1"]
    assert {row["id"]: row["reason"] for row in read_rows(tmp_path, "drops")} == {
        "b_q0": "it repeats a_q0",
        "c_q0": "it repeats b_q1",
    }
    (lost,) = read_rows(tmp_path, "failures")
    assert (lost["id"], lost["kind"], lost["retryable"]) == ("c", "no_question_left", False)
    assert not remaining(Videos.of(videos), outcomes(tmp_path), "j").videos
    failed = outcomes(tmp_path)
    assert dict(zip(failed["id"].to_pylist(), failed["failed"].to_pylist(), strict=True)) == {
        "a": False,
        "b": False,
        "c": True,
    }
    counted = count(OutputReader(tmp_path), pa.array(["a", "b", "c"])).selected
    assert (counted.asked, counted.kept, counted.dropped) == (5, 3, {"duplicates": {"duplicates": 2}})
    assert counted.checks["duplicates"] == {"passed": 3, "dropped": 2}


def test_comparing_again_changes_nothing_and_a_kill_before_the_end_is_made_good(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, name, SOUND)
    before = [(path, path.read_bytes()) for path in (tmp_path / "data").iterdir()]
    drop_repeated_questions(tmp_path, CheckDuplicates(), "j", RUN)
    done = {table: ids(tmp_path, table) for table in ("data", "drops", "failures")}
    drop_repeated_questions(tmp_path, CheckDuplicates(), "j", LATER)
    assert {table: ids(tmp_path, table) for table in done} == done
    for path, content in before:  # what a kill leaves after the drops were noted, and before the records went
        path.write_bytes(content)
    assert not any(outcomes(tmp_path)["failed"].to_pylist())
    compact_shards(tmp_path, LATER, 100)
    drop_repeated_questions(tmp_path, CheckDuplicates(), "j", LATER)
    compact_shards(tmp_path, LATER, 100)
    assert {table: ids(tmp_path, table) for table in done} == done


def test_marked_repeats_stay_and_say_so(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path, name, SOUND)
    drop_repeated_questions(tmp_path, CheckDuplicates(policy="mark"), "j", RUN)
    rows = {row["id"]: row for row in read_rows(tmp_path, "data")}
    assert {name: row["failed_checks"] for name, row in rows.items()} == {"a_q0": [], "b_q0": ["duplicates"]}
    (judged,) = (one for one in rows["b_q0"]["checks"] if one["check"] == "duplicates")
    assert (judged["action"], judged["reason"], judged["score"]) == ("marked", "it repeats a_q0", 1.0)
    assert count(OutputReader(tmp_path), pa.array(["a", "b"])).selected.checks["duplicates"] == {
        "passed": 1,
        "marked": 1,
    }


@pytest.mark.parametrize("check", [CheckDuplicates(policy="off"), CheckDuplicates(corpus=False)])
def test_what_is_not_wanted_is_not_done(tmp_path: Path, check: CheckDuplicates) -> None:
    for name in "ab":
        put(tmp_path, name, SOUND)
    put(tmp_path, "c", SOUND, job_hash="another")
    drop_repeated_questions(tmp_path, check, "j", RUN)
    assert ids(tmp_path, "data") == ["a_q0", "b_q0", "c_q0"]
    drop_repeated_questions(tmp_path, CheckDuplicates(), "j", RUN)
    assert ids(tmp_path, "data") == ["a_q0", "c_q0"], "records of another job are not looked at"


def test_a_video_is_done_or_not_with_all_of_its_records(tmp_path: Path) -> None:
    """Two records and a drop of one run are replaced by what a later run has, never mixed with it."""
    video = put(tmp_path, "v", SOUND, THIRD, with_span(90, 95))
    assert (ids(tmp_path, "data"), ids(tmp_path, "drops")) == (["v_q0", "v_q1"], ["v_q2"])
    assert not remaining(Videos.of([video]), outcomes(tmp_path), "j").videos
    assert list(remaining(Videos.of([video]), outcomes(tmp_path), "k").videos) == [video]
    put(tmp_path, "v", OTHER, run_id=LATER, job_hash="k")
    compact_shards(tmp_path, LATER, 100)
    assert (ids(tmp_path, "data"), ids(tmp_path, "drops")) == (["v_q0"], [])
    assert not remaining(Videos.of([video]), outcomes(tmp_path), "k").videos


def test_the_dropped_of_a_video_without_a_record_are_kept_with_its_failure(tmp_path: Path) -> None:
    from lvqa_ray.stages.reformat import _nothing_left

    on = film("v")
    (row,) = CheckGrounding()(QuestionedVideo(film=on, questions=(asked(with_span(90, 95), "v_q0"),)))
    origin = {"run_id": RUN, "job_hash": "j"}
    failure = _nothing_left(on.video, row.drops)
    assert (failure.kind, failure.stage, failure.retryable) == ("no_question_left", "grounding", False)
    assert "none of 1 questions is left: 1 by grounding" in failure.message
    write_shard(tmp_path, "drops", "s", [drop_row(drop, on.video) | origin for drop in row.drops])
    write_shard(tmp_path, "failures", "s", [failure_row(failure) | origin])
    compact_shards(tmp_path, LATER, 100)
    assert (ids(tmp_path, "drops"), ids(tmp_path, "failures")) == (["v_q0"], ["v"])
    counted = count(OutputReader(tmp_path), pa.array(["v"])).selected
    assert (counted.asked, counted.kept, counted.dropped) == (1, 0, {"grounding": {"grounding": 1}})

"""What the whole job does when things go wrong or change, on real Ray, real videos and a real endpoint."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.engine.run import run
from lvqa_ray.engine.tables import shards
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.parse import parse_question
from tests import media
from tests.conftest import MODEL, JobMaker, tables
from tests.fakes.answers import media_urls, text_of
from tests.fakes.characters import Habit, Writer
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(240)]


@pytest.fixture
def two_films(tmp_path: Path) -> list[Path]:
    return [
        media.make_video(tmp_path / f"{name}.mp4", seconds=2, scenes=(at,)) for name, at in (("p", 0.5), ("q", 1.5))
    ]


def test_calls_that_fail_are_failures_and_a_rerun_mends_them_without_paying_twice(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    """A caption that hangs and a question that is refused: nothing of either may reach a caption or a reasoning."""
    fake.fail_next(Fault.HANG)
    fake.answer = lambda body: None if media_urls(body) else "I cannot help with that."
    job = make_job(*two_films, split={"max_seconds": 1.0}, endpoint={"timeout_s": 2.0, "max_attempts": 1})
    first = run(job)
    rows = tables(job.output)
    assert (first.records, first.unfinished, first.retryable, first.exit_status) == (0, 0, 1, 1)
    failed = {row["stage"]: row for row in rows["failures"]}
    assert (failed["caption"]["kind"], failed["caption"]["retryable"]) == ("timed_out", True)
    assert (failed["ask"]["kind"], failed["ask"]["retryable"]) == ("refusal", False)
    assert failed["ask"]["raw"] == "I cannot help with that."
    assert sorted(str(row["error"]) for row in rows["clips"]) == ["None", "None", "None", "timed_out"]
    assert sum(row["caption"] is None for row in rows["clips"]) == 1

    fake.answer = None
    second = run(job)
    rows = tables(job.output)
    assert (second.records, second.retryable, second.exit_status) == (1, 0, 0)
    assert [row["id"] for row in rows["data"]] == [failed["caption"]["id"]]
    assert [row["id"] for row in rows["failures"]] == [failed["ask"]["id"]]
    assert all(row["caption"] for row in rows["clips"])
    assert second.spent["caption"].calls == 1
    assert sum(bool(media_urls(request.body)) for request in fake.requests) == 4  # those answered: each clip once


def test_a_reasoning_that_times_out_is_a_failure_and_no_reasoning(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    fake.answer = lambda body: fake.fail_next(Fault.HANG) if "ANSWER: <" in text_of(body) else None
    job = make_job(two_films[0], endpoint={"timeout_s": 2.0, "max_attempts": 1})
    summary = run(job)
    assert (summary.records, summary.failures, summary.exit_status) == (0, {"timed_out": 1}, 1)
    (row,) = tables(job.output)["failures"]
    assert row["stage"] == "reformat"


def test_a_key_that_stops_working_halts_the_run_and_the_same_command_goes_on(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path], tmp_path: Path
) -> None:
    job = make_job(*two_films, split={"max_seconds": 1.0}, endpoint={"max_concurrency": 1})

    def after_two(body: dict[str, Any]) -> str | None:
        if sum(fake.paid.values()) >= 2:
            fake.api_key = "another key"
        return None

    fake.answer = after_two
    stopped = run(job)
    assert stopped.halted
    assert (stopped.unfinished, stopped.exit_status) == (2, 1)
    assert stopped.failures == {}
    paid = dict(fake.paid)
    assert 2 <= len(paid) <= 3

    fake.answer, fake.api_key = None, None
    finished = run(job)
    assert (finished.records, finished.exit_status) == (2, 0)
    assert all(times == 1 for times in fake.paid.values())


def test_a_budget_of_requests_stops_the_run_and_a_larger_one_finishes_it(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    def job(most: int) -> Job:
        return make_job(*two_films, split={"max_seconds": 0.5}, engine={"num_cpus": 2, "max_requests": most})

    fake.fail_next(Fault.SERVER_ERROR)
    stopped = run(job(4))
    assert (stopped.over_budget, stopped.exit_status, stopped.failures, stopped.unfinished) == (True, 3, {}, 2)
    assert "sent 4 requests" in stopped.halted
    assert "engine.max_requests" in stopped.halted
    assert len(fake.requests) == 4
    assert sum(part.calls for part in stopped.spent.values()) == 3

    finished = run(job(100))
    assert (finished.over_budget, finished.exit_status, finished.records) == (False, 0, 2)
    assert all(times == 1 for times in fake.paid.values())
    assert len(fake.requests) == 1 + 8 + 2 * 2
    assert sum(part.calls for part in finished.spent.values()) == 12 - 3


def test_a_budget_in_dollars_stops_the_run_and_needs_prices(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    budget: dict[str, Any] = {"split": {"max_seconds": 0.5}, "engine": {"num_cpus": 2, "max_cost": 0.01}}
    with pytest.raises(ConfigError, match=r"endpoints.vlm.price_in and endpoints.vlm.price_out"):
        run(make_job(*two_films, **budget))
    assert fake.requests == []
    stopped = run(make_job(*two_films, endpoint={"price_in": 1, "price_out": 2}, **budget))
    assert (stopped.over_budget, stopped.exit_status) == (True, 3)
    assert "engine.max_cost" in stopped.halted
    assert 0 < fake.tokens_in + 2 * fake.tokens_out <= 10_000
    assert sum(part.cost_usd or 0 for part in stopped.spent.values()) == pytest.approx(
        (fake.tokens_in + 2 * fake.tokens_out) / 1e6
    )


def test_scenes_become_clips_with_pictures_of_their_own(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    job = make_job(*two_films, split={"mode": "scenes", "min_scene_frames": 5}, filter={"frames_min": 14})
    summary = run(job)
    rows = tables(job.output)
    assert (summary.records, summary.exit_status) == (2, 0)
    clips = {row["id"]: row for row in rows["clips"]}
    assert sorted(clips) == ["p_0", "p_1", "q_0", "q_1"]
    assert clips["p_1"]["timestamp_start"] == pytest.approx(0.5, abs=0.05)
    assert clips["q_0"]["timestamp_end"] == pytest.approx(1.5, abs=0.05)
    assert {name: row["dropped"] for name, row in clips.items() if row["dropped"]} == dict.fromkeys(
        ("p_0", "q_1"), "frames_min"
    )
    asked = [request.body for request in fake.requests if media_urls(request.body)]
    assert len(asked) == sum(row["dropped"] is None for row in clips.values())
    assert all(len(media_urls(body)) == 2 for body in asked)


def test_another_clip_length_in_the_same_folder_is_new_work(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    cut = {"mode": "encode"}
    run(make_job(two_films[0], split={"max_seconds": 1.0}, cut=cut))
    old = {row["id"]: row for row in tables(str(make_job(two_films[0]).output))["clips"]}
    run(make_job(two_films[0], split={"max_seconds": 2.0}, cut=cut))
    new = tables(str(make_job(two_films[0]).output))
    assert [(row["timestamp_end"], row["id"]) for row in new["clips"]] == [(2.0, "p_0")]
    assert new["clips"][0]["media_path"] != old["p_0"]["media_path"]
    digests = {
        hashlib.sha256(Path(row["media_path"]).read_bytes()).hexdigest() for row in (*old.values(), *new["clips"])
    }
    assert len(digests) == 3
    assert len(shards(Path(make_job(two_films[0]).output), "data")) == 1


def test_an_output_that_cannot_be_written_stops_the_run_and_loses_nothing(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    job = make_job(*two_films)
    data = Path(job.output) / "data"

    def gone(_: dict[str, Any]) -> None:
        if data.is_dir():
            data.rmdir()
            data.write_text("a file where the folder belongs")

    fake.answer = gone
    stopped = run(job)
    assert "cannot be written" in stopped.halted
    assert (stopped.failures, stopped.unfinished, stopped.exit_status) == ({}, 2, 1)
    fake.answer = None
    with pytest.raises(ConfigError, match="data cannot be written"):
        run(job)
    data.unlink()
    assert run(job).records == 2
    assert all(times == 1 for times in fake.paid.values())


def test_a_journal_that_cannot_be_written_stops_the_run_at_once(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    """What is answered and cannot be kept would be paid for again: at most what was in flight may be lost."""
    job = make_job(*two_films, split={"max_seconds": 0.5}, endpoint={"max_concurrency": 1})
    cache = Path(job.output) / "cache"

    def gone(_: dict[str, Any]) -> None:
        if cache.is_dir():
            shutil.rmtree(cache)
            cache.write_text("a file where the folder belongs")

    fake.answer = gone
    stopped = run(job)
    assert stopped.halted
    assert (stopped.failures, stopped.exit_status) == ({}, 1)
    assert sum(fake.paid.values()) <= 2


def test_more_cores_for_a_task_than_a_node_has_is_said(make_job: JobMaker, two_films: list[Path]) -> None:
    with pytest.raises(ConfigError, match="the largest node has 2 cores"):
        run(make_job(*two_films, engine={"video_cpus": 4}))


def test_a_corpus_of_missing_files_is_failures_and_no_calls(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"video": "/nowhere/a.mp4"}\n{"video": "/nowhere/b.mp4"}\n')
    summary = run(make_job(manifest))
    assert (summary.failures, summary.exit_status) == ({"missing_file": 2}, 0)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"models": ("other",)}, "has no model fake-vlm; it offers other"),
        ({"api_key": "k"}, "401"),
    ],
)
def test_what_can_be_known_before_the_first_call_is_said_before_it(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path], change: dict[str, Any], says: str
) -> None:
    for name, value in change.items():
        setattr(fake, name, value)
    with pytest.raises(ConfigError, match=says):
        run(make_job(*two_films))
    assert fake.requests == []


def test_several_questions_a_video_with_bad_ones_dropped_and_counted(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    """The default quota, a writer that spoils some, and a film that has nothing left: by video all of it adds up."""
    fake.answer = writer = Writer({Habit.SPANS_OUTSIDE: 0.4})
    quota = {"temporal": 1, "goal": 1, "spatial": 1, "plot": 1}
    job = make_job(*two_films, split={"max_seconds": 1.0}, ask={"quota": quota})
    summary = run(job)
    rows = tables(job.output)
    assert summary.records + sum(summary.failures.values()) == 2
    assert len(rows["drops"]) == len(writer.spoiled) > 0
    assert len(rows["data"]) == 8 - len(writer.spoiled)
    assert {row["id"] for row in rows["data"] + rows["drops"]} == {f"{v}_q{n}" for v in "pq" for n in range(4)}
    for row in rows["data"]:
        assert [one["check"] for one in row["checks"]] == ["structure", "grounding", "duplicates", "shuffle"]
        assert (row["failed_checks"], row["video_id"]) == ([], row["id"][0])
        assert parse_question(row["reasoning"]).answer == row["parsed_reasoning"]["ANSWER"]
    assert (summary.questions.asked, summary.questions.kept) == (8, len(rows["data"]))
    assert summary.questions.dropped == {"grounding": {"grounding": len(writer.spoiled)}}
    report = json.loads((Path(job.output) / "run.json").read_text())["summary"]["questions"]
    assert report["checks"]["grounding"]["dropped"] == len(writer.spoiled)
    asked = len(fake.requests)
    again = run(job)
    assert (again.already_done, again.questions, len(fake.requests)) == (2, summary.questions, asked)


def test_what_is_paid_for_in_vain_is_on_the_bill_and_is_not_paid_again(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    """A refusal and a reply that was cut off: a changed job asks nothing of it anew, unless it is told to."""
    fake.fail_next(Fault.REFUSAL, Fault.NULL_CONTENT)
    at = {"max_concurrency": 1, "price_in": 1, "price_out": 2}
    summary = run(make_job(two_films[0], endpoint=at, split={"max_seconds": 1.0}))
    assert summary.failures == {"refused": 1}
    assert summary.spent_by_model == {"caption": {MODEL: summary.spent["caption"]}}
    caption = summary.spent["caption"]
    assert (caption.calls, caption.unusable) == (3, 2)
    assert (caption.input_tokens, caption.output_tokens) == (fake.tokens_in, fake.tokens_out)
    assert caption.cost_usd == pytest.approx((fake.tokens_in + 2 * fake.tokens_out) / 1e6)
    report = json.loads((Path(summary.output) / "run.json").read_text())
    assert report["summary"]["spent_by_model"]["caption"][MODEL]["unusable"] == 2

    again = run(make_job(two_films[0], endpoint=at, split={"max_seconds": 1.0}, ask={"system": "Be kind."}))
    assert (again.failures, again.spent, len(fake.requests)) == ({"refused": 1}, {}, 3)
    assert {row["usage"]["cached"] for row in tables(again.output)["clips"]} == {1}
    mended = run(
        make_job(two_films[0], endpoint=at, split={"max_seconds": 1.0}, engine={"num_cpus": 2, "retry_failures": True})
    )
    assert (mended.records, mended.spent["caption"].calls) == (1, 1)


def test_every_table_is_read_where_clips_are_files_too(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    import pandas as pd

    job = make_job(two_films[0], cut={"mode": "copy"})
    run(job)
    (clip,) = pd.read_parquet(f"{job.output}/clips").to_dict("records")
    assert Path(clip["media_path"]).is_relative_to(Path(job.output) / "media")

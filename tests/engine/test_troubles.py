"""What the whole job does when things go wrong or change, on real videos and a real endpoint; Ray where it halts."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.dataset.shards import shards
from lvqa_ray.engine.run import run
from lvqa_ray.errors import ConfigError
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.storage.run_lock import run_lock
from tests import media
from tests.command import cells, lvqa
from tests.conftest import EXECUTOR, MODEL, JobMaker, tables
from tests.fakes.answers import media_urls
from tests.fakes.characters import Habit, Writer
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault


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
    job = make_job(*two_films, split={"max_seconds": 1.0}, endpoint={"timeout_s": 4.0, "max_attempts": 1})
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
    assert [row["video_id"] for row in rows["data"]] == [failed["caption"]["id"]]
    assert [row["id"] for row in rows["failures"]] == [failed["ask"]["id"]]
    assert all(row["caption"] for row in rows["clips"])
    assert second.spent["caption"].calls == 1
    assert sum(bool(media_urls(request.body)) for request in fake.requests) == 4  # those answered: each clip once


@pytest.mark.usefixtures("ray_session")
def test_whatever_halts_a_run_loses_nothing_and_the_same_command_goes_on(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
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
    assert 2 <= len(fake.paid) <= 3

    data = Path(job.output) / "data"

    def gone(_: dict[str, Any]) -> None:
        if data.is_dir():
            shutil.rmtree(data)
            data.write_text("a file where the folder belongs")

    fake.answer, fake.api_key = gone, None
    stopped = run(job)
    assert "cannot be written" in stopped.halted
    assert (stopped.failures, stopped.unfinished, stopped.exit_status) == ({}, 2, 1)
    fake.answer = None
    with pytest.raises(ConfigError, match="data is not writable"):
        run(job)
    data.unlink()
    finished = run(job)
    assert (finished.records, finished.exit_status) == (2, 0)
    assert all(times == 1 for times in fake.paid.values())


@pytest.mark.usefixtures("ray_session")
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
    fake.latency_s = 0.3  # two captions in flight are estimated at more than a cent
    stopped = run(make_job(*two_films, endpoint={"price_in": 1, "price_out": 2}, **budget))
    assert (stopped.over_budget, stopped.exit_status) == (True, 3)
    assert "engine.max_cost" in stopped.halted
    assert 0 < fake.tokens_in + 2 * fake.tokens_out <= 10_000
    assert sum(part.cost_usd or 0 for part in stopped.spent.values()) == pytest.approx(
        (fake.tokens_in + 2 * fake.tokens_out) / 1e6
    )


def test_another_way_to_split_in_the_same_folder_is_new_work(
    make_job: JobMaker, fake: FakeEndpoint, two_films: list[Path]
) -> None:
    import pandas as pd

    out = Path(make_job(two_films[0]).output)
    run(make_job(two_films[0], split={"max_seconds": 1.0}, cut={"mode": "encode"}))
    old: Any = pd.read_parquet(out / "clips").to_dict("records")  # of these, not of the clips' files beside them
    assert sorted(row["id"] for row in old) == ["p_0", "p_1"]
    assert all(Path(row["media_path"]).is_relative_to(out / "media") for row in old)
    asked = len(fake.requests)
    scenes = {"mode": "scenes", "min_scene_frames": 5}
    summary = run(make_job(two_films[0], split=scenes, cut={"mode": "encode"}, filter={"frames_min": 14}))
    assert (summary.records, summary.exit_status) == (1, 0)
    new = {row["id"]: row for row in tables(str(out))["clips"]}
    assert [new[name]["dropped"] for name in ("p_0", "p_1")] == ["frames_min", None]
    assert new["p_1"]["timestamp_start"] == pytest.approx(0.5, abs=0.05)
    (caption,) = [request.body for request in fake.requests[asked:] if media_urls(request.body)]
    assert len(media_urls(caption)) == 2
    files = [Path(row["media_path"]) for row in (*old, new["p_1"])]
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 3
    assert len(shards(out, "data")) == 1


@pytest.mark.skipif(EXECUTOR == "local", reason="no nodes")
@pytest.mark.usefixtures("ray_session")
def test_more_cores_for_a_task_than_a_node_has_is_said(make_job: JobMaker, two_films: list[Path]) -> None:
    with pytest.raises(ConfigError, match="the largest node has 2 cores"):
        run(make_job(*two_films, engine={"video_cpus": 4}))


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
    assert {asked.outcome for asked in fake.requests} <= {"401", "404"}
    assert not fake.paid


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
        assert [one["check"] for one in row["checks"]] == ["structure", "grounding", "duplicates", "shuffle", "hops"]
        assert (row["failed_checks"], row["video_id"]) == (["hops"] if row["hops"] < 2 else [], row["id"][0])
        assert parse_question(row["reasoning"]).answer == row["parsed_reasoning"]["ANSWER"]
    assert (summary.questions.asked, summary.questions.kept) == (8, len(rows["data"]))
    assert summary.questions.dropped == {"grounding": {"grounding": len(writer.spoiled)}}
    assert {stage: cost.calls for stage, cost in summary.audit.cost.items()} == {
        stage: spent.calls for stage, spent in summary.spent.items()
    }, "also what was asked about a film that has nothing left"
    report = json.loads((Path(job.output) / "run.json").read_text())["summary"]["questions"]
    assert report["checks"]["grounding"]["dropped"] == len(writer.spoiled)
    asked = len(fake.requests)
    again = run(job)
    assert (again.already_done, again.questions, len(fake.requests)) == (2, summary.questions, asked)


def made_smaller(out: Path) -> None:
    """Compact the journal by its command, with a line in it that a dying writer left."""
    with next((out / "cache").glob("caption-*.jsonl")).open("ab") as torn:
        torn.write(b'{"key": "half a li')
    before = cells(lvqa("cache", "stats", out).stdout)
    assert (before["replies"], before["unreadable lines"]) == ("2", "1")
    assert before[f"caption: {MODEL}"].startswith("3 paid, 2 unusable (")
    with run_lock(out):
        held = lvqa("cache", "compact", out)
    assert (held.returncode, "is in use by process" in held.stderr) == (2, True)
    assert lvqa("cache", "compact", out).returncode == 0
    assert len(list((out / "cache" / "clips").iterdir())) == 1
    after = cells(lvqa("cache", "stats", out).stdout)
    assert (after["files"], after["replies"], after["unreadable lines"]) == ("1", "2", "0")
    assert after[f"caption: {MODEL}"] == before[f"caption: {MODEL}"]


def emptied(out: Path) -> None:
    """Empty the journal by its command."""
    held = cells(lvqa("cache", "stats", out).stdout)["replies"]
    assert lvqa("cache", "clear", out).returncode == 130  # nobody is there to say yes
    assert cells(lvqa("cache", "stats", out).stdout)["replies"] == held != "0"
    assert lvqa("cache", "clear", out, "--yes").returncode == 0
    assert cells(lvqa("cache", "stats", out).stdout)["replies"] == "0"
    assert not list((out / "cache" / "clips").iterdir())
    assert "has no cache" in lvqa("cache", "stats", out.parent).stderr


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
    out = Path(summary.output)
    report = json.loads((out / "run.json").read_text())
    assert report["summary"]["spent_by_model"]["caption"][MODEL]["unusable"] == 2
    made_smaller(out)

    again = run(make_job(two_films[0], endpoint=at, split={"max_seconds": 1.0}, ask={"system": "Be kind."}))
    assert (again.failures, again.spent, len(fake.requests)) == ({"refused": 1}, {}, 3)
    assert {row["usage"]["cached"] for row in tables(again.output)["clips"]} == {1}
    mended = run(
        make_job(two_films[0], endpoint=at, split={"max_seconds": 1.0}, engine={"num_cpus": 2, "retry_failures": True})
    )
    assert (mended.records, mended.spent["caption"].calls) == (1, 1)
    emptied(out)

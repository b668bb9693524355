"""What a run will come to: tokens, dollars, time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.engine.preflight.dry_run import _first_asked, _is_too_long, _load, _tasks_asked
from lvqa_ray.engine.preflight.estimate import NOTHING, ORDER, REPLY_S, REPLY_TOKENS, VideoWorkload, estimate, seconds
from lvqa_ray.engine.step_runner import with_local_path
from lvqa_ray.records import Clip, ProbedVideo, QuestionedVideo, Span, Video, VideoInfo
from tests.stages.test_checks import film

AT: dict[str, Any] = {"base_url": "http://127.0.0.1:1/v1", "model": "qwen2.5-vl-7b", "max_concurrency": 10}
INFO = VideoInfo(num_frames=15000, height=1080, width=1920, fps=25, duration_sec=600)
LOAD = VideoWorkload(ProbedVideo(video=Video(id="v", uri="/v.mp4", fingerprint="f"), info=INFO), clips=60, frames=480)


def job(**at: Any) -> Job:
    ask = {"quota": {"goal": 1}}
    return Job.of({"videos": "v.mp4", "output": "out", "endpoints": {"vlm": AT | at, "llm": AT | at}, "ask": ask})


def test_tokens_and_dollars_of_one_video() -> None:
    stages = estimate(job(price_in=1, price_out=2), [LOAD])
    caption, ask = stages["caption"], stages["ask"]
    assert (caption.calls, ask.calls, stages["reformat"].calls) == (60, 1, 1)
    assert caption.output_tokens == 60 * REPLY_TOKENS["caption"]
    pictures = 480 * 29 * 16  # 796 x 448 in squares of 28 px
    assert pictures < caption.input_tokens < 1.15 * pictures
    assert ask.input_tokens > caption.output_tokens, "every caption is read again"
    assert caption.cost_usd == pytest.approx((caption.input_tokens + 2 * caption.output_tokens) / 1e6)


@pytest.mark.parametrize(
    ("ask", "calls", "questions"),
    [({}, 1, 4), ({"per_call": 3}, 2, 4), ({"per_minute": 1.0}, 3, 10), ({"per_minute": 9, "most": 20}, 5, 20)],
)
def test_questions_are_counted_by_video_and_by_minute(ask: dict[str, Any], calls: int, questions: int) -> None:
    several = Job.of({"videos": "v.mp4", "output": "out", "endpoints": {"vlm": AT, "llm": AT}, "ask": ask})
    stages = estimate(several, [LOAD])
    assert (stages["ask"].calls, stages["reformat"].calls) == (calls, questions)
    assert stages["ask"].output_tokens == questions * REPLY_TOKENS["ask"]
    assert stages["ask"].input_tokens > calls * 60 * REPLY_TOKENS["caption"]


def test_sound_is_paid_by_the_minute_where_nothing_tells_what_is_said(tmp_path: Path) -> None:
    speech = AT | {"price_minute": 0.006}
    hears = Job.of({"videos": "v.mp4", "output": "out", "endpoints": {"vlm": AT, "llm": AT, "speech": speech}})
    (tmp_path / "told.srt").write_text("")
    told = replace(LOAD.row, video=replace(LOAD.row.video, uri=str(tmp_path / "told.mp4")))
    sounding = [replace(row, info=replace(INFO, has_audio=True, duration_sec=660)) for row in (LOAD.row, told)]
    stages = estimate(hears, [LOAD, *(replace(LOAD, row=row) for row in sounding)])
    heard = stages["transcribe"]
    assert heard.calls == 2
    assert heard.cost_usd == pytest.approx(11 * 0.006)
    assert seconds(hears, {"transcribe": heard}) == pytest.approx(2 * REPLY_S / 10)
    assert "transcribe" not in estimate(job(), [replace(LOAD, row=sounding[0])])


def checked(**settings: Any) -> Job:
    cheap = {**AT, "model": "cheap", "price_in": 0.1, "price_out": 0.1}
    endpoints = {"vlm": AT, "llm": {**AT, "price_in": 1, "price_out": 1}, "checker": cheap}
    return Job.of({"videos": "v.mp4", "output": "out", "endpoints": endpoints, **settings})


def test_the_calls_of_the_checks_are_the_checkers() -> None:
    stages = estimate(checked(), [LOAD])
    assert {name: part.calls for name, part in stages.items()} == {
        "caption": 60, "ask": 1, "blind": 16, "solve": 12, "reformat": 4, "prose": 4,
    }  # fmt: skip
    blind, solve = stages["blind"], stages["solve"]
    assert {blind.model, solve.model} == {"cheap"}
    assert solve.input_tokens > 12 * 60 * REPLY_TOKENS["caption"], "every try reads all captions"
    assert blind.input_tokens < 16 * 600, "a guess reads none"
    assert solve.cost_usd == pytest.approx((solve.input_tokens + solve.output_tokens) * 0.1 / 1e6)


def test_a_repair_is_the_writers_and_is_checked_again() -> None:
    stages = estimate(checked(checks={"blind": {"policy": "repair"}, "solve": {"policy": "off"}}), [LOAD])
    assert (stages["blind"].calls, stages["rewrite"].calls) == (20, 1)
    assert stages["rewrite"].model == AT["model"]
    assert "solve" not in stages


def test_a_long_film_is_summed_up_once_and_then_asked_in_part() -> None:
    long = replace(LOAD, clips=2160)
    stages = estimate(checked(summarize={"budget": 24_000}), [long])
    captions = 2160 * (REPLY_TOKENS["caption"] + 10)
    assert captions < stages["summarize"].input_tokens < 1.5 * captions
    assert stages["ask"].input_tokens < 24_000
    assert stages["solve"].input_tokens < 12 * 24_000
    assert "summarize" not in estimate(checked(), [LOAD])


@pytest.mark.parametrize("first", ORDER)
def test_what_is_in_the_journal_is_not_counted(first: str) -> None:
    stages = estimate(checked(), [replace(LOAD, first=first)])
    paid = {name for name, part in stages.items() if part.calls}
    if first == NOTHING:
        assert paid == set()
        return
    after = {"caption": {"caption", "ask"}, "ask": {"ask"}, "checks": set(), "reformat": set()}[first]
    assert paid == {"reformat", "prose", *after, *(set() if first == "reformat" else {"blind", "solve"})}


def test_the_tasks_about_whole_films_are_counted_where_they_are_asked() -> None:
    tasks = {"tasks": ["mind_map"], "summary": {"styles": ["plot_detail", "tags"]}}
    stages = estimate(checked(analysis=tasks, ask={"quota": {}}), [LOAD, replace(LOAD, tasks=False)])
    assert {name: part.calls for name, part in stages.items()} == {"caption": 120, "summary": 2, "mind_map": 1}
    assert stages["summary"].input_tokens > 2 * 60 * REPLY_TOKENS["caption"]
    assert _tasks_asked([])
    assert _tasks_asked(["summarize"])
    assert not _tasks_asked(["ask", "checks"])


def test_pictures_are_counted_by_the_second() -> None:
    each_2 = checked(analysis={"snapshot_interval": 2}, split={"max_seconds": 10})
    assert _load(each_2, LOAD.row, []).frames == 300


def test_a_longest_reply_bounds_the_estimate() -> None:
    assert estimate(job(max_tokens=20), [LOAD])["caption"].output_tokens == 60 * 20


def test_no_price_is_no_cost() -> None:
    assert estimate(job(), [LOAD])["caption"].cost_usd is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [({}, 70 * REPLY_S / 10), ({"requests_per_minute": 6}, 700.0), ({"tokens_per_minute": 1000}, None)],
)
def test_the_tightest_limit_sets_the_time(at: dict[str, Any], expected: float | None) -> None:
    stages = estimate(job(**at), [LOAD])
    if expected is None:
        expected = 60 * sum(part.input_tokens + part.output_tokens for part in stages.values()) / 1000
    assert seconds(job(**at), stages) == pytest.approx(expected)


def test_a_video_shown_as_video_is_counted_by_its_length() -> None:
    shown = Job.of(
        {"videos": "v", "output": "o", "endpoints": {"vlm": AT, "llm": AT}, "cut": {"mode": "copy"},
         "caption": {"media": "video"}}
    )  # fmt: skip
    assert estimate(shown, [VideoWorkload(LOAD.row, 60, 0)])["caption"].input_tokens > 600 * 300


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"checks"}, "checks"),
        ({"reformat"}, "reformat"),
        ({"checks", "reformat"}, "checks"),
        ({"summarize"}, "ask"),
        ({"ask", "checks"}, "ask"),
        ({"sample", "checks"}, "caption"),
        (set(), "caption"),
        ({"analysis"}, NOTHING),
        ({"analysis", "ask"}, "ask"),
    ],
)
def test_what_changed_tells_what_is_asked_anew(changed: set[str], first: str) -> None:
    assert _first_asked(sorted(changed)) == first


def test_a_row_of_questions_finds_its_video_elsewhere_and_comes_back_under_its_name() -> None:
    video = Video(id="v", uri="s3://b/v.mp4", fingerprint="f")
    row = QuestionedVideo(film=replace(film(), video=video), questions=())

    def show(at: QuestionedVideo) -> Iterator[QuestionedVideo]:
        assert at.film.video.uri == "/scratch/v.mp4"
        span = Span(start_s=0, end_s=1)
        clip = Clip(video=at.film.video, info=at.info, index=0, span=span, last=False)
        yield replace(at, shown=(clip,))

    (out,) = with_local_path(show, row, "/scratch/v.mp4")
    assert (out.film.video, out.shown[0].video) == (video, video)


@pytest.mark.parametrize(
    ("split", "too_long"), [({}, True), ({"max_clips": 3600}, False), ({"max_seconds": 60}, False)]
)
def test_a_plan_leaves_out_videos_of_too_many_clips(split: dict[str, Any], too_long: bool) -> None:
    row = replace(LOAD.row, info=replace(INFO, duration_sec=36_000.0))
    for mode in ("fixed", "scenes"):
        given = {
            "videos": "v.mp4",
            "output": "out",
            "endpoints": {"vlm": AT, "llm": AT},
            "split": split | {"mode": mode},
        }
        assert _is_too_long(Job.of(given), row) is too_long

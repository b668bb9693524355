"""The judge's rubric and the evidence in the pictures: planted faults are found, and sound questions pass."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.errors import ParseError
from lvqa_ray.qa.formats.text_format import render_question
from lvqa_ray.qa.rubric import read_points, read_score
from lvqa_ray.records import (
    AskedQuestion,
    CaptionedVideo,
    Clip,
    Failure,
    Question,
    QuestionedVideo,
    ReasoningStep,
    Video,
)
from lvqa_ray.stage import Chat
from lvqa_ray.stages.checks.evidence import CheckEvidence
from lvqa_ray.stages.checks.judge import RUBRIC, CheckJudge
from lvqa_ray.stages.sample import SampleFrames
from tests import media
from tests.fakes import answers
from tests.fakes.characters import Witness
from tests.fakes.endpoint import FakeEndpoint
from tests.stages.test_checks import asked, film, with_stem

NAMES = list(RUBRIC)
ROWS = tuple(
    replace(asked(question, f"v_q{n}"), reasoning=render_question(question))
    for n in range(16)
    for question in [with_stem(f"Why is it that the door number {n} stays shut?")]
)


def test_each_point_of_the_rubric_is_found_where_it_was_planted(chat: Chat, fake: FakeEndpoint) -> None:
    planted = {0: ["ambiguous"], 5: ["subjective", "outside_knowledge"], 9: ["common_sense_only"]}

    def judge(body: dict[str, Any]) -> str:
        number = int(re.search(r"door number (\d+)", answers.text_of(body))[1])  # type: ignore[index]
        lines = [f"{name.upper().replace('_', ' ')}: {'yes - so' if name in planted.get(number, []) else 'no'}"
                 for name in NAMES]  # fmt: skip
        return "\n".join(lines)

    fake.answer = judge
    (row,) = asyncio.run(CheckJudge(policy="drop")(QuestionedVideo(film=film(), questions=ROWS), chat))
    assert isinstance(row, QuestionedVideo)
    assert {drop.id: drop.reason for drop in row.drops} == {
        "v_q0": "ambiguous: so",
        "v_q5": "subjective: so; outside_knowledge: so",
        "v_q9": "common_sense_only: so",
    }
    assert {drop.verdicts[-1].score for drop in row.drops} == {0.75, 0.5}
    assert all(one.verdicts[-1].score == 1.0 and one.verdicts[-1].usage.calls == 1 for one in row.questions)


def test_a_reply_that_cannot_be_read_is_asked_for_once_more_and_is_then_no_pass(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = lambda _: "It looks fine to me."
    (row,) = asyncio.run(CheckJudge(policy="drop")(QuestionedVideo(film=film(), questions=ROWS[:1]), chat))
    assert isinstance(row, QuestionedVideo)
    assert "it could not be checked: The reply has no line 'ambiguous: yes'" in row.drops[0].reason
    assert row.drops[0].verdicts[-1].usage.calls == 2


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("A B: yes - because\nC: no", {"a_b": "because"}),
        ("- **a b**: No.\n- **C:** Yes: it is", {"c": "it is"}),
        ("<think>A B: yes</think>1\nA_B: no\nC: no", {}),
        ("A B: yes\nA B: yes, really\nC: no\nand so on", {"a_b": ""}),
    ],
)
def test_points_as_models_write_them(reply: str, found: dict[str, str]) -> None:
    assert read_points(reply, ["a_b", "c"]) == found


@pytest.mark.parametrize("reply", ["A B: yes", "A B: yes\nA B: no\nC: no", "A B: maybe\nC: no", ""])
def test_points_that_are_left_open(reply: str) -> None:
    with pytest.raises(ParseError):
        read_points(reply, ["a_b", "c"])


@pytest.mark.parametrize(
    ("reply", "score"),
    [("SCORE: 0.85", 0.85), ("It is so.\n**Score:** 1", 1.0), ("score: 0,5/1.", 0.5), ("SCORE: 0\nSCORE: 0.9", 0.9),
     ("SCORE: 85", None), ("SCORE: 1.2", None), ("0.9", None), ("SCORE: high", None), ("SCORE: 0.9 of 2", None)],
)  # fmt: skip
def test_a_score_as_models_write_it(reply: str, score: float | None) -> None:
    if score is not None:
        assert read_score(reply) == score
        return
    with pytest.raises(ParseError):
        read_score(reply)


CUTS = (2.0, 4.0, 6.0)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> CaptionedVideo:
    path = media.make_video(tmp_path_factory.mktemp("film") / "v.mp4", seconds=8, scenes=CUTS)
    video = Video(id="v", uri=str(path), fingerprint="f")
    made = film(captions=("x",) * 4, length_s=2.0)
    return replace(made, video=video)


def claims(number: int, *, wrong: bool) -> AskedQuestion:
    """Two steps that each claim the colour of a scene; the last one that of another scene if it is to be wrong."""
    scenes = (number % 3, 3)
    steps = []
    for place, scene in enumerate(scenes):
        of = (scene + 1) % 4 if wrong and place else scene
        colour = tuple(int(c) for c in media.scene_picture(of, 0, width=32, height=32)[2, 2])
        start = 2.0 * scene
        span = f"{start + 0.2:g} to {start + 1.8:g}"
        steps.append(
            ReasoningStep(
                timestamp=span, start_s=start + 0.2, end_s=start + 1.8, reasons=(f"It has the colour {colour}",)
            )
        )
    question: Question = replace(ROWS[0].choice, steps=tuple(steps))
    return asked(question, f"v_q{number}")


def test_what_cannot_be_seen_in_the_cited_spans_is_caught_and_nothing_else_is_decoded(
    chat: Chat, fake: FakeEndpoint, filmed: CaptionedVideo
) -> None:
    wrong = {1, 4, 8}
    rows = tuple(claims(n, wrong=n in wrong) for n in range(10))
    check = CheckEvidence(policy="drop", frames=3)
    sample = SampleFrames(count=check.frames, short_side=64)
    (shown,) = check.show(QuestionedVideo(film=filmed, questions=rows), sample)
    assert isinstance(shown, QuestionedVideo)
    assert [(clip.span.start_s, len(clip.frames)) for clip in shown.shown] == [(0.2, 3), (2.2, 3), (4.2, 3), (6.2, 3)]
    fake.answer = Witness()
    (row,) = asyncio.run(check(shown, chat))
    assert isinstance(row, QuestionedVideo)
    assert {int(drop.id[3:]) for drop in row.drops} == wrong
    assert {drop.reason for drop in row.drops} == {"what is claimed of 6.2 to 7.8 scores 0"}
    assert all(one.verdicts[-1].score == 1.0 for one in row.questions)
    assert row.shown == ()
    times = [float(time) for request in fake.requests
             for time in re.findall(r"Frame at ([\d.]+) s", answers.text_of(request.body))]  # fmt: skip
    assert all(time % 2 >= 0.2 and time % 2 <= 1.8 for time in times)


def test_a_span_that_does_not_decode_is_no_evidence(chat: Chat, filmed: CaptionedVideo) -> None:
    longer = replace(filmed, info=replace(filmed.info, duration_sec=60.0))
    beyond = ReasoningStep(timestamp="40 to 42", start_s=40, end_s=42, reasons=("x",))
    question = asked(replace(ROWS[0].choice, steps=(beyond,)))
    check = CheckEvidence(policy="mark", frames=3)
    (shown,) = check.show(QuestionedVideo(film=longer, questions=(question,)), SampleFrames(count=3))
    assert isinstance(shown, QuestionedVideo)
    assert len(shown.shown) == 1
    assert all(isinstance(clip, Clip) and not clip.frames for clip in shown.shown)
    (row,) = asyncio.run(check(shown, chat))
    assert isinstance(row, QuestionedVideo)
    assert row.questions[0].verdicts[-1].reason == "no picture of 40 to 42 can be decoded"


@pytest.mark.parametrize(
    ("content", "kind"), [(None, "missing_file"), (b"", "empty_file"), (b"no video " * 99, "not_a_video")]
)
def test_a_file_that_is_gone_for_a_moment_costs_no_question(
    filmed: CaptionedVideo, tmp_path: Path, content: bytes | None, kind: str
) -> None:
    path = tmp_path / "v.mkv"
    if content is not None:
        path.write_bytes(content)
    gone = replace(filmed, video=replace(filmed.video, uri=str(path)))
    row = QuestionedVideo(film=gone, questions=(claims(0, wrong=False), claims(1, wrong=False)))
    (failed,) = CheckEvidence(policy="drop").show(row, SampleFrames(count=3))
    assert isinstance(failed, Failure)
    assert (failed.stage, failed.kind, failed.clip_id, failed.retryable) == ("evidence", kind, "", True)


def test_a_moment_is_shown_with_the_second_around_it(filmed: CaptionedVideo) -> None:
    question = replace(ROWS[0].choice, steps=(ReasoningStep(timestamp="8 to 9", start_s=8, end_s=9, reasons=("x",)),))
    (shown,) = CheckEvidence(frames=2).show(
        QuestionedVideo(film=filmed, questions=(asked(question),)), SampleFrames(count=2)
    )
    assert isinstance(shown, QuestionedVideo)
    (clip,) = shown.shown
    assert (clip.span.start_s, clip.span.end_s, len(clip.frames)) == (7.5, 8.0, 2)

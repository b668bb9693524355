"""Time labels of merged captions: whole seconds where they tell the clips apart, and the way back from a label."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.qa.context_windows import span_of
from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.qa.time_labels import cut, decimals, located
from lvqa_ray.records import AskedQuestion, CaptionedClip, CaptionedVideo, Clip, Failure, Span, Video, VideoInfo
from lvqa_ray.records.question_columns import question_value
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.merge import MergeCaptions
from tests.qa.written import with_span

VIDEO = Video(id="v", uri="/v.mp4", fingerprint="f")


def captioned(spans: list[tuple[float, float]], lost: frozenset[int] = frozenset()) -> list[CaptionedClip]:
    info = VideoInfo(num_frames=1, height=90, width=160, fps=25.0, duration_sec=max(end for _, end in spans))
    clips = [
        Clip(video=VIDEO, info=info, index=index, span=Span(start_s=start, end_s=end), last=index + 1 == len(spans))
        for index, (start, end) in enumerate(spans)
    ]
    failure = Failure(video=VIDEO, stage="caption", kind="refused", message="no")
    return [
        CaptionedClip(clip=clip, failure=failure) if clip.index in lost else CaptionedClip(clip=clip, caption="A dog.")
        for clip in clips
    ]


def film_of(spans: list[tuple[float, float]], lost: frozenset[int] = frozenset()) -> CaptionedVideo:
    (film,) = MergeCaptions(min_captioned=0)(captioned(spans, lost))
    assert isinstance(film, CaptionedVideo)
    return film


def labels_of(film: CaptionedVideo) -> list[str]:
    return [line.removeprefix("From ").partition(",")[0] for line in film.captions.splitlines()]


LABELS: dict[str, tuple[list[tuple[float, float]], list[str]]] = {
    "whole seconds": ([(0.0, 10.0), (10.0, 20.0)], ["0 to 10", "10 to 20"]),
    "cut, as ever": ([(0.0, 9.99), (9.99, 30.04)], ["0 to 9", "9 to 30"]),
    "two scenes in one second": ([(0.0, 0.6), (0.6, 1.2), (1.2, 4.0)], ["0.0 to 0.6", "0 to 1", "1 to 4"]),
    "the same label twice": ([(0.0, 1.0), (0.5, 1.5)], ["0.0 to 1.0", "0.5 to 1.5"]),
    "tenths are not enough": ([(3.0, 3.96), (3.96, 3.99)], ["3.0 to 3.9", "3.96 to 3.99"]),
    "overlapping clips that begin alike": ([(0.0, 10.0), (0.0, 12.0)], ["0 to 10", "0 to 12"]),
    "float dust": ([(0.1 + 0.2, 0.7), (0.7, 2.0)], ["0.3 to 0.7", "0 to 2"]),
    "past an hour": ([(3600.25, 3600.75), (3600.75, 3601.5)], ["3600.2 to 3600.7", "3600 to 3601"]),
}


@pytest.mark.parametrize(("spans", "expected"), LABELS.values(), ids=LABELS)
def test_labels(spans: list[tuple[float, float]], expected: list[str]) -> None:
    film = film_of(spans)
    assert labels_of(film) == expected
    for clip, label in zip(film.clips, expected, strict=True):  # each label leads back to its clip
        start, end = span_of(f"From {label}, x") or (0.0, 0.0)
        (step,) = located(with_span(label, start, end), film).steps[:1]
        assert (step.clip_ids, step.span) == ((clip.clip.id,), clip.clip.span)


@given(st.lists(st.integers(min_value=20, max_value=3000), min_size=1, max_size=30), st.integers(0, 10**7))
def test_every_clip_of_a_video_has_a_label_of_its_own(lengths_ms: list[int], start_ms: int) -> None:
    ends = [start_ms + sum(lengths_ms[: n + 1]) for n in range(len(lengths_ms))]
    spans = [Span(start_s=start / 1000, end_s=end / 1000) for start, end in zip([start_ms, *ends], ends, strict=False)]
    told = [
        (float(cut(span.start_s, n)), float(cut(span.end_s, n))) for span, n in zip(spans, decimals(spans), strict=True)
    ]
    assert len({*told}) == len(spans)
    assert all(start < end for start, end in told)


SCENES = [(0.0, 9.6), (9.6, 10.4), (10.4, 12.3), (12.3, 16.8), (16.8, 30.0)]
CITED: dict[str, tuple[str, float, float, list[int], tuple[float, float]]] = {
    "one clip": ("10 to 12", 10, 12, [2], (10.4, 12.3)),
    "from one clip's start to another's end": ("9 to 12", 9, 12, [1, 2], (9.6, 12.3)),
    "all": ("0 to 30", 0, 30, [0, 1, 2, 3, 4], (0.0, 30.0)),
    "part of a clip": ("2 to 5", 2, 5, [0], (2, 5)),
    "a clip and a part of the next": ("10 to 15", 10, 15, [2, 3], (10.4, 15)),
    "a moment": ("13 to 13", 13, 13, [3], (13, 13)),
    "decimals of the model's own": ("10.5 to 11.5", 10.5, 11.5, [2], (10.5, 11.5)),
    "minutes": ("00:10 - 00:12", 10, 12, [2], (10.4, 12.3)),
    "past the end": ("40 to 50", 40, 50, [], (40, 50)),
}


@pytest.mark.parametrize(("label", "start", "end", "indices", "exact"), CITED.values(), ids=CITED)
def test_what_a_step_cites(
    label: str, start: float, end: float, indices: list[int], exact: tuple[float, float]
) -> None:
    question = located(with_span(label, start, end), film_of(SCENES))
    step = question.steps[0]
    assert step.clip_ids == tuple(f"v_{index}" for index in indices)
    assert (step.span.start_s, step.span.end_s) == exact
    row = question_value(question)["REASONS"][0]
    assert (row["timestamp"], row["start_s"], row["end_s"], row["clip_ids"]) == (label, *exact, list(step.clip_ids))
    assert parse_question(render_question(question)) == question


def test_a_clip_without_a_caption_is_never_cited() -> None:
    step = located(with_span("0 to 30", 0, 30), film_of(SCENES, frozenset({1}))).steps[0]
    assert step.clip_ids == ("v_0", "v_2", "v_3", "v_4")


def test_grounding_goes_by_the_exact_times() -> None:
    """A label cut to whole seconds reaches back to where nothing was captioned; its clip does not."""
    spans = [(0.0, 5.9), (5.9, 12.0), (12.0, 20.0)]
    film = film_of(spans, frozenset({0}))
    asked = located(with_span("5 to 12", 5, 12), film)
    asked = replace(asked, steps=asked.steps[:1])
    question = AskedQuestion(id="v_q0", category="goal", question=asked, reasoning="")
    assert CheckGrounding(tolerance_s=0.0).judge(question, film).passed

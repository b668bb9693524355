from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lvqa_ray.records import Span
from lvqa_ray.records.timecodes import frame_range, timecode
from lvqa_ray.video.spans import fixed_spans, frame_times, scene_spans

lengths = st.floats(0.05, 2_000, allow_nan=False)
intervals = st.floats(0.5, 600, allow_nan=False)


def bounds(spans: list[Span]) -> list[tuple[float, float]]:
    return [(span.start_s, span.end_s) for span in spans]


def scene(start: float, end: float) -> Span:
    return Span(start_s=start, end_s=end)


def test_ten_seconds_by_a_tenth_are_exactly_a_hundred_clips() -> None:
    spans = fixed_spans(10, interval_s=0.1)
    assert len(spans) == 100
    assert spans[-1].end_s == 10


def test_a_sliver_joins_its_neighbour() -> None:
    assert bounds(fixed_spans(30.04, interval_s=10)) == [(0, 10), (10, 20), (20, 30.04)]


def test_a_tail_below_the_minimum_joins_too() -> None:
    assert bounds(fixed_spans(23, interval_s=10, min_s=5)) == [(0, 10), (10, 23)]


def test_a_decent_tail_stands_alone() -> None:
    assert bounds(fixed_spans(23, interval_s=10)) == [(0, 10), (10, 20), (20, 23)]


def test_a_video_shorter_than_the_interval_is_one_span() -> None:
    assert bounds(fixed_spans(0.04, interval_s=10, min_s=2)) == [(0, 0.04)]


def test_both_ends_can_be_left_out() -> None:
    assert bounds(fixed_spans(30, interval_s=10, start_remove_s=3, end_remove_s=7)) == [(3, 13), (13, 23)]
    assert fixed_spans(5, interval_s=10, start_remove_s=3, end_remove_s=7) == []


@pytest.mark.parametrize("interval", [0, -1, math.inf, -math.inf, math.nan, 1e-300])
def test_an_impossible_interval_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match=r"interval_s must be|raise the length"):
        fixed_spans(10, interval_s=interval)


@settings(deadline=None)
@given(lengths, intervals, st.floats(0, 30), st.floats(0, 30))
def test_fixed_spans_cover_what_is_left_without_gaps(length: float, interval: float, skip: float, drop: float) -> None:
    spans = fixed_spans(length, interval_s=interval, start_remove_s=skip, end_remove_s=drop)
    if length - drop - skip <= 1e-6:
        assert spans == []
        return
    assert spans[0].start_s == skip
    assert spans[-1].end_s == length - drop
    assert all(a.end_s == b.start_s for a, b in pairwise(spans))
    assert all(span.duration_s > 0 for span in spans)
    assert all(span.duration_s == pytest.approx(interval) for span in spans[:-1])
    assert spans[-1].duration_s < 1.5 * interval + 1e-3


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 1000))
def test_a_multiple_of_the_interval_makes_that_many_spans(count: int, tenths: int) -> None:
    assert len(fixed_spans(count * (tenths / 10), interval_s=tenths / 10)) == count


@pytest.mark.parametrize(
    ("scenes", "overlap", "expected"),
    [
        ([(0, 8)], False, [(0, 8)]),
        ([(0, 1)], False, []),
        ([(0, 10)], False, [(0, 10)]),
        ([(0, 25)], False, [(0, 10), (10, 20), (20, 25)]),
        ([(0, 21)], False, [(0, 10), (10, 20)]),
        ([(0, 21)], True, [(0, 10), (10, 20), (20, 21)]),
        ([(0, 20.04)], False, [(0, 10), (10, 20.04)]),
        ([(0, 20.04)], True, [(0, 10), (10, 20.04)]),
        ([(0, 20.7)], True, [(0, 10), (10, 20), (20, 20.7)]),
        ([(0, 4), (4, 5), (5, 17)], False, [(0, 4), (5, 15), (15, 17)]),
    ],
)
def test_scenes_are_cut_to_size(
    scenes: list[tuple[float, float]], overlap: bool, expected: list[tuple[float, float]]
) -> None:
    assert bounds(scene_spans([scene(*s) for s in scenes], min_s=2, max_s=10, overlap=overlap)) == expected


def test_every_scene_is_trimmed_at_both_ends() -> None:
    spans = scene_spans([scene(0, 8), scene(8, 9)], min_s=2, max_s=10, start_remove_s=1, end_remove_s=0.5)
    assert bounds(spans) == [(1, 7.5)]


@settings(deadline=None)
@given(st.lists(st.floats(0.05, 300), min_size=1, max_size=8), st.floats(0, 5), st.floats(5, 60), st.booleans())
def test_scene_spans_stay_inside_their_scenes(durations: list[float], low: float, high: float, overlap: bool) -> None:
    edges = [math.fsum(durations[:i]) for i in range(len(durations) + 1)]
    scenes = [scene(a, b) for a, b in pairwise(edges)]
    spans = scene_spans(scenes, min_s=low, max_s=high, overlap=overlap)
    for span in spans:
        assert any(s.start_s <= span.start_s and span.end_s <= s.end_s for s in scenes)
        assert span.duration_s < high + 0.5 + 1e-6
    assert all(a.end_s <= b.start_s for a, b in pairwise(spans))
    if overlap:
        long = [s for s in scenes if s.duration_s > high + 1e-6]
        covered = sum(span.duration_s for span in spans if any(s.start_s <= span.start_s < s.end_s for s in long))
        assert covered == pytest.approx(sum(s.duration_s for s in long), abs=1e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00.000"),
        (59.9996, "00:01:00.000"),
        (3599.9999, "01:00:00.000"),
        (61.5, "00:01:01.500"),
        (360_000, "100:00:00.000"),
    ],
)
def test_timecode(seconds: float, text: str) -> None:
    assert timecode(seconds) == text


@settings(deadline=None)
@given(st.floats(0, 1e6))
def test_timecode_never_shows_sixty(seconds: float) -> None:
    hours, minutes, rest = timecode(seconds).split(":")
    assert int(minutes) < 60
    assert float(rest) < 60
    assert int(hours) * 3600 + int(minutes) * 60 + float(rest) == pytest.approx(seconds, abs=0.00051)


def test_frame_numbers_survive_float_dust() -> None:
    assert frame_range(scene(0.1 * 3, 0.29), 100) == (30, 29)
    assert frame_range(scene(10, 20), 30_000 / 1001) == (299, 599)


@settings(deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from([10.0, 24.0, 24_000 / 1001, 25.0, 30_000 / 1001, 60.0]))
def test_the_time_of_a_frame_gives_its_number(number: int, fps: float) -> None:
    assert frame_range(scene(number / fps, number / fps), fps) == (number, number)


def test_times_lie_at_the_middles_or_at_a_rate() -> None:
    assert frame_times(scene(10, 20), count=2, fps=None) == [12.5, 17.5]
    assert frame_times(scene(10, 13), count=None, fps=1) == [10.5, 11.5, 12.5]
    assert frame_times(scene(10, 10.2), count=None, fps=1) == [10.1]


@pytest.mark.parametrize(("count", "fps"), [(None, None), (1, 1.0), (0, None), (None, 0.0), (None, math.inf)])
def test_impossible_samplings_are_refused(count: int | None, fps: float | None) -> None:
    with pytest.raises(ValueError, match=r"count|fps|number of frames"):
        frame_times(scene(0, 1), count=count, fps=fps)


@settings(deadline=None)
@given(st.floats(0, 10_000), st.floats(0.01, 60), st.one_of(st.integers(1, 64), st.floats(0.1, 8)))
def test_times_rise_strictly_inside_the_span(start: float, length: float, how: float) -> None:
    span = scene(start, start + length)
    assume(span.duration_s > 0.005)
    count, fps = (how, None) if isinstance(how, int) else (None, how)
    times = frame_times(span, count=count, fps=fps)
    assert times
    assert all(span.start_s < time < span.end_s for time in times)
    assert all(a < b for a, b in pairwise(times))
    assert count is None or len(times) == count

"""Time spans: fixed intervals, scenes divided into clips, and sampling times.

Pure arithmetic in seconds. Floats come from users (``0.1``) and from containers (``30.04``), so every comparison
tolerates a microsecond, and starts are computed by multiplication instead of by a running sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lvqa_ray.records import Span

EPSILON_S = 1e-6
"""Smaller differences in time are rounding errors."""

MAX_SPANS = 1_000_000
"""More spans than this from one video is an error in the configuration."""


def fixed_spans(
    duration_s: float,
    *,
    interval_s: float,
    start_remove_s: float = 0,
    end_remove_s: float = 0,
    min_s: float = 0,
    sliver_s: float = 0.5,
) -> list[Span]:
    """Split a video into spans of one length.

    Apart from ``start_remove_s`` and ``end_remove_s`` nothing is dropped: a tail shorter than ``min_s`` or than a
    sliver joins the span before it, and a video shorter than ``interval_s`` is one span.

    Args:
        duration_s: Length of the video stream.
        interval_s: Length of a span.
        start_remove_s: Seconds to leave out at the start.
        end_remove_s: Seconds to leave out at the end.
        min_s: Tails shorter than this join their neighbour.
        sliver_s: Tails shorter than this, or than half an interval if that is less, do so too.

    Returns:
        Spans in time order, each beginning where the one before it ends; none if nothing is left.

    Raises:
        ValueError: A length is not finite, or out of range.
    """
    _check_positive("interval_s", interval_s)
    _check_not_negative(
        duration_s=duration_s, start_remove_s=start_remove_s, end_remove_s=end_remove_s, min_s=min_s, sliver_s=sliver_s
    )
    begin, end = start_remove_s, duration_s - end_remove_s
    if end - begin <= EPSILON_S:
        return []
    return _chunks(begin, end, length_s=interval_s, join_below_s=max(min_s, min(sliver_s, interval_s / 2)))


def scene_spans(
    scenes: Sequence[Span],
    *,
    min_s: float,
    max_s: float,
    start_remove_s: float = 0,
    end_remove_s: float = 0,
    overlap: bool = False,
    sliver_s: float = 0.5,
) -> list[Span]:
    """Divide scenes into clips of bounded length.

    Each scene is trimmed at both ends. A scene up to ``max_s`` is kept if it is at least ``min_s`` long. A longer one
    is cut into pieces of ``max_s`` from its start. The remainder joins the piece before it if it is a sliver;
    otherwise it is kept if it is at least ``min_s`` long, or always with ``overlap``. No span leaves its scene.

    Args:
        scenes: Scenes in time order.
        min_s: Shortest clip.
        max_s: Longest clip, except for a joined sliver.
        start_remove_s: Seconds to leave out at the start of each scene.
        end_remove_s: Seconds to leave out at the end of each scene.
        overlap: Keep every remainder, so that no part of a long scene is lost.
        sliver_s: A remainder shorter than this, or than half of ``max_s``, joins its neighbour.

    Returns:
        Spans in the order of the scenes.

    Raises:
        ValueError: A length is not finite, or out of range.
    """
    _check_positive("max_s", max_s)
    _check_not_negative(min_s=min_s, start_remove_s=start_remove_s, end_remove_s=end_remove_s, sliver_s=sliver_s)
    spans: list[Span] = []
    for scene in scenes:
        begin, end = scene.start_s + start_remove_s, scene.end_s - end_remove_s
        if end - begin <= EPSILON_S:
            continue
        pieces = _chunks(begin, end, length_s=max_s, join_below_s=min(sliver_s, max_s / 2))
        *whole, last = pieces
        keep_last = last.duration_s >= min_s - EPSILON_S or (overlap and bool(whole))
        spans += pieces if keep_last else [piece for piece in whole if piece.duration_s >= min_s - EPSILON_S]
    return spans


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePlan:
    """Rules for dividing a scene into clips, also while it is still open. For the attributes see `scene_spans`."""

    max_s: float
    min_s: float = 0.0
    start_remove_s: float = 0.0
    end_remove_s: float = 0.0
    overlap: bool = False
    sliver_s: float = 0.5

    @property
    def least_s(self) -> float:
        """Shorter scenes, and shorter remainders of scenes, join their neighbour (s)."""
        return min(self.sliver_s, self.max_s / 2)

    @property
    def settling_s(self) -> float:
        """A piece of ``max_s`` is final once its scene has run this long past the end of the piece (s)."""
        return self.end_remove_s + self.least_s

    def clips(self, scene: Span) -> list[Span]:
        """Clips of a complete scene."""
        return scene_spans(
            [scene],
            min_s=self.min_s,
            max_s=self.max_s,
            start_remove_s=self.start_remove_s,
            end_remove_s=self.end_remove_s,
            overlap=self.overlap,
            sliver_s=self.sliver_s,
        )

    def piece(self, scene_start_s: float, index: int) -> Span:
        """Span of one full-length piece of a scene that may still be open; the last piece may turn out shorter."""
        begin = scene_start_s + self.start_remove_s
        return Span(start_s=begin + index * self.max_s, end_s=begin + (index + 1) * self.max_s)


def frame_times(span: Span, *, count: int | None, fps: float | None) -> list[float]:
    """Choose the times at which to sample a span.

    Args:
        span: The span to sample.
        count: Number of times, at the middles of that many equal parts; or ``None``.
        fps: Times per second, the first after half a period; or ``None``. Give exactly one of the two.

    Returns:
        At least one time, ascending, all strictly inside the span.

    Raises:
        ValueError: Neither or both of ``count`` and ``fps`` are given, or the span is empty.
    """
    if (count is None) == (fps is None):
        raise ValueError("give either a number of frames or a rate, not both and not neither")
    if not span.duration_s > 0:
        raise ValueError(f"cannot sample the empty span from {span.start_s} s to {span.end_s} s")
    if count is not None:
        _check_positive("count", count)
        period = span.duration_s / count
        wanted = count
    else:
        assert fps is not None  # noqa: S101 - for the type checker: exactly one of the two is given
        _check_positive("fps", fps)
        period = 1 / fps
        wanted = math.ceil(round(span.duration_s * fps - 0.5, 6))
    times = [time for time in (span.start_s + (i + 0.5) * period for i in range(wanted)) if _inside(time, span)]
    return times or [(span.start_s + span.end_s) / 2]


def _chunks(begin: float, end: float, *, length_s: float, join_below_s: float) -> list[Span]:
    """Cut ``[begin, end)`` into pieces of one length; a remainder below ``join_below_s`` lengthens the last one."""
    ratio = (end - begin) / length_s
    if not ratio < MAX_SPANS:
        raise ValueError(
            f"cutting {end - begin:g} s every {length_s:g} s makes more than {MAX_SPANS:,} clips; raise the length"
        )
    count = math.floor(ratio + EPSILON_S)
    rest_s = (end - begin) - count * length_s
    if count == 0 or (rest_s > EPSILON_S and rest_s >= join_below_s - EPSILON_S):
        count += 1
    edges = [begin + i * length_s for i in range(count)]
    return [Span(start_s=start, end_s=stop) for start, stop in zip(edges, [*edges[1:], end], strict=True)]


def _inside(time: float, span: Span) -> bool:
    return span.start_s < time < span.end_s


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, not {value}")


def _check_not_negative(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, not {value}")

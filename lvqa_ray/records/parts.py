"""Frozen dataclasses of a long video that is decoded in parts, in parallel. Times are seconds from the first frame."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from lvqa_ray.records.rows import ProbedVideo

Border = tuple[tuple[int, bytes], ...]
"""Consecutive frames at a border between parts: the time of each, in units of the time base, and a digest of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPart(ProbedVideo):
    """A segment of a video between two key frames.

    Attributes:
        number: 0-based index among the parts of the video.
        start: Time of its first frame, in units of the time base from the first frame of the video; ``None`` for the
            first part.
        end: Time of the first frame after it; ``None`` for the last part.
    """

    number: int
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPart(VideoPart):
    """A part with the scene scores of every frame.

    Attributes:
        time_base: Seconds of one unit of its times.
        fps: Frames per second, ``None`` if the file does not say.
        offsets: Time of each frame, in units of the time base.
        ends_s: End of each frame (s).
        scores: For each detector, how much each frame differs from the one before it.
        head: The first frames.
        tail: The first frames after the end, as decoded from before the end.
        tail_scores: Scores of the first of these, which a decoder that starts there cannot compute.
        damaged: Whether some of it did not decode.
        pictures: JPEGs by their time: frames that will be needed if the scenes are as they appear from this part.
    """

    time_base: Fraction
    fps: Fraction | None
    offsets: array[int] = field(repr=False)
    ends_s: array[float] = field(repr=False)
    scores: tuple[array[float], ...] = field(repr=False)
    head: Border = field(repr=False)
    tail: Border = field(repr=False)
    tail_scores: tuple[float, ...]
    damaged: bool
    pictures: Mapping[float, bytes] = field(repr=False)

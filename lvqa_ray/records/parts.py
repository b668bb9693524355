"""The rows of a long video that is looked at in parts, by many at once. Times are seconds from the first picture."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from lvqa_ray.records.rows import ProbedVideo

Border = tuple[tuple[int, bytes], ...]
"""Some neighbouring frames: when each appears, in units of the time base, and a digest of its picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPart(ProbedVideo):
    """A stretch of a video from one key frame to another.

    Attributes:
        number: 0-based place among the parts of the video.
        start: When its first frame appears, in units of the time base from the first picture; ``None`` for the first.
        end: When the first frame after it appears; ``None`` for the last part.
    """

    number: int
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPart(VideoPart):
    """A part of which every frame has been looked at.

    Attributes:
        time_base: Seconds of one unit of its times.
        fps: Frames a second, ``None`` where the file does not say.
        offsets: When each frame appears, in units of the time base.
        ends_s: When each has been shown.
        scores: Of each frame, for each detector: how much it differs from the one before it.
        head: The first frames.
        tail: The first frames after the end, as they are when the decoder comes from before it.
        tail_scores: Scores of the very first of these, which whoever begins there cannot know.
        damaged: Whether some of it did not decode.
        pictures: JPEGs by their time: those that will be wanted if the scenes are what they seem from here.
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

"""Filter stage: clip -> clip, marked if a filter rejects it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.records import Clip
from lvqa_ray.records.timecodes import frame_range


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FilterClips:
    """Reject clips by length, frame rate or resolution.

    A rejected clip keeps its index and stays a row without a caption, so the others are not renumbered and the table of
    clips shows why it has no caption.
    """

    name: ClassVar[str] = "filter"

    frames_min: int | None = Field(
        default=None, ge=0, description="Minimum number of frames in a clip; null for no limit."
    )
    frames_max: int | None = Field(
        default=None, ge=1, description="Maximum number of frames in a clip; null for no limit."
    )
    fps_min: float | None = Field(default=None, ge=0, description="Minimum frame rate (frames/s); null for no limit.")
    fps_max: float | None = Field(default=None, gt=0, description="Maximum frame rate (frames/s); null for no limit.")
    resolution_max: int | None = Field(
        default=None, ge=1, description="Maximum pixels per frame (width * height); null for no limit."
    )

    def __call__(self, clip: Clip) -> Iterator[Clip]:
        """Add the name of the first filter that rejects the clip."""
        yield self.judge(clip)

    def judge(self, clip: Clip) -> Clip:
        """Add the name of the first filter that rejects the clip."""
        first, end = frame_range(clip.span, clip.info.fps)
        bounds = {
            "frames_min": (end - first, self.frames_min, None),
            "frames_max": (end - first, None, self.frames_max),
            "fps_min": (clip.info.fps, self.fps_min, None),
            "fps_max": (clip.info.fps, None, self.fps_max),
            "resolution_max": (clip.info.resolution, None, self.resolution_max),
        }
        rejected = (
            name
            for name, (value, low, high) in bounds.items()
            if (low is not None and value < low) or (high is not None and value > high)
        )
        return replace(clip, dropped=next(rejected, ""))

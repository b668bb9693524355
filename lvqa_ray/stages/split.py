"""Splitting stage: video -> clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import CaptionedClip, Clip, Failure, Frame, ProbedVideo, ScoredPart, Span, Video, VideoPart
from lvqa_ray.stage.clips import ClipMaker, Judge, Sampler, too_many_clips
from lvqa_ray.video.reader.decode_losses import watch_losses
from lvqa_ray.video.scenes.clip_builder import iter_clips
from lvqa_ray.video.scenes.detection import iter_scenes
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.named_detectors import check_detector, may_run_in_parts
from lvqa_ray.video.scenes.parallel import find_parts, score_part
from lvqa_ray.video.scenes.parallel_join import JoinedParts
from lvqa_ray.video.spans import MAX_SPANS, ScenePlan, fixed_spans

LONGEST_PART_S = 300.0
"""Maximum length of a part (s): its frames are sent together, and its clips are known only at its end."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SplitVideo:
    """Split a video into clips, at fixed intervals or at scene changes."""

    name: ClassVar[str] = "split"

    mode: Literal["fixed", "scenes"] = Field(
        default="fixed", description="fixed: clips of max_seconds each. scenes: clips between detected cuts."
    )
    max_seconds: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Clip length in fixed mode, maximum clip length in scenes mode (s).",
    )
    min_seconds: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Scenes shorter than this are removed (s). Scenes under half a second join a neighbour.",
    )
    start_remove_seconds: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Time removed from the start of the video in fixed mode, of each scene in scenes mode (s).",
    )
    end_remove_seconds: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Time removed from the end of the video in fixed mode, of each scene in scenes mode (s).",
    )
    overlap: bool = Field(
        default=False,
        description="scenes mode: keep the last part of a split scene even if it is shorter than min_seconds.",
    )
    detector: str = Field(
        default="content",
        description="content, adaptive (luma only) or both: fast versions of PySceneDetect's ContentDetector and "
        "AdaptiveDetector. Or any of its classes, such as pyscenedetect:HistogramDetector, or the name of a detector "
        "that an installed package registers.",
    )
    detector_args: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Parameters of a detector other than content, adaptive and both, such as {threshold: 0.1}.",
    )
    threshold: float = Field(default=27.0, gt=0, description="Threshold of ContentDetector (mean HSV difference).")
    adaptive_threshold: float = Field(
        default=3.0, gt=0, description="Threshold of AdaptiveDetector (ratio to its window)."
    )
    min_scene_frames: int = Field(default=15, ge=1, description="Minimum length of a detected scene (frames).")
    accuracy: Literal["fast", "exact"] = Field(
        default="fast",
        description="scenes mode. exact: finds the cuts that PySceneDetect finds with its OpenCV backend. fast: "
        "nearly all of them for half the work; in H.264 and HEVC it skips non-reference frames where "
        "it sees no cut.",
    )
    frame_skip: int = Field(default=0, ge=0, description="Number of frames that the detector skips between two frames.")
    max_clips: int = Field(
        default=3000,
        ge=1,
        le=MAX_SPANS,
        description="Maximum number of clips per video. A video whose declared length gives more fails as "
        "too_many_clips before anything is decoded or paid; in scenes mode, one with more scenes "
        "fails when they are found. 3000 clips of 10 s are 8 hours.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds ({self.min_seconds:g}) is larger than max_seconds ({self.max_seconds:g})")
        return self

    @model_validator(mode="after")
    def _startable(self) -> Self:
        check_detector(self.detection)
        return self

    def __call__(
        self, row: ProbedVideo, *, judge: Judge | None = None, sampler: Sampler | None = None
    ) -> Iterator[Clip | CaptionedClip | Failure]:
        """Yield the clips in time order, one behind, so that the last one can be marked.

        Args:
            row: The video.
            judge: Marks clips to leave out.
            sampler: Adds frames to the other clips; in scenes mode, the pass that detects scenes samples them.

        Yields:
            Clips, with frames in scenes mode with a sampler; or a failure.
        """
        clips = ClipMaker(row, judge, sampler, most=self.max_clips)
        try:
            self.check_length(row)
            with watch_losses() as losses:
                for span, frames in self._spans_with_frames(row, sampler):
                    yield from clips.add(span, frames, losses.within(span))
            yield from clips.finish()
        except VideoError as error:
            yield _failure(error, row.video, self.name)

    def divide(
        self,
        row: ProbedVideo,
        *,
        parts: int,
        least_s: float,
        judge: Judge | None = None,
        sampler: Sampler | None = None,
    ) -> Iterator[VideoPart | Clip | CaptionedClip | Failure]:
        """Divide a long video into parts for parallel scoring; yields the clips of any other video.

        `look` and `joining` make the same clips from the parts as one pass.

        Args:
            row: The video.
            parts: Approximate number of parts; more if they would be longer than `LONGEST_PART_S`.
            least_s: Approximate minimum length of a part (s).
            judge: As in a call.
            sampler: As in a call.
        """
        try:
            self.check_length(row)
            # With a truncated file or frame_skip, the result depends on where decoding starts.
            length_s = min(LONGEST_PART_S, max(least_s, row.info.duration_sec / parts))
            whole = row.info.partial or self.frame_skip or not may_run_in_parts(self.detection)
            found = [] if whole else find_parts(row, length_s)
        except VideoError as error:
            yield _failure(error, row.video, self.name)
            return
        yield from found or self(row, judge=judge, sampler=sampler)

    def look(self, part: VideoPart, *, sampler: Sampler | None = None) -> Iterator[ScoredPart | Failure]:
        """Score the frames of a part for scene detection, and sample frames if there is a sampler."""
        sampling = sampler.sampling if sampler else None
        try:
            yield score_part(part, detection=self.detection, plan=self.plan, sampling=sampling)
        except VideoError as error:
            yield Failure.of(error, video=part.video, stage=self.name)

    def joining(self, row: ProbedVideo, *, judge: Judge | None = None, sampler: Sampler | None = None) -> JoiningClips:
        """Build the clips of a video from its scored parts."""
        parts = JoinedParts(self.detection, self.plan, sampler.sampling if sampler else None)
        return JoiningClips(parts, ClipMaker(row, judge, sampler, most=self.max_clips), self.name)

    def spans(self, row: ProbedVideo) -> list[Span]:
        """The spans of the clips, in time order.

        Raises:
            VideoError: In scenes mode, the video cannot be decoded.
        """
        if self.mode == "fixed":
            return fixed_spans(
                row.info.duration_sec,
                interval_s=self.max_seconds,
                start_remove_s=self.start_remove_seconds,
                end_remove_s=self.end_remove_seconds,
                min_s=self.min_seconds,
            )
        scenes = iter_scenes(row.video.uri, self.detection, least_s=self.plan.least_s)
        return [span for scene in scenes for span in self.plan.clips(scene)]

    @property
    def detection(self) -> Detection:
        """Settings of scene detection."""
        return Detection(
            detector=self.detector,
            accuracy=self.accuracy,
            threshold=self.threshold,
            adaptive_threshold=self.adaptive_threshold,
            min_scene_frames=self.min_scene_frames,
            frame_skip=self.frame_skip,
            args=self.detector_args,
        )

    @property
    def plan(self) -> ScenePlan:
        """Settings for making clips from scenes."""
        return ScenePlan(
            min_s=self.min_seconds,
            max_s=self.max_seconds,
            start_remove_s=self.start_remove_seconds,
            end_remove_s=self.end_remove_seconds,
            overlap=self.overlap,
        )

    def _spans_with_frames(
        self, row: ProbedVideo, sampler: Sampler | None
    ) -> Iterator[tuple[Span, Callable[[], tuple[Frame, ...]] | None]]:
        if self.mode == "fixed":
            yield from ((span, None) for span in self.spans(row))
        elif sampler is None:
            for scene in iter_scenes(row.video.uri, self.detection, least_s=self.plan.least_s):
                yield from ((span, None) for span in self.plan.clips(scene))
        else:
            found = iter_clips(row.video.uri, detection=self.detection, plan=self.plan, sampling=sampler.sampling)
            yield from ((clip.span, clip.frames) for clip in found)

    def fewest_clips(self, row: ProbedVideo) -> int:
        """Minimum number of clips of a video; 0 if settings may remove some. More scenes only add clips."""
        if self.min_seconds or self.start_remove_seconds or self.end_remove_seconds:
            return 0
        return max(1, math.floor(row.info.duration_sec / self.max_seconds))

    def check_length(self, row: ProbedVideo) -> None:
        """Reject a video whose declared length gives more than `max_clips` clips, before decoding it.

        Raises:
            VideoError: With `VideoFault.TOO_MANY_CLIPS`.
        """
        if self.mode == "fixed":
            removed_s = self.start_remove_seconds + self.end_remove_seconds
            count = math.floor((row.info.duration_sec - removed_s) / self.max_seconds)
            count = count if count > self.max_clips else len(self.spans(row))
        else:
            count = self.fewest_clips(row)
        if count > self.max_clips:
            raise too_many_clips(row, self.max_clips)


def _failure(error: VideoError, video: Video, stage: str) -> Failure:
    """Failure of a video; too many clips is retryable, since the limit may be raised."""
    failure = Failure.of(error, video=video, stage=stage)
    return replace(failure, retryable=error.kind is VideoFault.TOO_MANY_CLIPS)


class JoiningClips:
    """Builds the clips of a video from its parts, in time order."""

    def __init__(self, parts: JoinedParts, clips: ClipMaker, stage: str) -> None:
        self._parts = parts
        self._clips = clips
        self._stage = stage

    def add(self, part: ScoredPart) -> Iterator[Clip | CaptionedClip | Failure]:
        """Add the next part; yields the clips that are now final, and with the last part all others.

        Raises:
            PartsDisagreeError: The parts do not give the same result as one pass.
        """
        try:
            yield from self._made(self._parts.add(part))
            if part.end is None:
                yield from self._made(self._parts.finish())
                yield from self._clips.finish()
        except VideoError as error:
            yield _failure(error, part.video, self._stage)

    def _made(self, found: Iterable[tuple[Span, tuple[Frame, ...]]]) -> Iterator[Clip | CaptionedClip]:
        for span, frames in found:
            yield from self._clips.add(span, partial(tuple, frames))

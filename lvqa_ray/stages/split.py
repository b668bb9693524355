"""video row -> clip rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import CaptionedClip, Clip, Failure, Frame, ProbedVideo, ScoredPart, Span, Video, VideoPart
from lvqa_ray.stage.clips import ClipMaker, Judge, Sampler, too_many_clips
from lvqa_ray.video.reader.decode_losses import watch_losses
from lvqa_ray.video.scenes.clip_builder import iter_clips
from lvqa_ray.video.scenes.detection import iter_scenes
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.parallel import find_parts, score_part
from lvqa_ray.video.scenes.parallel_join import JoinedParts
from lvqa_ray.video.spans import MAX_SPANS, ScenePlan, fixed_spans

LONGEST_PART_S = 300.0
"""The pictures of a part travel together, and its clips wait for its end."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SplitVideo:
    """Split a video into clips, at fixed intervals or where the scene changes."""

    name: ClassVar[str] = "split"

    mode: Literal["fixed", "scenes"] = Field(
        default="fixed", description="fixed: clips of max_seconds each; scenes: clips between detected cuts."
    )
    max_seconds: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Length of a clip in fixed mode, longest clip in scenes mode (s).",
    )
    min_seconds: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Scenes shorter than this are left out (s); those under half a second join a neighbour.",
    )
    start_remove_seconds: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Taken off the start: of the video in fixed mode, of each scene in scenes mode (s).",
    )
    end_remove_seconds: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Taken off the end: of the video in fixed mode, of each scene in scenes mode (s).",
    )
    overlap: bool = Field(
        default=False, description="scenes mode: keep the last part of a split scene even if under min_seconds."
    )
    detector: Literal["content", "adaptive", "both"] = Field(
        default="content", description="PySceneDetect's ContentDetector, its AdaptiveDetector (luma only), or both."
    )
    threshold: float = Field(default=27.0, gt=0, description="ContentDetector's threshold (mean HSV difference).")
    adaptive_threshold: float = Field(
        default=3.0, gt=0, description="AdaptiveDetector's threshold (ratio to its window)."
    )
    min_scene_frames: int = Field(default=15, ge=1, description="Shortest scene that a detector may find (frames).")
    accuracy: Literal["fast", "exact"] = Field(
        default="fast",
        description="scenes mode: exact finds the cuts of PySceneDetect's OpenCV backend; fast nearly all, for half "
        "the work: of H.264 and HEVC it leaves out frames that no other refers to, where it sees no cut.",
    )
    frame_skip: int = Field(default=0, ge=0, description="Frames passed over between two that the detector sees.")
    max_clips: int = Field(
        default=3000,
        ge=1,
        le=MAX_SPANS,
        description="Most clips of a video. One whose stated length makes more fails as too_many_clips before any "
        "of it is decoded or paid; one with more scenes than that fails when they are found. 3000 of 10 s: 8 hours.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds ({self.min_seconds:g}) is larger than max_seconds ({self.max_seconds:g})")
        return self

    def __call__(
        self, row: ProbedVideo, *, judge: Judge | None = None, sampler: Sampler | None = None
    ) -> Iterator[Clip | CaptionedClip | Failure]:
        """The clips in time order, each as soon as it is known to be or not to be the last one, which is marked.

        Args:
            row: The video.
            judge: Marks clips that are to be left out.
            sampler: What takes the pictures of the others. In scenes mode they come out of the pass that finds the
                scenes.

        Yields:
            Clips, with pictures where there is a sampler and scenes are detected; or the reason why there are none.
        """
        clips = ClipMaker(row, judge, sampler, most=self.max_clips)
        try:
            self.check_length(row)
            with watch_losses() as losses:
                for span, frames in self._shots(row, sampler):
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
        """The parts of a long video, for `look` and `joining`, which come to the same clips; of another one its clips.

        Args:
            row: The video.
            parts: About how many; more where they would be longer than `LONGEST_PART_S`.
            least_s: About how long a part has to be (s).
            judge: That of a call.
            sampler: That of a call.
        """
        try:
            self.check_length(row)
            # What is cut short, or looked at here and there, depends on where one begins.
            length_s = min(LONGEST_PART_S, max(least_s, row.info.duration_sec / parts))
            found = [] if row.info.partial or self.frame_skip else find_parts(row, length_s)
        except VideoError as error:
            yield _failure(error, row.video, self.name)
            return
        yield from found or self(row, judge=judge, sampler=sampler)

    def look(self, part: VideoPart, *, sampler: Sampler | None = None) -> Iterator[ScoredPart | Failure]:
        """All that finding scenes needs to know of a part, and its pictures where there is a sampler."""
        sampling = sampler.sampling if sampler else None
        try:
            yield score_part(part, detection=self.detection, plan=self.plan, sampling=sampling)
        except VideoError as error:
            yield Failure.of(error, video=part.video, stage=self.name)

    def joining(self, row: ProbedVideo, *, judge: Judge | None = None, sampler: Sampler | None = None) -> JoiningClips:
        """What makes the parts of a video into its clips."""
        shots = JoinedParts(self.detection, self.plan, sampler.sampling if sampler else None)
        return JoiningClips(shots, ClipMaker(row, judge, sampler, most=self.max_clips), self.name)

    def spans(self, row: ProbedVideo) -> list[Span]:
        """The spans of the clips, in time order.

        Raises:
            VideoError: Scenes are asked for and the video cannot be decoded.
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
        """How scenes are found."""
        return Detection(
            detector=self.detector,
            accuracy=self.accuracy,
            threshold=self.threshold,
            adaptive_threshold=self.adaptive_threshold,
            min_scene_frames=self.min_scene_frames,
            frame_skip=self.frame_skip,
        )

    @property
    def plan(self) -> ScenePlan:
        """How scenes become clips."""
        return ScenePlan(
            min_s=self.min_seconds,
            max_s=self.max_seconds,
            start_remove_s=self.start_remove_seconds,
            end_remove_s=self.end_remove_seconds,
            overlap=self.overlap,
        )

    def _shots(
        self, row: ProbedVideo, sampler: Sampler | None
    ) -> Iterator[tuple[Span, Callable[[], tuple[Frame, ...]] | None]]:
        if self.mode == "fixed":
            yield from ((span, None) for span in self.spans(row))
        elif sampler is None:
            for scene in iter_scenes(row.video.uri, self.detection, least_s=self.plan.least_s):
                yield from ((span, None) for span in self.plan.clips(scene))
        else:
            shots = iter_clips(row.video.uri, detection=self.detection, plan=self.plan, sampling=sampler.sampling)
            yield from ((shot.span, shot.frames) for shot in shots)

    def fewest_clips(self, row: ProbedVideo) -> int:
        """How many clips a video has at least: a scene that will be found can only add to them, or fall to a limit."""
        if self.min_seconds or self.start_remove_seconds or self.end_remove_seconds:
            return 0
        return max(1, math.floor(row.info.duration_sec / self.max_seconds))

    def check_length(self, row: ProbedVideo) -> None:
        """Refuse a video whose stated length makes more clips than `max_clips`, before anything of it is decoded.

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
    """The failure of a video; one of too many clips is tried again, since the limit may have been raised."""
    failure = Failure.of(error, video=video, stage=stage)
    return replace(failure, retryable=error.kind is VideoFault.TOO_MANY_CLIPS)


class JoiningClips:
    """Makes the parts of a video into its clips, in time order, each as soon as it is known whether it is the last."""

    def __init__(self, shots: JoinedParts, clips: ClipMaker, stage: str) -> None:
        self._shots = shots
        self._clips = clips
        self._stage = stage

    def add(self, part: ScoredPart) -> Iterator[Clip | CaptionedClip | Failure]:
        """Take in the next part; yields the clips that it settles, and with the last part all that are left.

        Raises:
            PartsDisagreeError: In parts it is not the same as in one piece.
        """
        try:
            yield from self._made(self._shots.add(part))
            if part.end is None:
                yield from self._made(self._shots.finish())
                yield from self._clips.finish()
        except VideoError as error:
            yield _failure(error, part.video, self._stage)

    def _made(self, shots: Iterable[tuple[Span, tuple[Frame, ...]]]) -> Iterator[Clip | CaptionedClip]:
        for span, frames in shots:
            yield from self._clips.add(span, partial(tuple, frames))

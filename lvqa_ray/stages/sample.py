"""Sampling stage: clip -> clip with frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import CaptionedClip, Clip, Failure, Frame, Span, redact_url
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.decode_losses import Losses, watch_losses
from lvqa_ray.video.scenes.clip_builder import FrameSampling

INSTANT_S = 0.001


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SampleFrames:
    """Decode the frames of a clip that are sent to the model."""

    name: ClassVar[str] = "sample"

    count: int = Field(default=8, ge=1, le=512, description="Number of frames per clip, evenly spaced.")
    per_second: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Number of frames per second of a clip; overrides count."
    )
    short_side: int = Field(default=448, ge=16, description="Maximum length of a frame's shorter side (px).")
    quality: int = Field(default=85, ge=1, le=100, description="JPEG quality.")
    reader: Literal["pyav", "decord"] = Field(default="pyav", description="Library that decodes the frames.")

    def __call__(self, clip: Clip) -> Iterator[Clip | CaptionedClip]:
        """Add the frames to the clip in time order, or return the failure.

        A clip with frame times but without JPEGs gets the JPEGs at those times.
        """
        if clip.dropped or any(frame.jpeg for frame in clip.frames):
            yield clip
            return
        known = [frame.time_s for frame in clip.frames]
        times = self.times(clip)
        try:
            with watch_losses() as losses:
                frames = sample_frames(
                    clip.video.uri, times, short_side=self.short_side, quality=self.quality, reader=self.reader
                )
        except VideoError as error:
            failure = Failure.of(error, video=clip.video, stage=self.name, clip_id=clip.id)
            yield CaptionedClip(clip=clip, failure=failure)
            return
        # If the frames of a damaged file end early, the rest of the clip counts as lost.
        missing = len(times) - len(frames)
        clip = replace(clip, lost_s=max(clip.lost_s, losses.within(clip.span), _lost_s(clip, times, losses, missing)))
        if known:
            # The times of an earlier scene detection pass. If other frames are decoded now, they get their own times.
            same = [frame.time_s for frame in frames] == known
            yield replace(clip, frames=tuple(frames)) if same else self.attach(clip, frames)
        else:
            # The requested time identifies a frame: it is known before decoding, and the frame is on screen then. If
            # the frames end early, the last times have none.
            pictures = tuple(replace(frame, time_s=time) for frame, time in zip(frames, times, strict=False))
            yield replace(clip, frames=pictures, identity=self.identity(clip))

    def expected(self, clip: Clip) -> Clip:
        """The clip as it will be if all of it decodes, with frame times and identity but without JPEGs."""
        times = self.sampling.times(clip.span)
        return replace(clip, frames=tuple(Frame(time_s=time, jpeg=b"") for time in times), identity=self.identity(clip))

    def times(self, clip: Clip) -> Sequence[float]:
        """Times of the frames of a clip (s, ascending): those it has, or else those of the settings."""
        return sorted(frame.time_s for frame in clip.frames) or self.sampling.times(clip.span)

    @property
    def sampling(self) -> FrameSampling:
        """Which frames are sampled, for a pass over all clips of a video."""
        count = self.count if self.per_second is None else None
        return FrameSampling(count=count, fps=self.per_second, short_side=self.short_side, quality=self.quality)

    def attach(self, clip: Clip, frames: Sequence[Frame]) -> Clip | CaptionedClip:
        """Add frames of such a pass to the clip, or return the failure.

        These frames may start a little before the requested times, so their own times identify them: known only after
        decoding, but the same every time.
        """
        if not frames:
            error = VideoError(
                VideoFault.NO_FRAMES, f"{redact_url(clip.video.uri)} has no frame in clip {clip.id}; re-encode it."
            )
            return CaptionedClip(
                clip=clip, failure=Failure.of(error, video=clip.video, stage=self.name, clip_id=clip.id)
            )
        at = ",".join(f"{frame.time_s:.3f}" for frame in frames)
        return replace(clip, frames=tuple(frames), identity=self._identity(clip, f"at={at}"))

    def identity(self, clip: Clip) -> str:
        """Cache identity of a clip's frames, known before decoding, except that it also says whether parts are damaged.

        So a cached reply for an intact clip was made from an intact clip.
        """
        rate = f"{self.per_second:g}/s" if self.per_second is not None else f"{self.count}"
        return self._identity(clip, f"frames={rate}{' damaged' if clip.lost_s else ''}")

    def _identity(self, clip: Clip, which: str) -> str:
        span = f"{clip.span.start_s:.3f}-{clip.span.end_s:.3f}"
        return f"{clip.video.content} {span} {which} {self.short_side}px q{self.quality} {self.reader}"


def _lost_s(clip: Clip, times: Sequence[float], losses: Losses, missing: int) -> float:
    """Estimate the lost seconds of a clip from the sampled times, since other frames are not all decoded."""
    lost = sum(losses.within(Span(start_s=time, end_s=time + INSTANT_S)) > 0 for time in times)
    is_cut_short = lost or missing > len(times) / 2  # else the header is not exact
    return clip.span.duration_s * (lost + (missing if is_cut_short else 0)) / len(times)

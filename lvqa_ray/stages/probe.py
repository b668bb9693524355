"""Probe stage: video -> video with its media info."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import CaptionedClip, Clip, Failure, ProbedVideo, Video, redact_url
from lvqa_ray.video.reader.media_info import probe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ProbeVideo:
    """Read the media info of a video from its header."""

    name: ClassVar[str] = "probe"

    truncated: Literal["fail", "keep"] = Field(
        default="fail",
        description="Action on a file that ends before its header says: fail the video, or keep what is there.",
    )

    damaged: Literal["fail", "keep"] = Field(
        default="keep",
        description="Action on a video of which a part cannot be decoded: fail it, or keep the rest and note the loss.",
    )

    max_lost_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="damaged=keep: maximum lost share of a clip before the clip is left out, and of the clips "
        "before the video fails.",
    )

    @property
    def bearable(self) -> float:
        """Maximum share of the clips' time that may be lost before the video fails."""
        return 0.0 if self.damaged == "fail" else self.max_lost_share

    def __call__(self, video: Video) -> Iterator[ProbedVideo | Failure]:
        """Probe the video, or return the failure."""
        try:
            info = probe(video.uri)
            if info.partial and self.truncated == "fail":
                fix = "get the file again, or set probe.truncated=keep to use what is there"
                raise VideoError(VideoFault.TRUNCATED, f"{info.partial.rstrip('.')}; {fix}")
        except VideoError as error:
            yield Failure.of(error, video=video, stage=self.name)
        else:
            yield ProbedVideo(video=video, info=info)

    def judge_damage(self, clip: Clip) -> Iterator[Clip | CaptionedClip]:
        """The clip, or a failure if too much of it is damaged to be captioned."""
        if not clip.lost_s or clip.dropped or clip.lost_s <= self.bearable * clip.span.duration_s:
            yield clip
            return
        fix = "set probe.damaged=keep to use the rest" if self.damaged == "fail" else "raise probe.max_lost_share"
        error = VideoError(
            VideoFault.DAMAGED,
            f"{clip.lost_s:.2f} s of clip {clip.id} ({redact_url(clip.video.uri)}) do not decode; get the file again, "
            f"or {fix}",
        )
        failure = Failure.of(error, video=clip.video, stage=self.name, clip_id=clip.id)
        yield CaptionedClip(clip=replace(clip, frames=(), media=b""), failure=failure)

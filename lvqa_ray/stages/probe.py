"""video row -> video row with what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Failure, ProbedVideo, Video
from lvqa_ray.video.probe import probe


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ProbeVideo:
    """Find out what a video is, from its header."""

    name: ClassVar[str] = "probe"

    truncated: Literal["fail", "keep"] = Field(
        default="fail",
        description="What to do with a file that ends before its header says: fail the video, or keep what is there.",
    )

    def __call__(self, video: Video) -> Iterator[ProbedVideo | Failure]:
        """One probed video, or the reason why there is none."""
        try:
            info = probe(video.uri)
            if info.partial and self.truncated == "fail":
                mend = "get the file again, or set probe.truncated=keep to use what is there"
                raise VideoError(VideoFault.TRUNCATED, f"{info.partial.rstrip('.')}; {mend}")
        except VideoError as error:
            yield Failure.of(error, video=video, stage=self.name)
        else:
            yield ProbedVideo(video=video, info=info)

"""Builds clip rows from spans, one span behind so that the last clip can be marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import CaptionedClip, Clip, Frame, ProbedVideo, Span, redact_url
from lvqa_ray.video.scenes.clip_builder import FrameSampling

Judge = Callable[[Clip], Clip]
"""Marks a clip as dropped, or leaves it as it is."""


class Sampler(Protocol):
    """Chooses the frames of a clip and adds them to its row."""

    @property
    def sampling(self) -> FrameSampling:
        """Which frames."""

    def attach(self, clip: Clip, frames: Sequence[Frame]) -> Clip | CaptionedClip:
        """Add the frames to the clip."""


class ClipMaker:
    """Builds the clip rows of one video.

    Args:
        row: The video.
        judge: Marks clips to leave out.
        sampler: Adds frames to the other clips.
        most: Maximum number of clips.
    """

    def __init__(self, row: ProbedVideo, judge: Judge | None, sampler: Sampler | None, *, most: int) -> None:
        self._row = row
        self._judge = judge
        self._sampler = sampler
        self._most = most
        self._ahead: Clip | CaptionedClip | None = None
        self._index = 0

    def add(
        self, span: Span, frames: Callable[[], tuple[Frame, ...]] | None = None, lost_s: float = 0.0
    ) -> Iterator[Clip | CaptionedClip]:
        """Add the next span; yields the previous clip.

        Args:
            span: The span.
            frames: Returns its frames; not called if the clip is left out.
            lost_s: Seconds of the span that did not decode.

        Raises:
            VideoError: The video has more than `most` clips.
        """
        if self._index >= self._most:
            raise too_many_clips(self._row, self._most)
        if self._ahead:
            yield self._ahead
        row = self._row
        clip = Clip(video=row.video, info=row.info, index=self._index, span=span, last=False, lost_s=lost_s)
        clip = clip.hearing(row.speech, row.note)
        clip = self._judge(clip) if self._judge else clip
        sampler = None if clip.dropped else self._sampler
        self._ahead = sampler.attach(clip, frames()) if sampler and frames else clip
        self._index += 1

    def finish(self) -> Iterator[Clip | CaptionedClip]:
        """Yield the last clip, marked as such.

        Raises:
            VideoError: The video has no clip.
        """
        match self._ahead:
            case None:
                raise VideoError(
                    VideoFault.NO_CLIPS,
                    f"{redact_url(self._row.video.uri)} ({self._row.info.duration_sec:.2f} s) has no clip under these "
                    "settings; lower split.min_seconds or the seconds to remove",
                )
            case CaptionedClip() as captioned:
                yield replace(captioned, clip=replace(captioned.clip, last=True))
            case clip:
                yield replace(clip, last=True)


def too_many_clips(row: ProbedVideo, most: int) -> VideoError:
    """Error for a video with more clips than the job allows."""
    return VideoError(
        VideoFault.TOO_MANY_CLIPS,
        f"{redact_url(row.video.uri)} says that it is {row.info.duration_sec / 3600:.1f} hours long, which makes "
        f"more than split.max_clips={most} clips; check its length, and raise split.max_clips or split.max_seconds "
        "if it is true",
    )


def expected_clip(
    clip: Clip, *, cut: Callable[..., Clip | None], sample: Callable[[Clip], Clip] | None, **noted: object
) -> Clip | None:
    """Predict a clip after cutting and sampling, without image data; ``None`` if its file is not cut yet.

    Args:
        clip: The clip before.
        cut: Predicts the clip after the cut.
        sample: Predicts the clip after sampling; ``None`` if no frames are sampled.
        noted: Further arguments of ``cut``.
    """
    made = cut(clip, **noted)
    return made if made is None or made.frames or sample is None else sample(made)

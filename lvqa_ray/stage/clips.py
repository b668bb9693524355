"""Spans -> clip rows, each as soon as it is known whether it is the last one."""

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
    """Says which pictures of a clip are taken, and puts them into its row."""

    @property
    def sampling(self) -> FrameSampling:
        """Which pictures."""

    def attach(self, clip: Clip, frames: Sequence[Frame]) -> Clip | CaptionedClip:
        """The clip with its pictures."""


class ClipMaker:
    """Makes the clips of one video.

    Args:
        row: The video.
        judge: Marks clips that are to be left out.
        sampler: Puts the pictures into the others.
        most: How many there may be.
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
        """Take in the next span; yields the clip before it.

        Args:
            span: The span.
            frames: Gives its pictures; not asked where the clip is left out.
            lost_s: Seconds of it that did not decode.

        Raises:
            VideoError: There are more than allowed.
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
        """There are no more: yields the last one, which is marked.

        Raises:
            VideoError: There was none at all.
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
    """Make the error for a video that has more clips than a job allows."""
    return VideoError(
        VideoFault.TOO_MANY_CLIPS,
        f"{redact_url(row.video.uri)} says that it is {row.info.duration_sec / 3600:.1f} hours long, which makes "
        f"more than split.max_clips={most} clips; check its length, and raise split.max_clips or split.max_seconds "
        "if it is true",
    )

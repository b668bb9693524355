"""Looks at the frames of a video: what a detector of scenes wants to know of each, and which ones it can do without.

Where `fast` is accurate enough, the frames that no other refers to are not decoded, half of a common film. They are
fetched where the picture changes so much from one of the others to the next that there may be a cut between. Only a
flash, of frames all of which are left out, goes unseen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from av.video.frame import VideoFrame

from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.scenes.detectors import Detection, Scorer
from lvqa_ray.video.scenes.downscale import Downscaler, Picture

IN_DOUBT = 0.85
"""Part of the threshold at which a change over missing frames may be a cut: movement that goes on may hide some."""

FORWARD_S = 1.0
"""How far decoding on is cheaper than seeking."""

NO_PICTURE: Picture = np.empty((0, 0, 3), np.uint8)


class ScoredFrame(NamedTuple):
    """What was seen of a frame.

    Attributes:
        frame: The frame.
        picture: The frame, shrunk; empty where the detector passes over it.
        scores: How much it differs from the one before it, for each detector; empty where there is no picture.
    """

    frame: VideoFrame
    picture: Picture
    scores: tuple[float, ...]


class FrameScorer:
    """Looks at the frames of a video, as far as a way of finding scenes needs them.

    Args:
        source: The open video.
        detection: How scenes are found.
        sparing: Whether the caller can do with frames at least every fifth of a second or so.
    """

    def __init__(self, source: VideoReader, detection: Detection, *, sparing: bool) -> None:
        self._source = source
        self._detection = detection
        codec = source.stream.codec_context
        self._shrink = Downscaler(codec.width, codec.height, detection.accuracy)
        self._scores_of = Scorer(detection)
        self._spare_until_s = math.inf if sparing and detection.may_spare else None

    def looks(self, start_s: float | None = None) -> Iterator[ScoredFrame]:
        """Looks at the frames from a key frame on, or at all, in display order.

        Args:
            start_s: When the first frame to look at appears (s).
        """
        if start_s is None:
            frames = self._source.frames(spare_until_s=self._spare_until_s)
        else:
            frames = self._source.frames_from(start_s, spare_until_s=self._spare_until_s)
            offset = round(start_s / self._source.time_base)
            frames = (frame for frame in frames if self._source.offset_of(frame) >= offset)
        if self._spare_until_s is None:
            yield from self._all(frames)
        else:
            yield from self._most(frames)

    def _all(self, frames: Iterator[VideoFrame]) -> Iterator[ScoredFrame]:
        stride = self._detection.frame_skip + 1
        for number, frame in enumerate(frames):
            yield self._look(frame) if number % stride == 0 else ScoredFrame(frame, NO_PICTURE, ())

    def _most(self, frames: Iterator[VideoFrame]) -> Iterator[ScoredFrame]:
        before: VideoFrame | None = None
        with LookbackReader(self._source.path) as lookback:
            for frame in frames:
                seen = self._scores_of.seen
                look = self._look(frame)
                if before and self._in_doubt(look) and self._source.passed_between(before, frame):
                    self._source.keep_from(frame)
                    self._scores_of.seen = seen
                    yield from map(self._look, lookback.between(before, frame))
                    look = self._look(frame)
                before = frame
                yield look

    def _look(self, frame: VideoFrame) -> ScoredFrame:
        picture = self._shrink(frame)
        return ScoredFrame(frame, picture, self._scores_of(picture))

    def _in_doubt(self, look: ScoredFrame) -> bool:
        return max(look.scores) >= IN_DOUBT * self._detection.threshold


class LookbackReader:
    """A second reader of a video, for frames that the first one has passed over.

    Args:
        path: A local file.
    """

    def __init__(self, path: str) -> None:
        self._opened = open_video(path)
        self._source: VideoReader | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._next: VideoFrame | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._source is not None:
            self._opened.__exit__(kind, exc, tb)

    def between(self, before: VideoFrame, after: VideoFrame) -> Iterator[VideoFrame]:
        """The frames that appear between two, in display order; the two are later than those of the last call."""
        source = self._source = self._source or self._opened.__enter__()
        begin, end = source.offset_of(before), source.offset_of(after)
        begin_s = source.time_of(before)
        if self._next is None or begin_s - source.time_of(self._next) > FORWARD_S:
            self._frames = source.frames_from(begin_s, spare_until_s=begin_s)
            self._next = next(self._frames, None)
        while self._next is not None and source.offset_of(self._next) < end:
            if source.offset_of(self._next) > begin:
                yield self._next
            self._next = next(self._frames, None)

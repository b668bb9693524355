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
from lvqa_ray.video.scenes.detectors import SceneDetector, ScoringDetector
from lvqa_ray.video.scenes.downscale import Picture, shrinker

FORWARD_S = 1.0
"""How far decoding on is cheaper than seeking."""

NO_PICTURE: Picture = np.empty((0, 0, 3), np.uint8)


class ScoredFrame(NamedTuple):
    """What was seen of a frame.

    Attributes:
        frame: The frame.
        picture: The frame, shrunk; empty where the detector passes over it.
        scores: How much it differs from the one before it, of a `ScoringDetector`; empty where there is no picture.
    """

    frame: VideoFrame
    picture: Picture
    scores: tuple[float, ...]


class FrameScorer:
    """Looks at the frames of a video, as far as a way of finding scenes needs them.

    Args:
        source: The open video.
        detector: What finds scenes, at the start of the video; a `ScoringDetector` scores the frames.
        frame_skip: Frames that it passes over after each one that it looks at.
        sparing: Whether the caller can do with frames at least every fifth of a second or so.
    """

    def __init__(self, source: VideoReader, detector: SceneDetector, *, frame_skip: int = 0, sparing: bool) -> None:
        self._source = source
        self._stride = frame_skip + 1
        codec = source.stream.codec_context
        self._shrink = shrinker(codec.width, codec.height, detector.frame_size)
        self._scoring = detector if isinstance(detector, ScoringDetector) else None
        self._spare_until_s = math.inf if sparing and detector.may_skip_frames and not frame_skip else None

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
        if self._spare_until_s is None or self._scoring is None:
            yield from self._all(frames)
        else:
            yield from self._most(frames, self._scoring)

    def _all(self, frames: Iterator[VideoFrame]) -> Iterator[ScoredFrame]:
        for number, frame in enumerate(frames):
            yield self._look(frame) if number % self._stride == 0 else ScoredFrame(frame, NO_PICTURE, ())

    def _most(self, frames: Iterator[VideoFrame], scoring: ScoringDetector) -> Iterator[ScoredFrame]:
        before: VideoFrame | None = None
        with LookbackReader(self._source.path) as lookback:
            for frame in frames:
                seen = scoring.seen
                look = self._look(frame)
                if before and scoring.in_doubt(look.scores) and self._source.passed_between(before, frame):
                    self._source.keep_from(frame)
                    scoring.seen = seen
                    yield from map(self._look, lookback.between(before, frame))
                    look = self._look(frame)
                before = frame
                yield look

    def _look(self, frame: VideoFrame) -> ScoredFrame:
        picture = self._shrink(frame)
        return ScoredFrame(frame, picture, self._scoring.score(picture) if self._scoring else ())


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

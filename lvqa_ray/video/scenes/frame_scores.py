"""Frame scoring for scene detection, which skips non-reference frames where possible.

With accuracy ``fast``, non-reference frames, about half of a typical video, are not decoded. If two of the other frames
differ so much that there may be a cut between them, a second reader decodes the skipped ones. Only a flash that lies
completely within skipped frames is missed.
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
"""Decoding on over up to this distance is cheaper than seeking."""

NO_PICTURE: Picture = np.empty((0, 0, 3), np.uint8)


class ScoredFrame(NamedTuple):
    """Frame with the input for the detector.

    Attributes:
        frame: The frame.
        picture: The downscaled frame; empty if the detector skips it.
        scores: Scores of a `ScoringDetector`; empty for other detectors and skipped frames.
    """

    frame: VideoFrame
    picture: Picture
    scores: tuple[float, ...]


class FrameScorer:
    """Downscales the frames of a video for a detector, and scores them if it is a `ScoringDetector`.

    Args:
        source: The open video.
        detector: A new detector, at the start of the video.
        frame_skip: Frames to skip after each processed one.
        sparing: Whether the caller tolerates missing non-reference frames (one frame about every 0.2 s is enough).
    """

    def __init__(self, source: VideoReader, detector: SceneDetector, *, frame_skip: int = 0, sparing: bool) -> None:
        self._source = source
        self._stride = frame_skip + 1
        codec = source.stream.codec_context
        self._shrink = shrinker(codec.width, codec.height, detector.frame_size)
        self._scoring = detector if isinstance(detector, ScoringDetector) else None
        self._skip_until_s = math.inf if sparing and detector.may_skip_frames and not frame_skip else None

    def looks(self, start_s: float | None = None) -> Iterator[ScoredFrame]:
        """Score frames in display order, from the key frame at ``start_s`` on or from the first frame."""
        if start_s is None:
            frames = self._source.frames(skip_until_s=self._skip_until_s)
        else:
            frames = self._source.frames_from(start_s, skip_until_s=self._skip_until_s)
            offset = round(start_s / self._source.time_base)
            frames = (frame for frame in frames if self._source.offset_of(frame) >= offset)
        if self._skip_until_s is None or self._scoring is None:
            yield from self._all(frames)
        else:
            yield from self._most(frames, self._scoring)

    def _all(self, frames: Iterator[VideoFrame]) -> Iterator[ScoredFrame]:
        for number, frame in enumerate(frames):
            yield self._scored(frame) if number % self._stride == 0 else ScoredFrame(frame, NO_PICTURE, ())

    def _most(self, frames: Iterator[VideoFrame], scoring: ScoringDetector) -> Iterator[ScoredFrame]:
        before: VideoFrame | None = None
        with LookbackReader(self._source.path) as lookback:
            for frame in frames:
                seen = scoring.seen
                scored = self._scored(frame)
                if before and scoring.in_doubt(scored.scores) and self._source.passed_between(before, frame):
                    self._source.keep_from(frame)
                    scoring.seen = seen
                    yield from map(self._scored, lookback.between(before, frame))
                    scored = self._scored(frame)
                before = frame
                yield scored

    def _scored(self, frame: VideoFrame) -> ScoredFrame:
        picture = self._shrink(frame)
        return ScoredFrame(frame, picture, self._scoring.score(picture) if self._scoring else ())


class LookbackReader:
    """Second reader of a video, for frames that the first one skipped."""

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
        """Decode the frames between two, in display order; calls must go forward in time."""
        source = self._source = self._source or self._opened.__enter__()
        begin, end = source.offset_of(before), source.offset_of(after)
        begin_s = source.time_of(before)
        if self._next is None or begin_s - source.time_of(self._next) > FORWARD_S:
            self._frames = source.frames_from(begin_s, skip_until_s=begin_s)
            self._next = next(self._frames, None)
        while self._next is not None and source.offset_of(self._next) < end:
            if source.offset_of(self._next) > begin:
                yield self._next
            self._next = next(self._frames, None)

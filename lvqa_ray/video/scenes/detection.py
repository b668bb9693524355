"""Scenes: where the picture cuts, as PySceneDetect sees it, fed with small pictures of frames from PyAV.

PyAV decodes what OpenCV's reader silently does not (AV1), and knows when each frame is shown, which a frame number
divided by a rate does not where the rate varies.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from av.video.frame import VideoFrame

from lvqa_ray.records import Span
from lvqa_ray.video.reader.video_reader import EPSILON_S, VideoReader, no_frames, open_video
from lvqa_ray.video.scenes.detectors import CutFinder, Detection
from lvqa_ray.video.scenes.frame_scores import FrameScorer

if TYPE_CHECKING:  # loaded where scenes are detected
    from lvqa_ray.video.scenes.scored_detectors import FrameTimecode

HELD_FRAMES = 32
"""Most decoded frames held back until it is known whether one of them is a cut."""


def detect_scenes(path: str, detection: Detection, *, threads: int = 1) -> list[Span]:
    """Find all scenes of a video; see `iter_scenes`."""
    return list(iter_scenes(path, detection, threads=threads))


def iter_scenes(path: str, detection: Detection, *, least_s: float = 0.0, threads: int = 1) -> Iterator[Span]:
    """Find the scenes of a video, each told once it is certain where it ends, while the rest is still unread.

    Args:
        path: A local file.
        detection: How.
        least_s: Scenes shorter than this join a neighbour, see `CutTracker`.
        threads: Decoder threads.

    Yields:
        Scenes in time order without gaps, from 0 to the end of the last frame that could be decoded. A video without
        cuts is one scene.

    Raises:
        VideoError: The video cannot be opened, or not one frame can be decoded.
    """
    with open_video(path, threads=threads) as source:
        start_s = end_s = 0.0
        for moment in frame_events(source, detection, least_s=least_s, keep=False):
            if moment.cut and moment.time_s > start_s:
                yield Span(start_s=start_s, end_s=moment.time_s)
                start_s = moment.time_s
            end_s = moment.end_s
        if end_s > start_s:
            yield Span(start_s=start_s, end_s=end_s)


@dataclass(frozen=True, slots=True)
class FrameEvent:
    """A frame's place in time.

    Attributes:
        time_s: When it appears, in seconds from the first picture.
        end_s: When it has been shown.
        cut: Whether a scene begins with it.
        held: Whether it is one of those that are kept while it is not known what is wanted of them.
        frame: The frame; ``None`` where it is not held, or frames are not at hand.
    """

    time_s: float
    end_s: float
    cut: bool
    held: bool
    frame: VideoFrame | None


class CutTracker:
    """Tells of each frame when it is certain whether a scene begins with it.

    Frames wait for as long as the detector may still call them a cut, which are `Detection.min_scene_frames`, by
    default 15. Of a longer queue than `HELD_FRAMES` only every so-manieth frame is kept.

    A scene that is too short joins the one after it: the cut at its end does not count. The last scene of the video has
    none after it, and joins the one before it; so the frames from a cut on wait until there are enough of them.

    Args:
        detection: How cuts are found.
        time_base: Seconds of one unit of the video's times.
        fps: Frames a second, ``None`` where the file does not say.
        least_s: Scenes shorter than this are too short (s).
        start_s: When the first scene begins; minus infinity where it began before the first frame.
    """

    def __init__(
        self,
        detection: Detection,
        time_base: Fraction,
        fps: Fraction | None,
        *,
        least_s: float = 0.0,
        start_s: float = 0.0,
    ) -> None:
        fps = fps or Fraction(25)
        self._finder = CutFinder(detection, time_base, fps)
        longest = max(self._finder.lag * (detection.frame_skip + 1), math.ceil(least_s * fps))
        self._held_every = -(-longest // HELD_FRAMES) or 1
        self._least_s = least_s - EPSILON_S if least_s else -math.inf
        self._scene_s = start_s
        self._waiting: deque[FrameEvent] = deque()
        self._cuts: set[int] = set()
        self.count = 0
        """Frames so far."""

    def add(
        self, offset: int, time_s: float, end_s: float, scores: Sequence[float], frame: VideoFrame | None = None
    ) -> Iterator[FrameEvent]:
        """Take in the next frame, and tell of those that it settles.

        Args:
            offset: When it appears, in units of the time base from the first picture.
            time_s: The same in seconds.
            end_s: When it has been shown (s).
            scores: Of its picture; empty where the detector passes over it.
            frame: The frame, if it is wanted.
        """
        held = self.count % self._held_every == 0
        self._waiting.append(FrameEvent(time_s, end_s, cut=False, held=held, frame=frame if held else None))
        if scores:
            self._cuts.update(map(_key, self._finder.look(offset, time_s, scores)))
        self.count += 1
        yield from self._released(self._finder.settled_s)

    def finish(self, end_s: float | None = None) -> Iterator[FrameEvent]:
        """The video is over: tells of all that are left, of which the last one may stay on display until ``end_s``."""
        if self._waiting and end_s is not None:
            self._waiting[-1] = replace(self._waiting[-1], end_s=end_s)
        self._cuts.update(map(_key, self._finder.finish()))
        yield from self._released(float("inf"))

    def _released(self, settled_s: float) -> Iterator[FrameEvent]:
        settled_s += EPSILON_S
        waiting, cuts = self._waiting, self._cuts
        while waiting and waiting[0].time_s <= settled_s:
            moment = waiting[0]
            if cuts and (key := round(moment.time_s * 1e6)) in cuts:
                is_long = moment.time_s - self._scene_s >= self._least_s
                goes_on = waiting[-1].end_s - moment.time_s >= self._least_s
                if is_long and not goes_on and not math.isinf(settled_s):
                    return  # this may be the end of the video
                cuts.remove(key)
                if is_long and goes_on:
                    self._scene_s = moment.time_s
                    moment = replace(moment, cut=True)
            waiting.popleft()
            yield moment


def frame_events(
    source: VideoReader, detection: Detection, *, least_s: float = 0.0, keep: bool = True, sparing: bool = True
) -> Iterator[FrameEvent]:
    """Decode a video once, and tell of its frames as `CutTracker` does.

    Args:
        source: The open video, at its start.
        detection: How cuts are found.
        least_s: Scenes shorter than this join a neighbour.
        keep: Whether the frames are wanted.
        sparing: Whether some may be missing; see `FrameScorer`.

    Yields:
        One moment a frame, in display order.

    Raises:
        VideoError: Not one frame can be decoded.
    """
    finder = CutTracker(detection, source.time_base, source.fps, least_s=least_s)
    frame: VideoFrame | None = None
    for frame, _, scores in FrameScorer(source, detection, sparing=sparing).looks():
        offset, time_s, end_s = source.offset_of(frame), source.time_of(frame), source.end_of(frame)
        yield from finder.add(offset, time_s, end_s, scores, frame if keep else None)
    if frame is None:
        raise no_frames(source.path)
    yield from finder.finish(source.final_end_of(frame))


def _key(cut: FrameTimecode) -> int:
    """Microseconds: the detector's seconds and ours are computed differently."""
    return round(float(cut.seconds) * 1e6)

"""Scenes: where the picture cuts, as a scene detector sees it that is fed with small pictures of frames from PyAV.

PyAV decodes what OpenCV's reader silently does not (AV1), and knows when each frame is shown, which a frame number
divided by a rate does not where the rate varies.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from av.video.frame import VideoFrame

from lvqa_ray.records import Span
from lvqa_ray.video.reader.video_reader import VideoReader, no_frames, open_video
from lvqa_ray.video.scenes.detectors import Detection, SceneDetector, ScoringDetector
from lvqa_ray.video.scenes.frame_scores import FrameScorer
from lvqa_ray.video.scenes.named_detectors import start_detector
from lvqa_ray.video.spans import EPSILON_S

HELD_FRAMES = 32
"""Most decoded frames held back until it is known whether one of them is a cut."""
USUAL_FPS = Fraction(25)
"""Assumed of a file that does not say."""
LONGEST_LAG_S = 60.0
"""Most that counts of a detector's lag when it is decided how many frames are held."""
MOST_HELD_FRAMES = 4 * HELD_FRAMES
"""The same where a detector waits for longer than it said at first, as for the end of a fade; half of them then go."""


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

    Frames wait for as long as the detector may still call them a cut (`SceneDetector.lag_s`). Of a longer queue than
    `HELD_FRAMES` only every n-th frame is kept.

    A scene that is too short joins the one after it: the cut at its end does not count. The last scene of the video has
    none after it, and joins the one before it; so the frames from a cut on wait until there are enough of them.

    Args:
        detector: What finds cuts, at the start of the video.
        fps: Frames a second, ``None`` where the file does not say.
        frame_skip: Frames that it passes over after each one that it is fed.
        least_s: Scenes shorter than this are too short (s).
        start_s: When the first scene begins; minus infinity where it began before the first frame.
    """

    def __init__(
        self,
        detector: SceneDetector,
        fps: Fraction | None,
        *,
        frame_skip: int = 0,
        least_s: float = 0.0,
        start_s: float = 0.0,
    ) -> None:
        fps = fps or USUAL_FPS
        self._near_s = 1 / float(fps)
        self._detector = detector
        lag = math.ceil(min(detector.lag_s, LONGEST_LAG_S) * fps - EPSILON_S)
        longest = max(lag * (frame_skip + 1), math.ceil(least_s * fps))
        self._held_every = -(-longest // HELD_FRAMES) or 1
        self._held = 0
        self._least_s = least_s - EPSILON_S if least_s else -math.inf
        self._scene_s = start_s
        self._waiting: deque[FrameEvent] = deque()
        self._cuts: set[int] = set()
        self._settled_s = -math.inf
        self.count = 0
        """Frames so far."""

    def add(
        self, time_s: float, end_s: float, cuts: Iterable[float] | None, frame: VideoFrame | None = None
    ) -> Iterator[FrameEvent]:
        """Take in the next frame, and tell of those that it settles.

        Args:
            time_s: When it appears, in seconds from the first picture.
            end_s: When it has been shown (s).
            cuts: What the detector says to it; ``None`` where it passes over it.
            frame: The frame, if it is wanted.

        Raises:
            ValueError: The detector tells of a cut later than it may.
        """
        held = self.count % self._held_every == 0
        self._waiting.append(FrameEvent(time_s, end_s, cut=False, held=held, frame=frame if held else None))
        self._held += held
        if self._held > MOST_HELD_FRAMES:
            self._thin()
        if cuts is not None:
            self._mark(cuts)
            self._settled_s = time_s - self._detector.lag_s
        self.count += 1
        yield from self._released(self._settled_s)

    def finish(self, end_s: float | None = None) -> Iterator[FrameEvent]:
        """The video is over: tells of all that are left, of which the last one may stay on display until ``end_s``."""
        if self._waiting and end_s is not None:
            self._waiting[-1] = replace(self._waiting[-1], end_s=end_s)
        self._mark(self._detector.finish())
        yield from self._released(float("inf"))

    def _mark(self, cuts: Iterable[float]) -> None:
        """Note the frames nearest to some cuts: a detector's seconds and ours are computed differently."""
        for cut in cuts:
            if not self._waiting or cut < self._waiting[0].time_s - self._near_s:
                raise ValueError(f"the scene detector tells of a cut at {cut:g} s later than its lag_s allows")
            nearest = min(self._waiting, key=lambda moment: abs(moment.time_s - cut))
            self._cuts.add(_key(nearest.time_s))

    def _thin(self) -> None:
        self._held_every *= 2
        self._held = 0
        for place, moment in enumerate(self._waiting):
            number = self.count + 1 - len(self._waiting) + place
            if moment.held and number % self._held_every:
                self._waiting[place] = replace(moment, held=False, frame=None)
            else:
                self._held += moment.held

    def _released(self, settled_s: float) -> Iterator[FrameEvent]:
        settled_s += EPSILON_S
        waiting, cuts = self._waiting, self._cuts
        while waiting and waiting[0].time_s <= settled_s:
            moment = waiting[0]
            if cuts and (key := _key(moment.time_s)) in cuts:
                is_long = moment.time_s - self._scene_s >= self._least_s
                goes_on = waiting[-1].end_s - moment.time_s >= self._least_s
                if is_long and not goes_on and not math.isinf(settled_s):
                    return  # this may be the end of the video
                cuts.remove(key)
                if is_long and goes_on:
                    self._scene_s = moment.time_s
                    moment = replace(moment, cut=True)
            waiting.popleft()
            self._held -= moment.held
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
    fps = source.fps or USUAL_FPS
    detector = start_detector(detection, source.time_base, fps)
    scoring = detector if isinstance(detector, ScoringDetector) else None
    finder = CutTracker(detector, fps, frame_skip=detection.frame_skip, least_s=least_s)
    looker = FrameScorer(source, detector, frame_skip=detection.frame_skip, sparing=sparing)
    frame: VideoFrame | None = None
    for frame, picture, scores in looker.looks():
        time_s, end_s = source.time_of(frame), source.end_of(frame)
        cuts: Iterable[float] | None = None
        if scores and scoring:
            cuts = scoring.feed_scores(time_s, scores)
        elif picture.size:
            cuts = detector.feed(time_s, picture)
        yield from finder.add(time_s, end_s, cuts, frame if keep else None)
    if frame is None:
        raise no_frames(source.path)
    yield from finder.finish(source.final_end_of(frame))


def _key(time_s: float) -> int:
    """Microseconds."""
    return round(time_s * 1e6)

"""Scene detection: feeds a detector with downscaled frames from PyAV, and finds the cuts.

PyAV decodes AV1, which OpenCV's reader silently does not, and gives exact frame times also for a variable frame rate.
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
from lvqa_ray.video.scenes.detectors import Detection, FastDetector, SceneDetector, ScoringDetector
from lvqa_ray.video.scenes.frame_scores import FrameScorer
from lvqa_ray.video.scenes.named_detectors import start_detector
from lvqa_ray.video.spans import EPSILON_S

HELD_FRAMES = 32
"""Maximum decoded frames to hold until it is known whether one of them is a cut."""
USUAL_FPS = Fraction(25)
"""Frame rate assumed if the file states none."""
LONGEST_LAG_S = 60.0
"""Upper bound of a detector's lag in the calculation of how many frames to hold."""
MOST_HELD_FRAMES = 4 * HELD_FRAMES
"""Limit if a detector's lag grows later, as during a fade; beyond it every second held frame is dropped."""


def iter_scenes(path: str, detection: Detection, *, least_s: float = 0.0, threads: int = 1) -> Iterator[Span]:
    """Find the scenes of a video; each is yielded as soon as its end is certain.

    Args:
        path: A local file.
        detection: Scene detection settings.
        least_s: Scenes shorter than this join a neighbour, see `CutTracker`.
        threads: Decoder threads.

    Yields:
        Scenes in time order without gaps, from 0 to the end of the last decodable frame. A video without cuts is one
        scene.

    Raises:
        VideoError: The video cannot be opened, or no frame can be decoded.
    """
    with open_video(path, threads=threads) as source:
        start_s = end_s = 0.0
        for event in frame_events(source, detection, least_s=least_s, keep=False):
            if event.cut and event.time_s > start_s:
                yield Span(start_s=start_s, end_s=event.time_s)
                start_s = event.time_s
            end_s = event.end_s
        if end_s > start_s:
            yield Span(start_s=start_s, end_s=end_s)


@dataclass(frozen=True, slots=True)
class FrameEvent:
    """A frame with its times, and whether it is a cut.

    Attributes:
        time_s: When it appears, in seconds from the first frame.
        end_s: When it leaves the display.
        cut: Whether a scene begins with it.
        held: Whether it was held while its cut was undecided; others cannot be sampled.
        frame: The frame; ``None`` if it was not held or is not available.
    """

    time_s: float
    end_s: float
    cut: bool
    held: bool
    frame: VideoFrame | None


class CutTracker:
    """Queue of frames that are emitted once it is certain whether a scene begins with them.

    A frame waits for as long as the detector may still report it as a cut (`SceneDetector.lag_s`). If the queue exceeds
    `HELD_FRAMES`, only every n-th frame is kept.

    A scene that is too short joins the next one: the cut at its end is ignored. The last scene has no next one and
    joins the one before it, so the frames after a cut wait until the new scene is long enough.

    Args:
        detector: A new detector, at the start of the video.
        fps: Frames per second; ``None`` if the file does not state it.
        frame_skip: Frames to skip after each one that the detector receives.
        least_s: Minimum length of a scene (s).
        start_s: Start of the first scene; minus infinity if it began before the first frame.
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
        """Number of frames so far."""

    def add(
        self, time_s: float, end_s: float, cuts: Iterable[float] | None, frame: VideoFrame | None = None
    ) -> Iterator[FrameEvent]:
        """Add the next frame; yields the frames that are now certain.

        Args:
            time_s: When it appears, in seconds from the first frame.
            end_s: When it leaves the display (s).
            cuts: Cuts that the detector reported for it; ``None`` if the detector skipped it.
            frame: The frame, if it may be sampled.

        Raises:
            ValueError: The detector reported a cut later than its `lag_s` allows.
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
        """End of the video: yields the remaining frames; the last one stays on display until ``end_s``."""
        if self._waiting and end_s is not None:
            self._waiting[-1] = replace(self._waiting[-1], end_s=end_s)
        self._mark(self._detector.finish())
        yield from self._released(float("inf"))

    def _mark(self, cuts: Iterable[float]) -> None:
        """Mark the frames nearest to some cuts, since a detector may compute seconds differently."""
        for cut in cuts:
            if not self._waiting or cut < self._waiting[0].time_s - self._near_s:
                if isinstance(self._detector, FastDetector):
                    continue
                raise ValueError(f"the scene detector reports a cut at {cut:g} s later than its lag_s allows")
            nearest = min(self._waiting, key=lambda event: abs(event.time_s - cut))
            self._cuts.add(_key(nearest.time_s))

    def _thin(self) -> None:
        self._held_every *= 2
        self._held = 0
        for index, event in enumerate(self._waiting):
            number = self.count + 1 - len(self._waiting) + index
            if event.held and number % self._held_every:
                self._waiting[index] = replace(event, held=False, frame=None)
            else:
                self._held += event.held

    def _released(self, settled_s: float) -> Iterator[FrameEvent]:
        settled_s += EPSILON_S
        waiting, cuts = self._waiting, self._cuts
        while waiting and waiting[0].time_s <= settled_s:
            event = waiting[0]
            if cuts and (key := _key(event.time_s)) in cuts:
                is_long = event.time_s - self._scene_s >= self._least_s
                goes_on = waiting[-1].end_s - event.time_s >= self._least_s
                if is_long and not goes_on and not math.isinf(settled_s):
                    return  # this may be the end of the video
                cuts.remove(key)
                if is_long and goes_on:
                    self._scene_s = event.time_s
                    event = replace(event, cut=True)
            waiting.popleft()
            self._held -= event.held
            yield event


def frame_events(
    source: VideoReader, detection: Detection, *, least_s: float = 0.0, keep: bool = True, sparing: bool = True
) -> Iterator[FrameEvent]:
    """Decode a video once and detect its cuts, see `CutTracker`.

    Args:
        source: The open video, at its start.
        detection: Scene detection settings.
        least_s: Scenes shorter than this join a neighbour.
        keep: Whether to include the decoded frames.
        sparing: Whether non-reference frames may be skipped, see `FrameScorer`.

    Yields:
        One event per frame, in display order.

    Raises:
        VideoError: No frame can be decoded.
    """
    fps = source.fps or USUAL_FPS
    detector = start_detector(detection, source.time_base, fps)
    scoring = detector if isinstance(detector, ScoringDetector) else None
    tracker = CutTracker(detector, fps, frame_skip=detection.frame_skip, least_s=least_s)
    scorer = FrameScorer(source, detector, frame_skip=detection.frame_skip, sparing=sparing)
    frame: VideoFrame | None = None
    for frame, picture, scores in scorer.looks():
        time_s, end_s = source.time_of(frame), source.end_of(frame)
        cuts: Iterable[float] | None = None
        if scores and scoring:
            cuts = scoring.feed_scores(time_s, scores)
        elif picture.size:
            cuts = detector.feed(time_s, picture)
        yield from tracker.add(time_s, end_s, cuts, frame if keep else None)
    if frame is None:
        raise no_frames(source.path)
    yield from tracker.finish(source.final_end_of(frame))


def _key(time_s: float) -> int:
    """Microseconds."""
    return round(time_s * 1e6)

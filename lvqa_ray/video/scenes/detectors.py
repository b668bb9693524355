"""Cuts: PySceneDetect's detectors, fed one small picture at a time, each cut told as soon as it is certain."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import cv2

from lvqa_ray.video.scenes.downscale import Accuracy, Picture

if TYPE_CHECKING:  # loaded where scenes are detected: fixed clips need none of it
    from lvqa_ray.video.scenes.scored_detectors import FrameTimecode, ScoredAdaptive, ScoredContent

Detector = Literal["content", "adaptive", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How scenes are found.

    Attributes:
        detector: ``content`` compares neighbouring frames with ``threshold``, ``adaptive`` with their surroundings, and
            ``both`` cuts where either does.
        accuracy: ``exact`` looks at the very pixels that PySceneDetect's OpenCV backend would, ``fast`` at ones near
            them, and where nothing much changes not at every frame.
        threshold: Least mean change of hue, saturation and brightness (0 to 255) that is a cut, for ``content``.
        adaptive_threshold: Least ratio of a change to those around it that is a cut, for ``adaptive``.
        min_scene_frames: Shortest scene, in frames.
        frame_skip: Frames to leave out after each one that is looked at; faster, and cuts are found less exactly.
        luma_only: Let ``adaptive`` look at brightness alone.
    """

    detector: Detector = "content"
    accuracy: Accuracy = "fast"
    threshold: float = 27.0
    adaptive_threshold: float = 3.0
    min_scene_frames: int = 15
    frame_skip: int = 0
    luma_only: bool = True

    @property
    def may_spare(self) -> bool:
        """Whether frames may be missing where little changes: that leaves a threshold as it is, but not a ratio."""
        return self.accuracy == "fast" and self.detector == "content" and not self.frame_skip

    def detectors(self) -> list[ScoredContent | ScoredAdaptive]:
        """New detectors, at the start of a video; each is given the scores of pictures in place of the pictures."""
        from lvqa_ray.video.scenes.scored_detectors import ScoredAdaptive, ScoredContent  # noqa: PLC0415 - see above

        made: list[ScoredContent | ScoredAdaptive] = []
        if self.detector in ("content", "both"):
            made.append(ScoredContent(threshold=self.threshold, min_scene_len=self.min_scene_frames))
        if self.detector in ("adaptive", "both"):
            adaptive = ScoredAdaptive(
                adaptive_threshold=self.adaptive_threshold,
                min_scene_len=self.min_scene_frames,
                luma_only=self.luma_only,
            )
            made.append(adaptive)
        return made


class CutFinder:
    """Finds cuts frame by frame.

    Scores are all that it needs of pictures, so that these may be looked at elsewhere, and by many at once.

    A detector may tell of a cut some frames after it: the adaptive one looks ahead, and the content one waits for
    flashes to pass. How many frames is its public ``event_buffer_length``; what lies further back is settled.

    Args:
        detection: How cuts are found.
        time_base: Seconds of one unit of the video's times.
        rate: Frames a second, on average.
    """

    def __init__(self, detection: Detection, time_base: Fraction, rate: Fraction) -> None:
        self._detectors = detection.detectors()
        self.lag = max(each.event_buffer_length for each in self._detectors)
        self._time_base, self._rate = time_base, rate
        self._per_s = float(rate)
        self._recent: deque[tuple[int, float]] = deque()  # number and time (s) of the frames that a cut may yet be at
        self._last: int | None = None
        self.settled_s = float("-inf")
        """All cuts up to this time have been told (s)."""

    def look(self, offset: int, time_s: float, scores: Sequence[float]) -> list[FrameTimecode]:
        """Go on to the next frame, of which `Scorer` has made these scores.

        Args:
            offset: When it appears, in units of the time base from the first picture.
            time_s: The same in seconds.
            scores: One for each detector.

        Returns:
            The positions, among those seen so far, that turn out to be cuts.
        """
        self._last = offset
        number = round(time_s * self._per_s)  # as PySceneDetect numbers frames
        self._recent.append((number, time_s))
        # Some detectors count the frames that they see, others go by frame numbers, which come from times.
        while len(self._recent) > self.lag and number - self._recent[0][0] >= self.lag:
            self.settled_s = self._recent.popleft()[1]
        by_detector = zip(self._detectors, scores, strict=True)
        asked = [(each, score) for each, score in by_detector if each.wants(number, score)]
        position = self._position(offset) if asked else None  # which costs more than all else here
        return [cut for each, score in asked for cut in each.process_frame(position, score)]

    def finish(self) -> list[FrameTimecode]:
        """The cuts that only the end of the video makes certain."""
        if self._last is None:
            return []
        last = self._position(self._last)
        return [cut for each in self._detectors for cut in each.post_process(last)]

    def _position(self, offset: int) -> FrameTimecode:
        from lvqa_ray.video.scenes.scored_detectors import FrameTimecode, Timecode  # noqa: PLC0415 - see above

        return FrameTimecode(Timecode(pts=max(0, offset), time_base=self._time_base), self._rate)


class Scorer:
    """How much each picture differs from the one before it, as each of the detectors weighs that.

    These are PySceneDetect's numbers at a tenth of their cost: one L1 norm in 8 bits in place of three mean distances
    in 32. A test holds them to the stock ones on the installed release.

    Args:
        detection: How cuts are found.
    """

    def __init__(self, detection: Detection) -> None:
        from lvqa_ray.video.scenes.scored_detectors import ContentDetector  # noqa: PLC0415 - see above

        self._luma_only = [each._weights == ContentDetector.LUMA_ONLY_WEIGHTS for each in detection.detectors()]
        self.seen: Any = None
        """The last picture, as the next one will be compared with it; may be set back to an earlier one."""

    def __call__(self, picture: Picture) -> tuple[float, ...]:
        """Scores of the next picture, one for each detector; 0 for the first."""
        hsv: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
        value: Any = cv2.extractChannel(hsv, 2) if any(self._luma_only) else None
        before, self.seen = self.seen, (hsv, value)
        if before is None:
            return (0.0,) * len(self._luma_only)
        return tuple(_distance(before[luma], self.seen[luma]) for luma in self._luma_only)


def _distance(before: Any, seen: Any) -> float:  # noqa: ANN401 - arrays of OpenCV's
    return float(cv2.norm(before, seen, cv2.NORM_L1)) / int(seen.size)

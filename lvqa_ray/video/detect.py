"""Cuts: PySceneDetect's detectors, fed one small picture at a time, each cut told as soon as it is certain."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, SceneDetector

from lvqa_ray.video.shrink import Accuracy, Picture

Detector = Literal["content", "adaptive", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How scenes are found.

    Attributes:
        detector: ``content`` compares neighbouring frames with ``threshold``, ``adaptive`` with their surroundings, and
            ``both`` cuts where either does.
        accuracy: ``exact`` looks at the very pixels that PySceneDetect's OpenCV backend would, ``fast`` at ones near
            them.
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

    def detectors(self) -> list[SceneDetector]:
        """New detectors, at the start of a video; each is given the scores of pictures in place of the pictures."""
        made: list[SceneDetector] = []
        if self.detector in ("content", "both"):
            made.append(_Content(threshold=self.threshold, min_scene_len=self.min_scene_frames))
        if self.detector in ("adaptive", "both"):
            adaptive = _Adaptive(
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
    """

    def __init__(self, detection: Detection) -> None:
        self._detectors = detection.detectors()
        self.lag = max(each.event_buffer_length for each in self._detectors)
        self._recent: deque[tuple[int, float]] = deque()  # number and time (s) of the frames that a cut may yet be at
        self._last: FrameTimecode | None = None
        self.settled_s = float("-inf")
        """All cuts up to this time have been told (s)."""

    def look(self, position: FrameTimecode, scores: Sequence[float]) -> list[FrameTimecode]:
        """Go on to the next frame, of which `Scorer` has made these scores.

        Returns:
            The positions, among those seen so far, that turn out to be cuts.
        """
        self._last = position
        number = position.frame_num
        self._recent.append((number, position.seconds))
        # Some detectors count the frames that they see, others go by frame numbers, which come from times.
        while len(self._recent) > self.lag and number - self._recent[0][0] >= self.lag:
            self.settled_s = self._recent.popleft()[1]
        by_detector = zip(self._detectors, scores, strict=True)
        return [cut for each, score in by_detector for cut in each.process_frame(position, score)]

    def finish(self) -> list[FrameTimecode]:
        """The cuts that only the end of the video makes certain."""
        last = self._last
        return [cut for each in self._detectors for cut in each.post_process(last)] if last else []


class Scorer:
    """How much each picture differs from the one before it, as each of the detectors weighs that.

    These are PySceneDetect's numbers at a tenth of their cost: one L1 norm in 8 bits in place of three mean distances
    in 32. A test holds them to the stock ones on the installed release.

    Args:
        detection: How cuts are found.
    """

    def __init__(self, detection: Detection) -> None:
        self._luma_only = [each._weights == ContentDetector.LUMA_ONLY_WEIGHTS for each in detection.detectors()]
        self._seen: Any = None

    def __call__(self, picture: Picture) -> tuple[float, ...]:
        """Scores of the next picture, one for each detector; 0 for the first."""
        hsv: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
        value: Any = cv2.extractChannel(hsv, 2) if any(self._luma_only) else None
        before, self._seen = self._seen, (hsv, value)
        if before is None:
            return (0.0,) * len(self._luma_only)
        return tuple(_distance(before[luma], self._seen[luma]) for luma in self._luma_only)


def _distance(before: Any, seen: Any) -> float:  # noqa: ANN401 - arrays of OpenCV's
    return float(cv2.norm(before, seen, cv2.NORM_L1)) / int(seen.size)


class _Scored(ContentDetector):  # type: ignore[misc]  # PySceneDetect ships no types
    """Takes a score where a picture is expected. Overrides a private method, which the same test looks after."""

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: float) -> float:  # noqa: ARG002
        return frame_img


class _Content(_Scored):
    pass


class _Adaptive(_Scored, AdaptiveDetector):  # type: ignore[misc]  # as above
    pass

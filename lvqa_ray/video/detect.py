"""Cuts: PySceneDetect's detectors, fed one small picture at a time, each cut told as soon as it is certain."""

from __future__ import annotations

from collections import deque
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
        """New detectors, at the start of a video."""
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

    def look(self, position: FrameTimecode, picture: Picture) -> list[FrameTimecode]:
        """Look at the next frame.

        Returns:
            The positions, among those seen so far, that turn out to be cuts.
        """
        self._last = position
        number = position.frame_num
        self._recent.append((number, position.seconds))
        # Some detectors count the frames that they see, others go by frame numbers, which come from times.
        while len(self._recent) > self.lag and number - self._recent[0][0] >= self.lag:
            self.settled_s = self._recent.popleft()[1]
        return [cut for each in self._detectors for cut in each.process_frame(position, picture)]

    def finish(self) -> list[FrameTimecode]:
        """The cuts that only the end of the video makes certain."""
        last = self._last
        return [cut for each in self._detectors for cut in each.post_process(last)] if last else []


class _CheapScore(ContentDetector):  # type: ignore[misc]  # PySceneDetect ships no types
    """The stock score at a tenth of the cost: one L1 norm in 8 bits in place of three mean distances in 32.

    Overrides a private method. A test holds its numbers to the stock ones on the installed release.
    """

    _seen: Picture | None = None

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: Picture) -> float:  # noqa: ARG002
        seen: Any = cv2.cvtColor(frame_img, cv2.COLOR_BGR2HSV)
        if self._weights == ContentDetector.LUMA_ONLY_WEIGHTS:
            seen = cv2.extractChannel(seen, 2)
        before, self._seen = self._seen, seen
        return 0.0 if before is None else float(cv2.norm(before, seen, cv2.NORM_L1)) / seen.size


class _Content(_CheapScore):
    pass


class _Adaptive(_CheapScore, AdaptiveDetector):  # type: ignore[misc]  # as above
    pass

"""Adapter for PySceneDetect's own detectors; loaded only when a job names one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from lvqa_ray.video.scenes import pyscenedetect
from lvqa_ray.video.scenes.detectors import FrameLag
from lvqa_ray.video.scenes.downscale import FrameSize, Picture
from lvqa_ray.video.scenes.pyscenedetect import FrameTimecode, Timecode


def stock_class(name: str) -> Any:  # noqa: ANN401 - PySceneDetect ships no types
    """PySceneDetect's detector class of a name."""
    return getattr(pyscenedetect, name)


class StockDetector:
    """Adapts a new detector of PySceneDetect to `SceneDetector`; it needs every frame, and the video in one piece."""

    frame_size: FrameSize = "exact"
    may_skip_frames = False
    may_run_in_parts = False

    def __init__(self, detector: Any, time_base: Fraction, fps: Fraction) -> None:  # noqa: ANN401 - as above
        self._detector = detector
        self._time_base, self._fps = time_base, fps
        self._frames = FrameLag(detector.event_buffer_length, fps)
        self._position: FrameTimecode | None = None
        self._time_s = 0.0

    @property
    def lag_s(self) -> float:
        """See `SceneDetector`. A cut between a fade-out and the next fade-in is reported at the fade-in."""
        if self._position is None:
            return self._frames.lag / float(self._fps)
        fade = getattr(self._detector, "last_fade", {"type": "in"})
        since_s = float(fade["frame"].seconds) if fade["type"] == "out" else self._time_s
        return self._time_s - min(self._frames.settled_s, since_s - 1 / float(self._fps))

    def feed(self, time_s: float, frame: Picture) -> list[float]:
        """See `SceneDetector`."""
        self._frames.add(time_s)
        self._time_s = time_s
        pts = round(time_s / self._time_base)
        self._position = FrameTimecode(Timecode(pts=pts, time_base=self._time_base), self._fps)
        bgr = np.ascontiguousarray(frame[:, :, :3])  # without a fourth channel
        return [float(cut.seconds) for cut in self._detector.process_frame(self._position, bgr)]

    def finish(self) -> list[float]:
        """See `SceneDetector`."""
        if self._position is None:
            return []
        return [float(cut.seconds) for cut in self._detector.post_process(self._position)]
